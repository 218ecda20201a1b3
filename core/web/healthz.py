"""GET /healthz: whether this process can do its work. It needs no sign-in and tells no detail."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from core.web.blocking import Blocking
from core.web.ports import WebHub

_log = structlog.get_logger("bongsu.web")
PATIENCE_SECONDS: Final = 0.9
GOOD_FOR_SECONDS: Final = 1.0


class Healthz:
    """Asks the database, once for all who ask within a second, and waits less than a second for it."""

    def __init__(self, hub: WebHub) -> None:
        self._hub = hub
        self._blocking = Blocking(1)
        self._turn = asyncio.Lock()
        self._asking: asyncio.Task[bool] | None = None
        self._is_well = False
        self._answered_at: float | None = None

    def route(self) -> Route:
        return Route("/healthz", self.answer, methods=["GET"])

    async def answer(self, _request: Request) -> PlainTextResponse:
        async with self._turn:
            if not self._is_fresh():
                self._is_well = await self._ask()
                self._answered_at = self._hub.clock.monotonic()
        headers = {"Cache-Control": "no-store"}
        return PlainTextResponse(
            "ok" if self._is_well else "unavailable", 200 if self._is_well else 503, headers
        )

    def _is_fresh(self) -> bool:
        at = self._answered_at
        return at is not None and self._hub.clock.monotonic() - at < GOOD_FOR_SECONDS

    async def _ask(self) -> bool:
        # A question that got no answer yet is not asked again: a hung database must not collect threads.
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._blocking(self._hub.access.needs_setup))
        done, _ = await asyncio.wait({self._asking}, timeout=PATIENCE_SECONDS)
        if not done:
            return False
        fault = self._asking.exception()
        if fault is not None:
            _log.error("database_does_not_answer", error_type=type(fault).__name__)
        return fault is None
