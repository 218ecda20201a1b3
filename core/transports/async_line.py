"""A connection for callers on an event loop. Its deadline is the one around the whole attempt."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable
from typing import cast

import httpcore

from core.model.message import ApiResponse
from core.transports.attempt import Attempt
from core.transports.keep_alive import KEPT_S
from core.transports.resolver import look_up
from core.transports.sockets import is_readable, not_connected
from core.transports.wire import Answer

_MAX_WAITING = 128 * 1024
"""Bytes that arrived and were not read yet, before the peer has to wait."""

_SLICE = 128 * 1024
"""Bytes handed to the loop at once: it copies what it cannot send yet."""


class AsyncLine:
    """One connection to one origin, which serves one attempt at a time, on the loop that opened it."""

    def __init__(self, origin: httpcore.Origin, stream: _Stream) -> None:
        self._stream = stream
        self._connection = httpcore.AsyncHTTP11Connection(origin, stream, keepalive_expiry=KEPT_S)

    @classmethod
    async def open(cls, origin: httpcore.Origin, attempt: Attempt, tls: ssl.SSLContext) -> AsyncLine:
        """A new connection. Raises `httpcore.ConnectError` or `ConnectTimeout` when there is none in time."""
        host = origin.host.decode("ascii")
        addresses = await asyncio.wrap_future(look_up(host, origin.port))
        failure: OSError | None = None
        for address, share in attempt.shares(addresses):
            try:
                async with asyncio.timeout(share):
                    return cls(origin, await _connected(address, origin, tls, share))
            except OSError as error:
                failure = error
        raise not_connected(failure or OSError("the name has no address")) from failure

    async def exchange(self, request: httpcore.Request, attempt: Attempt) -> ApiResponse:
        """Send the request and take the whole answer. After any exception the line is of no use any more."""
        self._stream.attempt = attempt
        response = await self._connection.handle_async_request(request)
        answer = Answer(response, attempt)
        async for chunk in cast("AsyncIterable[bytes]", response.stream):
            answer.add(chunk)
        await response.aclose()
        return answer.whole()

    def has_expired(self) -> bool:
        return self._connection.has_expired()

    def is_idle(self) -> bool:
        return self._connection.is_idle()

    def close(self) -> None:
        self._stream.close()


async def _connected(address: str, origin: httpcore.Origin, tls: ssl.SSLContext, share: float) -> _Stream:
    loop = asyncio.get_running_loop()
    if origin.scheme == b"https":
        _, stream = await loop.create_connection(
            _Stream,
            address,
            origin.port,
            ssl=tls,
            server_hostname=origin.host.decode("ascii"),
            ssl_handshake_timeout=share + 1,  # ours comes first; its own would be a minute.
        )
    else:
        _, stream = await loop.create_connection(_Stream, address, origin.port)
    return stream


class _Stream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """The loop's connection as httpcore sees it."""

    attempt: Attempt

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._arrived = bytearray()
        self._has_ended = False
        self._failure: Exception | None = None
        self._may_write = True
        self._may_read = True
        self._change: asyncio.Future[None] | None = None

    # What the loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        if len(self._arrived) > _MAX_WAITING and self._may_read and self._transport is not None:
            self._may_read = False
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._has_ended = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_ended = True
        self._failure = exc
        self._transport = None
        self._wake()

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._wake()

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    # What httpcore asks. The timeouts that it hands in are not used: the deadline is around all of it.

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109 -- see above.
        while not self._arrived and not self._has_ended:
            await self._changed()
        data = bytes(self._arrived[:max_bytes])
        del self._arrived[:max_bytes]
        if not data and self._failure is not None:
            raise httpcore.ReadError from self._failure
        if not self._may_read and self._transport is not None and len(self._arrived) <= _MAX_WAITING:
            self._may_read = True
            self._transport.resume_reading()
        self.attempt.has_read = True
        self.attempt.peer_has_ended = data == b""
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 -- see above.
        rest = memoryview(buffer)
        while rest:
            self._send(rest[:_SLICE])
            rest = rest[_SLICE:]
            while not self._may_write and not self._has_ended:
                await self._changed()

    def _send(self, piece: memoryview) -> None:
        """Raises `httpcore.WriteError` when the peer is known to be gone, so that nothing leaves the process."""
        if self._transport is None or self._has_ended:
            raise httpcore.WriteError
        self.attempt.has_sent = True
        self._transport.write(piece)

    async def _changed(self) -> None:
        self._change = asyncio.get_running_loop().create_future()
        await self._change

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """Without the parting words of TLS, which would have to be waited for."""
        if self._transport is not None:
            self._transport.abort()

    def get_extra_info(self, info: str) -> bool | None:
        if info != "is_readable":
            return None
        if self._transport is None or self._has_ended or self._arrived:
            return True
        descriptor: int = self._transport.get_extra_info("socket").fileno()
        return is_readable(descriptor)  # the loop may not have come to it yet.
