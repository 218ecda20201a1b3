"""One log line a request: who asked for what and how it went. Queries are left out, since they may hold anything."""

from __future__ import annotations

from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.model.identity import new_trace_id, tracing
from core.web.origin import address_of
from core.web.ports import WebHub

_log = structlog.get_logger("bongsu.access")
_TRACE_HEADER: Final = b"x-trace-id"
_QUIET: Final = ("/static/", "/healthz")
"""Files that every page brings along, and the question that supervisors ask every second: told at debug level."""


class AccessLog:
    """Outermost of all layers: every answer passes it, and everything inside belongs to one trace id."""

    def __init__(self, app: ASGIApp, hub: WebHub) -> None:
        self._app = app
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        with tracing(new_trace_id()) as trace_id:
            await self._logged(scope, receive, send, trace_id)

    async def _logged(self, scope: Scope, receive: Receive, send: Send, trace_id: str) -> None:
        started = self._hub.clock.monotonic()
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (_TRACE_HEADER, trace_id.encode())]}
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            note = _log.debug if scope["path"].startswith(_QUIET) else _log.info
            note(
                "request",
                method=scope.get("method", "WEBSOCKET"),
                path=scope["path"],
                status=status or None,
                duration_ms=round((self._hub.clock.monotonic() - started) * 1000, 1),
                address=address_of(scope, self._hub.settings),
            )
