"""The socket that Streamlit listens on, made to answer at once."""

from __future__ import annotations

import gc
import socket
from typing import Final

_INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})


def answer_at_once() -> None:
    """Have every TCP socket of this process, and each connection that one accepts, send without waiting.

    An answer is sent in two pieces, and the system holds the second back until the first is acknowledged: 40 ms
    for nothing on every request of a connection that is kept open. asyncio switches that off only for sockets
    that were made with the protocol's number, which Streamlit's is not, and it hands its socket to nobody; so it
    is looked for among all objects. What a listening socket is told, its connections inherit.
    """
    for thing in gc.get_objects():
        if type(thing) is socket.socket and _is_open_tcp(thing):
            thing.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _is_open_tcp(found: socket.socket) -> bool:
    return found.fileno() != -1 and found.family in _INTERNET and found.type == socket.SOCK_STREAM
