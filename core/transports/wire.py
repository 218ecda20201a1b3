"""Requests and answers as HTTP/1.1 writes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from urllib.parse import urlencode

import httpcore
import httpx

from core.model.message import ApiRequest, ApiResponse
from core.transports.attempt import Attempt, malformed, unsent
from core.transports.body import Body

_DEFAULT_PORTS = {b"http": 80, b"https": 443}
_MAX_PORT = 65535
_DEFAULT_HEADERS = ((b"Accept-Encoding", b"gzip"), (b"User-Agent", b"bongsu"))


def wire_request(request: ApiRequest) -> httpcore.Request:
    """The request with all its headers. Raises `TransportFault` when it cannot be written down."""
    url = _target(request)
    return httpcore.Request(
        request.method.encode("ascii", "replace"),
        url,
        headers=[*_missing_headers(request, url), *_wire_headers(request)],
        content=request.body,
    )


def _target(request: ApiRequest) -> httpcore.URL:
    try:
        url = _parsed(request.url)
        if not request.params:
            return url
        query = urlencode(request.params).encode("ascii")
    except (httpx.InvalidURL, UnicodeEncodeError) as error:
        raise unsent("the address cannot be written down") from error
    target = url.target.partition(b"?")[0] + b"?" + query
    return httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=target)


@lru_cache(maxsize=256)  # a provider's addresses are few, and to take one apart costs more than the rest.
def _parsed(address: str) -> httpcore.URL:
    url = httpx.URL(address)
    is_port = url.port is None or 0 < url.port <= _MAX_PORT
    if url.raw_scheme not in _DEFAULT_PORTS or not url.raw_host or not is_port:
        raise unsent("the address is not one of HTTP: check the provider's base URL")
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path or b"/")


def _wire_headers(request: ApiRequest) -> Iterator[tuple[bytes, bytes]]:
    for name, value in request.headers:
        try:
            yield name.encode("ascii"), value.encode("ascii")
        except UnicodeEncodeError as error:
            raise unsent(f"the header {name!r} holds a character that HTTP does not allow") from error


def _missing_headers(request: ApiRequest, url: httpcore.URL) -> Iterator[tuple[bytes, bytes]]:
    given = {name.lower() for name, _ in request.headers}
    if "host" not in given:
        yield b"Host", _authority(url)
    if request.body is not None and not given & {"content-length", "transfer-encoding"}:
        yield b"Content-Length", b"%d" % len(request.body)
    for name, value in _DEFAULT_HEADERS:
        if name.decode("ascii").lower() not in given:
            yield name, value


def _authority(url: httpcore.URL) -> bytes:
    host = b"[%b]" % url.host if b":" in url.host else url.host
    return host if url.port in {None, _DEFAULT_PORTS[url.scheme]} else b"%b:%d" % (host, url.origin.port)


class Answer:
    """Puts an answer together as it comes in."""

    def __init__(self, response: httpcore.Response, attempt: Attempt) -> None:
        """Raises `TransportFault` for an answer to another question, or in an encoding that was not asked for."""
        if not attempt.has_read:  # it was left over behind an earlier answer.
            raise malformed("an answer came before it was asked for")
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers)
        self._head = ApiResponse(response.status, headers, b"")
        layers = (value for name, value in headers if name.lower() == "content-encoding")
        self._body = Body(",".join(layers))

    def add(self, chunk: bytes) -> None:
        """Take the next chunk of the body. Raises `TransportFault` like `core.transports.body.Body`."""
        self._body.add(chunk)

    def whole(self) -> ApiResponse:
        """The whole answer. Raises `TransportFault` when the body has no end."""
        return replace(self._head, body=self._body.whole())
