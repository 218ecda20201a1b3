"""A small HTTP/1.1 server in threads, which answers well until it is told to misbehave."""

from __future__ import annotations

import argparse
import gzip
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Received:
    """One request as it came in. Header names are lower case; of a repeated name the last counts."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """One answer to send."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = field(default=(("Content-Type", "application/json"),))

    def on_the_wire(self) -> bytes:
        """All its bytes, with a Content-Length unless the headers say how long it is."""
        named = {name.lower() for name, _ in self.headers}
        length = (
            ()
            if named & {"content-length", "transfer-encoding"}
            else (("Content-Length", str(len(self.body))),)
        )
        phrase = HTTPStatus(self.status).phrase
        lines = [
            f"HTTP/1.1 {self.status} {phrase}",
            *(f"{name}: {value}" for name, value in (*self.headers, *length)),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


Script = Callable[[bytes], Iterator[bytes]]
"""Makes the pieces that are sent out of the bytes of the good answer. After it the connection is closed."""


class HttpServer:
    """Listens on 127.0.0.1 from entering to leaving it as a context; answers each request with `answer`.

    The misbehaviours (`fail_with`, `delay`, `drip`, `cut_after`, …) hold for every request until `recover`.
    """

    def __init__(
        self, answer: Callable[[Received], Reply], *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._answer = answer
        self._tls = tls
        self._script: Script | None = None
        self._instead: Reply | None = None
        self._breaks_off = False
        self._besides: tuple[tuple[str, str], ...] = ()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self.requests: list[Received] = []
        """Every request that arrived whole, oldest first."""

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        _hang_up(self._listener)
        self._acceptor.join()
        with self._lock:
            open_connections = list(self._connections)
        for connection in open_connections:
            _hang_up(connection)
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def recover(self) -> None:
        """Answer well again."""
        self._script = None
        self._instead = None
        self._breaks_off = False
        self._besides = ()

    def fail_with(self, status: int, *, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"") -> None:
        """Answer with this instead."""
        self._instead = Reply(body, status, headers)

    def add_headers(self, *headers: tuple[str, str]) -> None:
        """Answer well, with these headers besides."""
        self._besides = headers

    def delay(self, seconds: float) -> None:
        """Answer well, but so much later."""

        def script(good: bytes) -> Iterator[bytes]:
            self._stopping.wait(seconds)
            yield good

        self._script = script

    def drip(self, pause_seconds: float, *, after: int = 0) -> None:
        """Send `after` bytes at once and every further one after a pause."""

        def script(good: bytes) -> Iterator[bytes]:
            yield good[:after]
            for position in range(after, len(good)):
                if self._stopping.wait(pause_seconds):
                    return
                yield good[position : position + 1]

        self._script = script

    def cut_after(self, count: int) -> None:
        """Hang up after so many bytes of the good answer (a negative count leaves so many out at its end)."""
        self._script = lambda good: iter([good[:count]])

    def garbage(self, data: bytes) -> None:
        """Send this, whatever it is, and hang up."""
        self._script = lambda _good: iter([data])

    def break_off(self) -> None:
        """Misbehave as was told, but end each connection so that the client is told of a break and not of an end."""
        self._breaks_off = True

    def huge(self, megabytes: int) -> None:
        """Send a body of so many megabytes, rightly announced."""

        def script(_good: bytes) -> Iterator[bytes]:
            yield Reply(b"", 200, (("Content-Length", str(megabytes * _MEGABYTE)),)).on_the_wire()
            for _ in range(megabytes):
                yield bytes(_MEGABYTE)

        self._script = script

    def endless_chunks(self) -> None:
        """Send a chunked body that never ends."""

        def script(_good: bytes) -> Iterator[bytes]:
            yield Reply(b"", 200, (("Transfer-Encoding", "chunked"),)).on_the_wire()
            while not self._stopping.is_set():
                yield b"10000\r\n" + bytes(0x10000) + b"\r\n"

        self._script = script

    def in_chunks(self, body: bytes, size: int, *, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Send this body chunked, in pieces of so many bytes, each in a segment of its own if the system lets it."""

        def script(_good: bytes) -> Iterator[bytes]:
            yield Reply(b"", 200, (*headers, ("Transfer-Encoding", "chunked"))).on_the_wire()
            for start in range(0, len(body), size):
                piece = body[start : start + size]
                yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
            yield b"0\r\n\r\n"

        self._script = script

    def gzip_bomb(self, megabytes: int = 64, *, layers: int = 1) -> None:
        """Send a small body that unpacks to so many megabytes, packed in so many layers."""
        body = bytes(megabytes * _MEGABYTE)
        for _ in range(layers):
            body = gzip.compress(body, compresslevel=6)
        self.fail_with(200, headers=(("Content-Encoding", ", ".join(["gzip"] * layers)),), body=body)

    def hang_up(self) -> None:
        """Hang up on whoever is connected now."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            _hang_up(connection)

    def is_deserted(self, within_s: float = 10.0) -> bool:
        """Whether nobody is connected any more, or will not be in so many seconds."""
        for thread in list(self._threads):
            thread.join(within_s)
        return not any(thread.is_alive() for thread in self._threads)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:  # the listener was closed.
                return
            with self._lock:
                self._connections.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        stream = connection
        with suppress(OSError):  # the client hung up, or we did.
            if self._tls is not None:
                stream = self._tls.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._connections.add(stream)
            while (request := _received(stream)) is not None and self._serve_one(stream, request):
                pass
        hang_up = _break_off if self._breaks_off else _hang_up
        hang_up(stream)
        hang_up(connection)
        with self._lock:
            self._connections -= {connection, stream}

    def _serve_one(self, stream: socket.socket, request: Received) -> bool:
        """Answer one request. Whether the connection stays open."""
        self.requests.append(request)
        reply = self._instead or self._answer(request)
        good = replace(reply, headers=(*reply.headers, *self._besides)).on_the_wire()
        script = self._script
        for piece in iter([good]) if script is None else script(good):
            stream.sendall(piece)
        return script is None


def _received(stream: socket.socket) -> Received | None:
    """The next request, or None at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = stream.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    while len(body) < int(headers.get("content-length", "0")):
        more = stream.recv(65536)
        if not more:
            return None
        body += more
    parts = urlsplit(target)
    return Received(method, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body)


def _hang_up(connection: socket.socket) -> None:
    """Close it, waking whoever waits on it."""
    with suppress(OSError):  # it may be closed, or never have been connected.
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _break_off(connection: socket.socket) -> None:
    """Close it without a farewell."""
    with suppress(OSError):  # it may be closed already.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def serve_from_command_line(simulator: Callable[[int, str], HttpServer], *, key: str) -> None:
    """Run a simulator until it is interrupted, its address on the first line of the output."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--port", type=int, default=0, help="where to listen on 127.0.0.1; 0 takes a free port"
    )
    parser.add_argument("--key", default=key, help="the only key that is accepted")
    chosen = parser.parse_args()
    with simulator(chosen.port, chosen.key) as server, suppress(KeyboardInterrupt):
        print(server.url, flush=True)  # noqa: T201 -- the address is the output.
        threading.Event().wait()
