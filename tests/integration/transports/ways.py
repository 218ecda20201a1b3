"""The two ways to use a transport, so that one test speaks of both."""

from __future__ import annotations

import asyncio
from typing import Protocol

from core.model.message import ApiRequest, ApiResponse
from core.transports.base import Transport


class ClosableTransport(Transport, Protocol):
    """A transport that holds something open."""

    def close(self) -> None: ...


class Way(Protocol):
    """One way to use a transport."""

    def send(self, request: ApiRequest, timeout_s: float) -> ApiResponse: ...

    def close(self) -> None: ...


class Blocking:
    """By callers that block."""

    def __init__(self, transport: ClosableTransport) -> None:
        self._transport = transport

    def send(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        return self._transport.send(request, timeout_s)

    def close(self) -> None:
        self._transport.close()


class OnALoop:
    """By callers on one event loop, which stands still between two requests."""

    def __init__(self, transport: ClosableTransport) -> None:
        self._transport = transport
        self._runner = asyncio.Runner()

    def send(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        return self._runner.run(self._transport.asend(request, timeout_s))

    def close(self) -> None:
        self._runner.close()
        self._transport.close()
