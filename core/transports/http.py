"""The way out over HTTP: kept connections, a deadline for the whole attempt, and a bound on what comes back."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from weakref import WeakSet

import httpcore
import httpx

from core.clock import Clock
from core.model.message import ApiRequest, ApiResponse
from core.transports.async_line import AsyncLine
from core.transports.attempt import Attempt, faults_named
from core.transports.keep_alive import MAX_CONNECTIONS, KeepAlive
from core.transports.per_loop import PerLoop
from core.transports.sync_line import SyncLine
from core.transports.wire import wire_request


class HttpTransport:
    """HTTP/1.1 over kept connections: TLS verified, no redirect followed, no cookie or proxy remembered.

    `tls` replaces the trusted authorities (by default the bundled ones and the machine's own).
    """

    def __init__(self, clock: Clock, *, tls: ssl.SSLContext | None = None) -> None:
        self._clock = clock
        self._tls = tls or _trusted_authorities()
        self._tls.set_alpn_protocols(["http/1.1"])
        self._idle: KeepAlive[SyncLine] = KeepAlive()
        self._loops = PerLoop()
        self._begin()
        _transports.add(self)

    def send(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        """See `core.transports.base.Transport.send`. The deadline holds against a server that drips, too."""
        attempt = Attempt(self._clock, self._clock.monotonic() + timeout_s)
        with faults_named(attempt):
            written = wire_request(request)
            slots = self._slots
            if not slots.acquire(timeout=attempt.seconds_left()):
                raise httpcore.PoolTimeout
            try:
                return self._exchange(written, attempt)
            finally:
                slots.release()

    def _exchange(self, request: httpcore.Request, attempt: Attempt) -> ApiResponse:
        origin = request.url.origin
        line = self._idle.take(origin) or SyncLine.open(origin, attempt, self._tls)
        try:
            answer = line.exchange(request, attempt)
        except BaseException:
            line.close()  # half an answer may be left on it.
            raise
        self._idle.give(origin, line)
        return answer

    async def asend(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        """See `core.transports.base.Transport.asend`. Each event loop has connections of its own."""
        attempt = Attempt(self._clock, self._clock.monotonic() + timeout_s)
        with faults_named(attempt):
            async with asyncio.timeout(timeout_s):
                return await self._aexchange(wire_request(request), attempt)

    async def _aexchange(self, request: httpcore.Request, attempt: Attempt) -> ApiResponse:
        origin = request.url.origin
        lines = await self._loops.here()
        async with lines.slots:
            line = lines.idle.take(origin) or await AsyncLine.open(origin, attempt, self._tls)
            try:
                answer = await line.exchange(request, attempt)
            except BaseException:
                line.close()  # half an answer may be left on it.
                raise
            lines.idle.give(origin, line)
            return answer

    def _begin(self) -> None:
        """Nothing is out: at first, and in the child of a fork, where nobody gives back what the parent has out."""
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def close(self) -> None:
        """Close every idle connection; the others are closed when their attempts are over."""
        self._idle.close()
        self._loops.close()


_transports: WeakSet[HttpTransport] = WeakSet()


def _begin_in_child() -> None:
    for transport in list(_transports):
        transport._begin()  # noqa: SLF001 -- the same file.


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


def _trusted_authorities() -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
