"""`python -m tests.calling DATA_DIR TRACE_ID…`: a process that is given trace ids, and makes a mocked call for each."""

from __future__ import annotations

import sys

from core.hub import connect
from core.model.identity import tracing
from core.settings import LogFormat, LogLevel
from core.telemetry.logs import configure

USER = "another-process"


def main(data_dir: str, *trace_ids: str) -> None:
    """Call once for each id; what is logged goes to standard error as JSON."""
    with connect(
        data_dir=data_dir, environ={"BONGSU_ADDRESS_CACHE_ENABLED": "false", "BONGSU_DEMO": "false"}
    ) as hub:
        configure(LogLevel.INFO, LogFormat.JSON, hub.redactor)
        for trace_id in trace_ids:
            with tracing(trace_id):
                hub.address.search_address("세종대로 110", user_id=USER)


if __name__ == "__main__":
    main(*sys.argv[1:])
