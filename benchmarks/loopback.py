"""A web server that does as little as one can: the floor of what asking over HTTP costs.

`python -m benchmarks.loopback` says its address on standard output and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_HOST: Final = "127.0.0.1"
_ROOT: Final = Path(__file__).parent.parent
_END_OF_REQUEST: Final = b"\r\n\r\n"
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


@contextmanager
def served() -> Iterator[str]:
    """The address of such a server in a process of its own, which no Ctrl-C reaches but through us."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.loopback"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the server has no output to read its address from")
        yield process.stdout.readline().strip()
    finally:
        process.communicate(timeout=10)


class _Hello(asyncio.Protocol):
    """Answers every request that has no body with the same five letters, and keeps the connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a connection that cannot be written to")
        self._transport = transport
        self._asked = b""

    def data_received(self, data: bytes) -> None:
        self._asked += data
        *requests, self._asked = self._asked.split(_END_OF_REQUEST)
        self._transport.write(_ANSWER * len(requests))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Hello, _HOST, 0)
    port = server.sockets[0].getsockname()[1]
    print(f"http://{_HOST}:{port}", flush=True)
    async with server:
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
