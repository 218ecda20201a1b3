"""`python -m benchmarks [calls|call-path|state|storage|start ...]`: measure, print the tables, keep them in results/."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks import call_path, calls, start, state, storage
from benchmarks.measure import FULL, QUICK, Scale
from benchmarks.parties import KEY
from benchmarks.report import RESULTS, Report
from core.clock import SystemClock
from core.redaction import Redactor
from core.settings import LogFormat, LogLevel
from core.telemetry import logs

SUBJECTS: Final[Mapping[str, Callable[[Scale], Report]]] = {
    "calls": calls.measure,
    "call-path": call_path.measure,
    "state": state.measure,
    "storage": storage.measure,
    "start": start.measure,
}
_INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for. The exit code: 130 when it was interrupted, which keeps what was finished."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "subjects", nargs="*", metavar="|".join(SUBJECTS), help="what to measure; default: all"
    )
    parser.add_argument("--quick", action="store_true", help="a few rounds, to see that it works")
    parser.add_argument("--into", type=Path, default=RESULTS, help="the folder that keeps the results")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.subjects) - set(SUBJECTS))
    if unknown:
        parser.error(f"there is no benchmark named {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
    try:
        # Log lines are made as in production, and go nowhere.
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            logs.configure(LogLevel.INFO, LogFormat.JSON, Redactor([KEY]), nowhere)
            for subject in chosen.subjects or SUBJECTS:
                _keep(subject, SUBJECTS[subject](QUICK if chosen.quick else FULL), chosen.into)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _keep(subject: str, report: Report, folder: Path) -> None:
    text = report.text(SystemClock().now())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{subject}.md").write_text(text, encoding="utf-8")
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
