"""A connection for callers that block: every read and write may only take what is left of the attempt."""

from __future__ import annotations

import socket
import ssl

import httpcore

from core.model.message import ApiResponse
from core.transports.attempt import Attempt
from core.transports.keep_alive import KEPT_S
from core.transports.resolver import look_up
from core.transports.sockets import is_readable, not_connected
from core.transports.wire import Answer


class SyncLine:
    """One connection to one origin, which serves one attempt at a time."""

    def __init__(self, origin: httpcore.Origin, stream: _Stream) -> None:
        self._stream = stream
        self._connection = httpcore.HTTP11Connection(origin, stream, keepalive_expiry=KEPT_S)

    @classmethod
    def open(cls, origin: httpcore.Origin, attempt: Attempt, tls: ssl.SSLContext) -> SyncLine:
        """A new connection. Raises `httpcore.ConnectError` or `ConnectTimeout` when there is none in time."""
        host = origin.host.decode("ascii")
        try:
            addresses = look_up(host, origin.port).result(attempt.seconds_left())
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        failure: OSError | None = None
        for address, share in attempt.shares(addresses):
            try:
                sock = socket.create_connection((address, origin.port), share)
                if origin.scheme == b"https":
                    sock = _encrypted(sock, tls, host, attempt)
            except OSError as error:
                failure = error
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return cls(origin, _Stream(sock, attempt))
        raise not_connected(failure or OSError("the name has no address")) from failure

    def exchange(self, request: httpcore.Request, attempt: Attempt) -> ApiResponse:
        """Send the request and take the whole answer. After any exception the line is of no use any more."""
        self._stream.attempt = attempt
        response = self._connection.handle_request(request)
        answer = Answer(response, attempt)
        for chunk in response.iter_stream():
            answer.add(chunk)
        response.close()
        return answer.whole()

    def has_expired(self) -> bool:
        return self._connection.has_expired()

    def is_idle(self) -> bool:
        return self._connection.is_idle()

    def close(self) -> None:
        self._stream.close()


def _encrypted(sock: socket.socket, tls: ssl.SSLContext, host: str, attempt: Attempt) -> ssl.SSLSocket:
    try:
        sock.settimeout(attempt.seconds_left())
        return tls.wrap_socket(sock, server_hostname=host)
    except OSError:
        sock.close()
        raise


class _Stream(httpcore.NetworkStream):
    """The socket as httpcore sees it.

    The timeouts that httpcore hands in are not used: they start anew with every byte that comes or goes, so a peer
    that drips would never meet them.
    """

    def __init__(self, sock: socket.socket, attempt: Attempt) -> None:
        self._sock = sock
        self.attempt = attempt

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 -- the attempt's holds.
        try:
            self._sock.settimeout(self.attempt.seconds_left())
            data = self._sock.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError from error
        self.attempt.has_read = True
        self.attempt.peer_has_ended = data == b""
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 -- the attempt's holds.
        rest = memoryview(buffer)
        is_encrypted = isinstance(self._sock, ssl.SSLSocket)
        try:
            while rest:
                self._sock.settimeout(self.attempt.seconds_left())
                self.attempt.has_sent |= (
                    is_encrypted  # what fails may have gone out in part; a plain send has not.
                )
                rest = rest[self._sock.send(rest) :]
                self.attempt.has_sent = True
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except OSError as error:
            raise httpcore.WriteError from error

    def close(self) -> None:
        self._sock.close()

    def get_extra_info(self, info: str) -> bool | None:
        return is_readable(self._sock.fileno()) if info == "is_readable" else None
