"""A request as it is written down: what is added, what is refused, and where it goes."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.message import ApiRequest, Pairs
from core.model.verdict import Verdict
from core.transports.base import TransportFault
from core.transports.wire import wire_request

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def headers(request: ApiRequest) -> dict[bytes, bytes]:
    """What is sent, by lower-case name."""
    written = wire_request(request).headers
    assert len({name.lower() for name, _ in written}) == len(written)
    return {name.lower(): value for name, value in written}


@given(params=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_a_query_says_what_was_asked(params: list[tuple[str, str]]) -> None:
    target = wire_request(ApiRequest("GET", "http://a.invalid/p%20q?gone=1", tuple(params))).url.target
    path, _, query = target.decode("ascii").partition("?")
    assert path == "/p%20q"
    assert parse_qsl(query, keep_blank_values=True) == params


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "said"),
    [
        ("http://a.invalid", b"a.invalid", None, b"/", b"a.invalid"),
        ("https://a.invalid:443/x?y=1", b"a.invalid", None, b"/x?y=1", b"a.invalid"),
        ("https://a.invalid:80/", b"a.invalid", 80, b"/", b"a.invalid:80"),
        ("http://[::1]:81/", b"::1", 81, b"/", b"[::1]:81"),
        ("HTTP://A.invalid/한", b"a.invalid", None, b"/%ED%95%9C", b"a.invalid"),
    ],
)
def test_an_address_is_taken_apart(
    url: str, host: bytes, port: int | None, target: bytes, said: bytes
) -> None:
    written = wire_request(ApiRequest("GET", url))
    assert (written.url.host, written.url.port, written.url.target) == (host, port, target)
    assert headers(ApiRequest("GET", url))[b"host"] == said


def test_what_the_caller_says_is_not_said_twice() -> None:
    given_headers: Pairs = (
        ("HOST", "b.invalid"),
        ("accept-encoding", "identity"),
        ("User-Agent", "me"),
        ("Content-LENGTH", "0"),
    )
    sent = headers(ApiRequest("POST", "http://a.invalid/", headers=given_headers, body=b"body"))
    assert sent == {
        b"host": b"b.invalid",
        b"accept-encoding": b"identity",
        b"user-agent": b"me",
        b"content-length": b"0",
    }


def test_a_request_says_how_long_its_body_is_and_what_it_takes() -> None:
    assert headers(ApiRequest("POST", "http://a.invalid/", body=b"")) == {
        b"host": b"a.invalid",
        b"content-length": b"0",
        b"accept-encoding": b"gzip",
        b"user-agent": b"bongsu",
    }
    assert b"content-length" not in headers(ApiRequest("GET", "http://a.invalid/"))


@pytest.mark.fault("CP-10")
@pytest.mark.parametrize(
    "url",
    [
        "",
        "no address",
        "ftp://a.invalid/",
        "ws://a.invalid/",
        "http:///",
        "http://\udc80/",
        "http://a.invalid:0/",
        "http://a.invalid:65536/",
        "http://a.invalid:-1/",
        "http://a.invalid:80:80/",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(TransportFault) as raised:
        wire_request(ApiRequest("GET", url, (("q", "1"),)))
    assert (raised.value.verdict, raised.value.may_have_arrived) == (Verdict.REQUEST_REFUSED, False)
