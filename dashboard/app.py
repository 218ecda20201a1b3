"""The web process: the pages, the API and the ways in, behind one gate. `streamlit run dashboard/app.py` starts it."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import streamlit as st
import structlog
from starlette.middleware import Middleware

from core.command import lifeline
from core.errors import BongsuError, SettingsRefused
from core.telemetry.logs import configure, set_levels
from core.web.access_log import AccessLog
from core.web.api import create_api, mounted
from core.web.gate import Gate
from core.web.headers import SecurityHeaders, inline_script_hashes
from core.web.healthz import Healthz
from core.web.limits import Limits
from core.web.sign_in import SignInPages
from core.web.storage import StorageFaults
from dashboard import data, options
from dashboard.components import show_unexpected_error
from dashboard.sockets import answer_at_once

MALFORMED_SETTINGS: Final = 2
REFUSED: Final = 1
_WARM: Final = ("pandas", "pyarrow", "plotly.graph_objects")
_log = structlog.get_logger("bongsu.web")

lifeline.hold(partial(os.kill, os.getpid(), signal.SIGTERM))
try:
    hub = data.hub()
except BongsuError as refusal:
    sys.stderr.write(f"{refusal}\n")
    sys.exit(MALFORMED_SETTINGS if isinstance(refusal, SettingsRefused) else REFUSED)
api = create_api(hub)


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[None]:
    """From the first request to the last. A mounted app's own lifespan is run by whoever mounts it."""
    # Here and not above: Streamlit sets its own log and options up once more before it starts.
    configure(hub.settings.log_level, hub.settings.log_format, hub.redactor)
    set_levels(hub.configs.values())
    options.enforce()
    answer_at_once()
    # Streamlit gives this logger a handler that no option takes away; requests are in our own log.
    logging.getLogger("uvicorn.access").disabled = True
    for name in _WARM:
        importlib.import_module(name)
    # After each run of a page everything that can be collected is looked through: 60 ms with these libraries,
    # unless they are set aside once.
    gc.collect()
    gc.freeze()
    async with api.router.lifespan_context(api):
        yield
    hub.close()


def on_script_error(error: Exception) -> bool:
    """Keep what went wrong in a page in the log, and show no more than that something did."""
    _log.error("page_failed", error_type=type(error).__name__, exc_info=error)
    show_unexpected_error()
    return True


app = st.App(
    str(Path(__file__).with_name("main.py")),
    routes=[*SignInPages(hub).routes(), Healthz(hub).route(), mounted(api)],
    middleware=[
        Middleware(AccessLog, hub=hub),
        Middleware(
            SecurityHeaders, settings=hub.settings, script_hashes=inline_script_hashes(options.index_page())
        ),
        Middleware(StorageFaults),
        Middleware(Limits),
        Middleware(Gate, hub=hub),
    ],
    lifespan=lifespan,
    on_script_error=on_script_error,
)
