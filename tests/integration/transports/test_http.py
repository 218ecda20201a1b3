"""The way out over HTTP against servers that misbehave: each fault has a name, a bound and an end."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import SystemClock
from core.model.message import ApiRequest
from core.model.verdict import Verdict
from core.transports.base import TransportFault
from core.transports.http import MAX_BODY_BYTES, HttpTransport
from tests.simulators.http_server import HttpServer, Reply

SECRET = "SECRET-KEY-0123456789"


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    """A way out on the machine's own clock."""
    way_out = HttpTransport(SystemClock())
    yield way_out
    way_out.close()


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """A server that answers with a small body."""
    with HttpServer(lambda _request: Reply(b'{"well": true}')) as running:
        yield running


def get(url: str) -> ApiRequest:
    """The plainest request."""
    return ApiRequest("GET", url, (("q", "테헤란로 509"),), (("Authorization", SECRET),))


def fault(transport: HttpTransport, request: ApiRequest, timeout_s: float = 5.0) -> TransportFault:
    """The fault that the request ends in; it never quotes a secret."""
    with pytest.raises(TransportFault) as raised:
        transport.send(request, timeout_s)
    assert SECRET not in str(raised.value)
    return raised.value


def test_an_answer_comes_back_whole(transport: HttpTransport, server: HttpServer) -> None:
    answer = transport.send(get(f"{server.url}/path"), 5)
    assert (answer.status, answer.body) == (200, b'{"well": true}')
    assert answer.header("content-type") == "application/json"
    received = server.requests[0]
    assert (received.method, received.path, received.query) == ("GET", "/path", {"q": "테헤란로 509"})
    assert received.headers["authorization"] == SECRET


def test_a_body_is_sent_with_its_length(transport: HttpTransport, server: HttpServer) -> None:
    body = bytes(100_000)
    transport.send(ApiRequest("POST", server.url, body=body), 5)
    assert server.requests[0].body == body


def test_connections_are_used_again(transport: HttpTransport, server: HttpServer) -> None:
    for _ in range(5):
        transport.send(get(server.url), 5)
    assert len(server.requests) == 5
    assert len(server._threads) == 1


def test_no_cookie_is_remembered(transport: HttpTransport, server: HttpServer) -> None:
    server.fail_with(200, headers=(("Set-Cookie", "session=1; Path=/"),))
    transport.send(get(server.url), 5)
    server.recover()
    transport.send(get(server.url), 5)
    assert "cookie" not in server.requests[1].headers


def test_an_answer_in_gzip_is_unpacked(transport: HttpTransport, server: HttpServer) -> None:
    server.gzip_bomb(1)
    assert transport.send(get(server.url), 5).body == bytes(1024 * 1024)
    assert server.requests[0].headers["accept-encoding"] == "gzip"


@pytest.mark.fault("CP-01")
def test_a_refused_connection_is_a_disconnection_before_anything_was_sent(transport: HttpTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    met = fault(transport, get(f"http://127.0.0.1:{port}"))
    assert (met.verdict, met.may_have_arrived) == (Verdict.DISCONNECTED, False)
    assert "refused" in met.detail


@pytest.mark.fault("CP-01")
@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 300 + ".invalid"])
def test_a_name_that_cannot_be_resolved_is_a_disconnection(transport: HttpTransport, host: str) -> None:
    met = fault(transport, get(f"http://{host}/"), 10)
    assert met.verdict in {Verdict.DISCONNECTED, Verdict.REQUEST_REFUSED}
    assert not met.may_have_arrived


@pytest.mark.fault("CP-01")
def test_a_name_server_that_does_not_answer_is_left_at_the_deadline(
    transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang(*_args: object, **_kwargs: object) -> list[object]:
        released.wait(30)
        return []

    monkeypatch.setattr("core.transports.http.socket.getaddrinfo", hang)
    clock = SystemClock()
    begun = clock.monotonic()
    met = fault(transport, get("http://example.invalid/"), 0.3)
    took = clock.monotonic() - begun
    released.set()
    assert (met.verdict, met.may_have_arrived) == (Verdict.TIMED_OUT, False)
    assert took < 2


@pytest.mark.fault("CP-01")
def test_a_listener_that_never_accepts_a_request_is_left_at_the_deadline(transport: HttpTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        clock = SystemClock()
        begun = clock.monotonic()
        met = fault(transport, get(f"http://127.0.0.1:{silent.getsockname()[1]}"), 0.3)
        assert (met.verdict, met.may_have_arrived) == (Verdict.TIMED_OUT, True)
        assert clock.monotonic() - begun < 2


@pytest.mark.fault("CP-02")
@pytest.mark.parametrize("after", [0, 70], ids=["in the head", "in the body"])
def test_a_server_that_drips_is_left_at_the_deadline(
    transport: HttpTransport, server: HttpServer, after: int
) -> None:
    server.drip(0.2, after=after)
    clock = SystemClock()
    begun = clock.monotonic()
    met = fault(transport, get(server.url), 0.5)
    assert (met.verdict, met.may_have_arrived) == (Verdict.TIMED_OUT, True)
    assert 0.4 < clock.monotonic() - begun < 1.5


@pytest.mark.fault("CP-02")
def test_a_slow_answer_within_the_deadline_is_an_answer(transport: HttpTransport, server: HttpServer) -> None:
    server.drip(0.002)
    assert transport.send(get(server.url), 10).body == b'{"well": true}'


@pytest.mark.fault("CP-03")
@pytest.mark.parametrize("count", [0, 1, 10, -1])
def test_a_cut_connection_may_have_carried_the_request(
    transport: HttpTransport, server: HttpServer, count: int
) -> None:
    server.cut_after(count)
    met = fault(transport, get(server.url))
    assert (met.verdict, met.may_have_arrived) == (Verdict.DISCONNECTED, True)
    assert len(server.requests) == 1


@pytest.mark.fault("CP-03")
def test_after_a_cut_the_next_request_takes_a_new_connection(
    transport: HttpTransport, server: HttpServer
) -> None:
    server.cut_after(10)
    fault(transport, get(server.url))
    server.recover()
    assert transport.send(get(server.url), 5).status == 200


@pytest.mark.fault("CP-04")
@pytest.mark.parametrize(
    "misbehave",
    [
        lambda server: server.huge(64),
        lambda server: server.gzip_bomb(64),
        lambda server: server.gzip_bomb(1, layers=2),
        lambda server: server.endless_chunks(),
        lambda server: server.fail_with(200, headers=(("Content-Encoding", "br"),), body=b"x"),
        lambda server: server.fail_with(200, headers=(("Content-Encoding", "gzip"),), body=b"no gzip"),
        lambda server: server.fail_with(
            200, headers=(("Content-Encoding", "gzip"),), body=b"\x1f\x8b\x08\x00\x00"
        ),
    ],
    ids=["huge", "gzip bomb", "two layers", "endless chunks", "another encoding", "no gzip", "half a gzip"],
)
def test_a_body_beyond_the_bound_or_in_a_wrong_encoding_is_malformed(
    transport: HttpTransport, server: HttpServer, misbehave: object
) -> None:
    assert callable(misbehave)
    misbehave(server)
    met = fault(transport, get(server.url), 10)
    assert (met.verdict, met.may_have_arrived) == (Verdict.MALFORMED, True)


@pytest.mark.fault("CP-04")
def test_a_gzip_bomb_takes_no_more_memory_than_the_bound(
    transport: HttpTransport, server: HttpServer
) -> None:
    server.gzip_bomb(64)
    transport_fault = fault(transport, get(server.url), 10)
    tracemalloc.start()
    try:
        assert fault(transport, get(server.url), 10).detail == transport_fault.detail
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_BODY_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.fault("CP-04")
@pytest.mark.parametrize(
    ("length", "verdict"),
    [("500", Verdict.TIMED_OUT), ("abc", Verdict.MALFORMED), ("-1", Verdict.MALFORMED)],
)
def test_a_content_length_that_is_not_kept_is_a_fault(
    transport: HttpTransport, server: HttpServer, length: str, verdict: Verdict
) -> None:
    server.fail_with(200, headers=(("Content-Length", length),), body=b'{"well": true}')
    assert fault(transport, get(server.url), 0.5).verdict is verdict


@pytest.mark.fault("CP-04")
def test_what_follows_a_body_is_never_taken_for_the_next_answer(
    transport: HttpTransport, server: HttpServer
) -> None:
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse"
    server.fail_with(200, headers=(("Content-Length", "4"),), body=b"true" + smuggled)
    assert transport.send(get(server.url), 5).body == b"true"
    server.recover()
    assert fault(transport, get(server.url)).verdict is Verdict.MALFORMED
    assert transport.send(get(server.url), 5).body == b'{"well": true}'


@pytest.mark.fault("CP-05")
@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff\xfe garbage\r\n\r\n",
        b"HTTP/9.9 two hundred\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 " + b"9" * 5000 + b" OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nbody\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10_000_000 + b"\r\n\r\n",
    ],
    ids=["bytes", "version", "ssh", "status", "header", "chunk", "ten megabytes of header"],
)
def test_what_is_not_http_is_malformed(transport: HttpTransport, server: HttpServer, data: bytes) -> None:
    server.garbage(data)
    met = fault(transport, get(server.url))
    assert (met.verdict, met.may_have_arrived) == (Verdict.MALFORMED, True)


@pytest.mark.fault("CP-06")
def test_a_redirect_is_an_answer_and_is_not_followed(transport: HttpTransport, server: HttpServer) -> None:
    with HttpServer(lambda _request: Reply()) as canary:
        server.fail_with(302, headers=(("Location", f"{canary.url}/steal"),))
        assert transport.send(get(server.url), 5).status == 302
        assert canary.requests == []


@pytest.mark.fault("CP-07")
def test_a_self_signed_certificate_is_refused_and_nothing_is_sent(
    transport: HttpTransport, certificate: Path
) -> None:
    with HttpServer(lambda _request: Reply(), tls=server_side(certificate)) as impostor:
        met = fault(transport, get(impostor.url))
        assert (met.verdict, met.may_have_arrived) == (Verdict.DISCONNECTED, False)
        assert "certificate verify failed" in met.detail
        assert impostor.requests == []


@pytest.mark.fault("CP-07")
def test_a_trusted_certificate_for_another_host_is_refused(certificate: Path) -> None:
    trusting = HttpTransport(SystemClock(), tls=ssl.create_default_context(cafile=certificate))
    with HttpServer(lambda _request: Reply(), tls=server_side(certificate)) as running:
        assert trusting.send(get(running.url), 5).status == 200
        port = running.url.rpartition(":")[2]
        met = fault(trusting, get(f"https://localhost:{port}"))
        assert met.verdict is Verdict.DISCONNECTED
        assert len(running.requests) == 1
    trusting.close()


@pytest.mark.fault("CP-07")
def test_a_peer_that_does_not_speak_tls_is_a_disconnection(
    transport: HttpTransport, server: HttpServer
) -> None:
    server.garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    met = fault(transport, get(server.url.replace("http://", "https://")), 0.5)
    assert met.verdict in {Verdict.DISCONNECTED, Verdict.TIMED_OUT}
    assert not met.may_have_arrived


@pytest.mark.fault("CP-10")
@pytest.mark.parametrize("value", ["한글", "a\r\nX-Injected: 1", "a\nb", "nul\x00", "\udc80"])
def test_a_header_that_http_does_not_allow_is_refused_before_sending(
    transport: HttpTransport, server: HttpServer, value: str
) -> None:
    met = fault(transport, ApiRequest("GET", server.url, headers=(("X-Key", value),)))
    assert (met.verdict, met.may_have_arrived) == (Verdict.REQUEST_REFUSED, False)
    assert server.requests == []


@pytest.mark.fault("CP-10")
@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://[", "http://\udc80/", "http:///"])
def test_an_address_that_is_none_is_refused_before_sending(transport: HttpTransport, url: str) -> None:
    met = fault(transport, ApiRequest("GET", url, (("q", "1"),)))
    assert not met.may_have_arrived


def test_a_query_that_cannot_be_written_down_is_refused(transport: HttpTransport, server: HttpServer) -> None:
    met = fault(transport, ApiRequest("GET", server.url, (("q", "\ud800"),)))
    assert (met.verdict, met.may_have_arrived) == (Verdict.REQUEST_REFUSED, False)


def test_threads_share_one_way_out(transport: HttpTransport, server: HttpServer) -> None:
    """Each of twenty threads meets its own deadline and its own answer."""
    statuses: list[int] = []

    def ask() -> None:
        statuses.extend(transport.send(get(server.url), 10).status for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 100


def test_the_key_of_a_request_is_in_no_log(
    transport: HttpTransport, server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    transport.send(ApiRequest("GET", server.url, (("confmKey", SECRET),)), 5)
    assert SECRET not in caplog.text


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody but itself has signed, its key beside it in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    day = timedelta(days=1)
    now = SystemClock().now()
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(pem)
    return path


def server_side(certificate: Path) -> ssl.SSLContext:
    """What a server needs to show `certificate`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
