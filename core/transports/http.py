"""The way out over HTTP: pooled connections, a deadline for the whole attempt, and a bound on what comes back."""

from __future__ import annotations

import socket
import ssl
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import httpcore
import httpx

from core.clock import Clock
from core.model.message import ApiRequest, ApiResponse
from core.model.verdict import Verdict
from core.transports.base import TransportFault

MAX_BODY_BYTES = 2 * 1024 * 1024
"""The largest answer taken, both as it comes over the wire and decoded."""

_MIN_TIMEOUT = 1e-6  # a socket timeout of 0 would mean "do not block", and None "for ever".
_WRITE_SLICE = 16 * 1024
_DEFAULT_HEADERS = ((b"Accept-Encoding", b"gzip"), (b"User-Agent", b"bongsu"))


@dataclass(slots=True)
class _Attempt:
    """What one `send` has to know on every read and write below it."""

    clock: Clock
    deadline: float
    has_sent: bool = False
    has_read: bool = False
    peer_has_ended: bool = False

    def seconds_left(self) -> float:
        return max(self.deadline - self.clock.monotonic(), _MIN_TIMEOUT)


_attempt: ContextVar[_Attempt] = ContextVar("_attempt")


class HttpTransport:
    """HTTP/1.1 over a pool of connections: TLS verified, no redirect followed, no cookie or proxy remembered.

    `tls` replaces the trusted authorities (by default the bundled ones and the machine's own). The pool is used
    without the HTTP client on top of it, which would write every address, keys included, into the log.
    """

    def __init__(self, clock: Clock, *, tls: ssl.SSLContext | None = None) -> None:
        self._clock = clock
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls or _trusted_authorities(),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=15.0,
            network_backend=_DeadlineBackend(),
        )

    def send(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        """See `core.transports.base.Transport.send`. The deadline holds against a server that drips, too."""
        attempt = _Attempt(self._clock, self._clock.monotonic() + timeout_s)
        token = _attempt.set(attempt)
        try:
            with _faults_named(attempt):
                return self._exchange(request, timeout_s)
        finally:
            _attempt.reset(token)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _exchange(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        wait = max(timeout_s, _MIN_TIMEOUT)
        with self._pool.stream(
            request.method,
            _target(request),
            headers=[*_wire_headers(request), *_missing_headers(request)],
            content=request.body,
            extensions={"timeout": {"connect": wait, "read": wait, "write": wait, "pool": wait}},
        ) as response:
            headers = tuple(
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers
            )
            head = ApiResponse(response.status, headers, b"")
            if not _attempt.get().has_read:  # left over behind an earlier answer: it is not to this question.
                raise _malformed("an answer came before it was asked for")
            return replace(head, body=_whole_body(response.iter_stream(), head))


def _trusted_authorities() -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


def _target(request: ApiRequest) -> httpcore.URL:
    """Where to, the query included. Raises `TransportFault` when it cannot be written down."""
    try:
        url = (
            httpx.URL(request.url, params=list(request.params)) if request.params else httpx.URL(request.url)
        )
    except (httpx.InvalidURL, UnicodeEncodeError) as error:
        raise _unsent("the address cannot be written down") from error
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path or b"/")


def _wire_headers(request: ApiRequest) -> Iterator[tuple[bytes, bytes]]:
    for name, value in request.headers:
        try:
            yield name.encode("ascii"), value.encode("ascii")
        except UnicodeEncodeError as error:
            raise _unsent(f"the header {name!r} holds a character that HTTP does not allow") from error


def _missing_headers(request: ApiRequest) -> Iterator[tuple[bytes, bytes]]:
    given = {name.lower().encode("utf-8", "replace") for name, _ in request.headers}
    return (pair for pair in _DEFAULT_HEADERS if pair[0].lower() not in given)


def _unsent(detail: str) -> TransportFault:
    return TransportFault(Verdict.REQUEST_REFUSED, detail, may_have_arrived=False)


@contextmanager
def _faults_named(attempt: _Attempt) -> Iterator[None]:
    """Turn what the pool raises into a `TransportFault`, in words of our own: theirs may quote a header."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise _fault(attempt, Verdict.TIMED_OUT, "no whole answer in time") from error
    except httpcore.ConnectError as error:
        raise _fault(attempt, Verdict.DISCONNECTED, f"no connection: {str(error)[:200]}") from error
    except httpcore.NetworkError as error:
        raise _fault(attempt, Verdict.DISCONNECTED, "the connection broke") from error
    except httpcore.RemoteProtocolError as error:
        if attempt.peer_has_ended:
            raise _fault(attempt, Verdict.DISCONNECTED, "the connection was cut") from error
        raise _fault(attempt, Verdict.MALFORMED, "the answer is not HTTP") from error
    except (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol) as error:
        raise _unsent("the request is not HTTP: check the provider's address and its key") from error


def _fault(attempt: _Attempt, verdict: Verdict, detail: str) -> TransportFault:
    return TransportFault(verdict, detail, may_have_arrived=attempt.has_sent)


def _whole_body(chunks: Iterable[bytes], head: ApiResponse) -> bytes:
    """All of the body, decoded, and never more than `MAX_BODY_BYTES` in memory beyond one chunk.

    Raises `TransportFault` for a body beyond the bound or an encoding that was not asked for.
    """
    decoder = _decoder(head.header("Content-Encoding"))
    wire_bytes = 0
    body = bytearray()
    for chunk in chunks:
        wire_bytes += len(chunk)
        if wire_bytes > MAX_BODY_BYTES:
            raise _malformed(f"the answer is larger than {MAX_BODY_BYTES} bytes")
        body += decoder.decode(chunk, MAX_BODY_BYTES - len(body))
    decoder.finish()
    return bytes(body)


def _malformed(detail: str) -> TransportFault:
    return TransportFault(Verdict.MALFORMED, detail, may_have_arrived=True)


class _Identity:
    """A body that is what it is."""

    def decode(self, chunk: bytes, room: int) -> bytes:  # noqa: ARG002 -- the bound on wire bytes is the same.
        return chunk

    def finish(self) -> None:
        """There is no end mark to miss."""


@dataclass(slots=True)
class _Gzip:
    """A gzip body, of any number of members, never inflated past the room that is left."""

    _member: zlib._Decompress = field(default_factory=lambda: zlib.decompressobj(31))
    _has_begun: bool = False

    def decode(self, chunk: bytes, room: int) -> bytes:
        """What `chunk` decodes to. Raises `TransportFault` beyond `room` bytes or on anything but gzip."""
        plain = bytearray()
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(31)
            self._has_begun = True
            try:
                plain += self._member.decompress(chunk, room - len(plain) + 1)
            except zlib.error as error:
                raise _malformed("the answer is not the gzip that it says it is") from error
            if len(plain) > room:
                raise _malformed(f"the decoded answer is larger than {MAX_BODY_BYTES} bytes")
            chunk = self._member.unused_data
        return bytes(plain)

    def finish(self) -> None:
        """Raises `TransportFault` when the last member has no end."""
        if self._has_begun and not self._member.eof:
            raise _malformed("the compressed answer ends too soon")


def _decoder(encoding: str | None) -> _Identity | _Gzip:
    match (encoding or "").strip().lower():
        case "" | "identity":
            return _Identity()
        case "gzip" | "x-gzip":
            return _Gzip()
        case _:  # several layers, too: we asked for one.
            raise _malformed("the answer is encoded in a way that we did not ask for")


class _DeadlineStream(httpcore.NetworkStream):
    """A connection on which every read and write may only take what is left of the attempt.

    A plain read timeout starts anew with every byte that arrives, so a server that drips would never meet it.
    """

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 -- the attempt's holds.
        attempt = _attempt.get()
        data = self._stream.read(max_bytes, attempt.seconds_left())
        attempt.has_read = True
        attempt.peer_has_ended = data == b""
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 -- the attempt's holds.
        attempt = _attempt.get()
        for start in range(0, len(buffer), _WRITE_SLICE):
            attempt.has_sent = True
            self._stream.write(buffer[start : start + _WRITE_SLICE], attempt.seconds_left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 -- the attempt's holds.
    ) -> httpcore.NetworkStream:
        left = _attempt.get().seconds_left()
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


class _DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections on which the attempt's deadline holds, looking the name up included."""

    def __init__(self) -> None:
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 -- the attempt's holds.
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        attempt = _attempt.get()
        failure: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        addresses = _addresses(host, port, attempt.seconds_left())
        for untried, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share = attempt.seconds_left() / untried
            try:
                stream = self._sockets.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _DeadlineStream(stream)
        raise failure or httpcore.ConnectError("the name has no address")


def _addresses(host: str, port: int, timeout: float) -> list[str]:
    """The numeric addresses of `host`, in the resolver's order.

    The resolver knows no deadline, so it works in a thread that is left behind when it takes too long. Raises
    `httpcore.ConnectTimeout` then, and `httpcore.ConnectError` when there is no such name.
    """
    found: list[str] = []
    failures: list[Exception] = []

    def look_up() -> None:
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failures.append(error)
        else:
            found.extend(dict.fromkeys(str(entry[4][0]) for entry in entries))

    resolver = threading.Thread(target=look_up, name="resolver", daemon=True)
    resolver.start()
    resolver.join(timeout)
    if resolver.is_alive():
        raise httpcore.ConnectTimeout("the name server did not answer in time")
    if failures:
        raise httpcore.ConnectError(f"the name cannot be resolved ({failures[0]})") from failures[0]
    return found
