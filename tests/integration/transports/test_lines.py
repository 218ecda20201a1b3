"""What a single connection knows: whether a request may have arrived, to the byte."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Iterator

import httpcore
import pytest

from core.clock import SystemClock
from core.model.message import ApiRequest
from core.model.verdict import Verdict
from core.transports.async_line import AsyncLine
from core.transports.attempt import Attempt, faults_named
from core.transports.base import TransportFault
from core.transports.sync_line import SyncLine
from core.transports.wire import wire_request
from tests.waiting import until

BREAK = struct.pack("ii", 1, 0)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Someone to call."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def written_for(listener: socket.socket) -> httpcore.Request:
    """A request to the listener."""
    return wire_request(ApiRequest("POST", f"http://127.0.0.1:{listener.getsockname()[1]}/", body=b"pay"))


def break_off(listener: socket.socket) -> None:
    """Take the call, and break it off."""
    peer, _ = listener.accept()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, BREAK)
    peer.close()


def a_minute() -> Attempt:
    """An attempt that has a minute."""
    clock = SystemClock()
    return Attempt(clock, clock.monotonic() + 60)


def blocking(listener: socket.socket, request: httpcore.Request, attempt: Attempt) -> None:
    """A request over a connection that the peer has broken off meanwhile."""
    line = SyncLine.open(request.url.origin, attempt, ssl.create_default_context())
    try:
        break_off(listener)
        until(lambda: bool(line._stream.get_extra_info("is_readable")))
        line.exchange(request, attempt)
    finally:
        line.close()


def on_a_loop(listener: socket.socket, request: httpcore.Request, attempt: Attempt) -> None:
    """The same on an event loop."""

    async def ask() -> None:
        line = await AsyncLine.open(request.url.origin, attempt, ssl.create_default_context())
        try:
            await asyncio.to_thread(break_off, listener)
            await asyncio.to_thread(until, lambda: bool(line._stream.get_extra_info("is_readable")))
            await line.exchange(request, attempt)
        finally:
            line.close()

    asyncio.run(ask())


@pytest.mark.fault("CP-03")
@pytest.mark.parametrize("ask", [blocking, on_a_loop], ids=["send", "asend"])
def test_over_a_connection_that_is_known_to_be_broken_nothing_is_sent(
    listener: socket.socket, ask: Callable[[socket.socket, httpcore.Request, Attempt], None]
) -> None:
    attempt = a_minute()
    with pytest.raises(TransportFault) as raised, faults_named(attempt):
        ask(listener, written_for(listener), attempt)
    assert (raised.value.verdict, raised.value.may_have_arrived) == (Verdict.DISCONNECTED, False)
