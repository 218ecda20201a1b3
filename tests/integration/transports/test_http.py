"""The way out over HTTP against servers that misbehave: each fault has a name, a bound and an end.

Every test runs for callers that block and for callers on an event loop: the promise is the same.
"""

from __future__ import annotations

import gzip
import ipaddress
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
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
from core.transports.body import MAX_BODY_BYTES
from core.transports.http import HttpTransport
from tests.integration.transports.ways import Blocking, OnALoop, Way
from tests.simulators.http_server import HttpServer, Reply

SECRET = "SECRET-KEY-0123456789"

WayMaker = Callable[[HttpTransport], Way]


@pytest.fixture(params=[Blocking, OnALoop], ids=["send", "asend"])
def way_maker(request: pytest.FixtureRequest) -> Iterator[WayMaker]:
    """Makes a way out of a transport; all are left at the end."""
    with ExitStack() as made:

        def make(transport: HttpTransport) -> Way:
            way: Way = made.enter_context(closing(request.param(transport)))
            return way

        yield make


@pytest.fixture
def transport(way_maker: WayMaker) -> Way:
    """A way out on the machine's own clock."""
    return way_maker(HttpTransport(SystemClock()))


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """A server that answers with a small body."""
    with HttpServer(lambda _request: Reply(b'{"well": true}')) as running:
        yield running


def get(url: str) -> ApiRequest:
    """The plainest request."""
    return ApiRequest("GET", url, (("q", "테헤란로 509"),), (("Authorization", SECRET),))


def fault(transport: Way, request: ApiRequest, timeout_s: float = 5.0) -> TransportFault:
    """The fault that the request ends in; it never quotes a secret."""
    with pytest.raises(TransportFault) as raised:
        transport.send(request, timeout_s)
    assert SECRET not in str(raised.value)
    return raised.value


def test_an_answer_comes_back_whole(transport: Way, server: HttpServer) -> None:
    answer = transport.send(get(f"{server.url}/path"), 5)
    assert (answer.status, answer.body) == (200, b'{"well": true}')
    assert answer.header("content-type") == "application/json"
    received = server.requests[0]
    assert (received.method, received.path, received.query) == ("GET", "/path", {"q": "테헤란로 509"})
    assert received.headers["authorization"] == SECRET


def test_a_body_is_sent_with_its_length(transport: Way, server: HttpServer) -> None:
    body = bytes(100_000)
    transport.send(ApiRequest("POST", server.url, body=body), 5)
    assert server.requests[0].body == body


def test_a_large_answer_comes_back_whole(transport: Way, server: HttpServer) -> None:
    body = bytes(range(256)) * 7000
    server.fail_with(200, body=body)
    assert transport.send(get(server.url), 5).body == body


def test_connections_are_used_again(transport: Way, server: HttpServer) -> None:
    for _ in range(5):
        transport.send(get(server.url), 5)
    assert len(server.requests) == 5
    assert len(server._threads) == 1


def test_no_cookie_is_remembered(transport: Way, server: HttpServer) -> None:
    server.fail_with(200, headers=(("Set-Cookie", "session=1; Path=/"),))
    transport.send(get(server.url), 5)
    server.recover()
    transport.send(get(server.url), 5)
    assert "cookie" not in server.requests[1].headers


def test_a_connection_that_the_server_has_given_up_is_not_used_again(
    transport: Way, server: HttpServer
) -> None:
    transport.send(get(server.url), 5)
    server.hang_up()
    assert server.is_deserted()
    assert transport.send(get(server.url), 5).status == 200


def test_an_answer_in_gzip_is_unpacked(transport: Way, server: HttpServer) -> None:
    server.gzip_bomb(1)
    assert transport.send(get(server.url), 5).body == bytes(1024 * 1024)
    assert server.requests[0].headers["accept-encoding"] == "gzip"


@pytest.mark.fault("CP-01")
def test_a_refused_connection_is_a_disconnection_before_anything_was_sent(transport: Way) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    met = fault(transport, get(f"http://127.0.0.1:{port}"))
    assert (met.verdict, met.may_have_arrived) == (Verdict.DISCONNECTED, False)
    assert "refused" in met.detail


@pytest.mark.fault("CP-01")
@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 300 + ".invalid"])
def test_a_name_that_cannot_be_resolved_is_a_disconnection(transport: Way, host: str) -> None:
    met = fault(transport, get(f"http://{host}/"), 10)
    assert met.verdict in {Verdict.DISCONNECTED, Verdict.REQUEST_REFUSED}
    assert not met.may_have_arrived


@pytest.mark.fault("CP-01")
def test_a_name_server_that_does_not_answer_is_left_at_the_deadline(
    transport: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang(*_args: object, **_kwargs: object) -> list[object]:
        released.wait(30)
        return []

    monkeypatch.setattr("core.transports.resolver.socket.getaddrinfo", hang)
    clock = SystemClock()
    begun = clock.monotonic()
    met = fault(transport, get("http://example.invalid/"), 0.3)
    took = clock.monotonic() - begun
    released.set()
    assert (met.verdict, met.may_have_arrived) == (Verdict.TIMED_OUT, False)
    assert took < 2


@pytest.mark.fault("CP-01")
@pytest.mark.parametrize("trouble", ["it refuses", "its queue is full"])
def test_of_a_name_with_several_addresses_one_that_is_ill_does_not_take_all_the_time(
    transport: Way, server: HttpServer, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    port = int(server.url.rpartition(":")[2])

    def resolve(host: str, *_args: object, **_kwargs: object) -> list[object]:
        addresses = ["127.0.0.2", "127.0.0.1", "127.0.0.1"] if host == "two.invalid" else [host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr("core.transports.resolver.socket.getaddrinfo", resolve)
    with ExitStack() as opened:
        if trouble == "its queue is full":
            full = opened.enter_context(socket.create_server(("127.0.0.2", port), backlog=0))
            opened.enter_context(socket.create_connection(full.getsockname()))
        assert transport.send(get(f"http://two.invalid:{port}/"), 1).status == 200


@pytest.mark.fault("CP-01")
def test_a_listener_that_never_accepts_a_request_is_left_at_the_deadline(transport: Way) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        clock = SystemClock()
        begun = clock.monotonic()
        met = fault(transport, get(f"http://127.0.0.1:{silent.getsockname()[1]}"), 0.3)
        assert (met.verdict, met.may_have_arrived) == (Verdict.TIMED_OUT, True)
        assert clock.monotonic() - begun < 2


@pytest.mark.fault("CP-01")
def test_a_listener_with_a_full_queue_is_left_at_the_deadline_before_anything_was_sent(
    transport: Way,
) -> None:
    with ExitStack() as opened:
        full = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        opened.enter_context(socket.create_connection(full.getsockname()))
        met = fault(transport, get(f"http://127.0.0.1:{full.getsockname()[1]}"), 0.3)
    assert (met.verdict, met.may_have_arrived) == (Verdict.TIMED_OUT, False)


@pytest.mark.fault("CP-07")
def test_a_listener_that_never_shakes_hands_is_left_at_the_deadline_before_anything_was_sent(
    transport: Way,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        met = fault(transport, get(f"https://127.0.0.1:{silent.getsockname()[1]}"), 0.3)
    assert (met.verdict, met.may_have_arrived) == (Verdict.TIMED_OUT, False)


@pytest.mark.fault("CP-02")
def test_a_peer_that_does_not_take_the_request_is_left_at_the_deadline(transport: Way) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        clock = SystemClock()
        begun = clock.monotonic()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        met = fault(transport, ApiRequest("POST", address, body=bytes(50_000_000)), 0.3)
        assert (met.verdict, met.may_have_arrived) == (Verdict.TIMED_OUT, True)
        assert clock.monotonic() - begun < 2


@pytest.mark.fault("CP-02")
def test_neither_a_large_request_nor_a_talkative_peer_takes_memory(transport: Way) -> None:
    """The peer talks without end and never listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):  # the client has hung up.
                while True:
                    connection.sendall(bytes(2**20))

        talker = threading.Thread(target=talk)
        talker.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        request = ApiRequest("POST", address, body=bytes(50_000_000))
        tracemalloc.start()
        try:
            assert fault(transport, request, 0.5).verdict is Verdict.TIMED_OUT
            assert tracemalloc.get_traced_memory()[1] < 2 * MAX_BODY_BYTES
        finally:
            tracemalloc.stop()
        talker.join()


@pytest.mark.fault("CP-02")
def test_without_any_time_nothing_is_sent(transport: Way, server: HttpServer) -> None:
    met = fault(transport, get(server.url), 0)
    assert (met.verdict, met.may_have_arrived) == (Verdict.TIMED_OUT, False)
    assert server.requests == []


@pytest.mark.fault("CP-02")
@pytest.mark.parametrize("after", [0, 70], ids=["in the head", "in the body"])
def test_a_server_that_drips_is_left_at_the_deadline(transport: Way, server: HttpServer, after: int) -> None:
    server.drip(0.2, after=after)
    clock = SystemClock()
    begun = clock.monotonic()
    met = fault(transport, get(server.url), 0.5)
    assert (met.verdict, met.may_have_arrived) == (Verdict.TIMED_OUT, True)
    assert 0.4 < clock.monotonic() - begun < 1.5


@pytest.mark.fault("CP-02")
def test_a_slow_answer_within_the_deadline_is_an_answer(transport: Way, server: HttpServer) -> None:
    server.drip(0.002)
    assert transport.send(get(server.url), 10).body == b'{"well": true}'


@pytest.mark.fault("CP-03")
@pytest.mark.parametrize("count", [0, 1, 10, -1])
def test_a_cut_connection_may_have_carried_the_request(
    transport: Way, server: HttpServer, count: int
) -> None:
    server.cut_after(count)
    met = fault(transport, get(server.url))
    assert (met.verdict, met.may_have_arrived) == (Verdict.DISCONNECTED, True)
    assert len(server.requests) == 1


@pytest.mark.fault("CP-03")
def test_a_broken_connection_is_never_taken_for_the_end_of_an_answer(
    transport: Way, server: HttpServer
) -> None:
    """Without a length, only the end of the connection says that an answer is whole."""
    server.garbage(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
    assert transport.send(get(server.url), 5).body == b"half of it"
    server.break_off()
    met = fault(transport, get(server.url))
    assert (met.verdict, met.may_have_arrived) == (Verdict.DISCONNECTED, True)


@pytest.mark.fault("CP-03")
def test_after_a_cut_the_next_request_takes_a_new_connection(transport: Way, server: HttpServer) -> None:
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
        lambda server: server.fail_with(200, headers=(("Content-Encoding", "gzip"),) * 2, body=b"x"),
        lambda server: server.fail_with(200, headers=(("Content-Encoding", "gzip"),), body=b"no gzip"),
        lambda server: server.fail_with(
            200, headers=(("Content-Encoding", "gzip"),), body=b"\x1f\x8b\x08\x00\x00"
        ),
    ],
    ids=[
        "huge",
        "gzip bomb",
        "two layers",
        "endless chunks",
        "another encoding",
        "two layers on two lines",
        "no gzip",
        "half a gzip",
    ],
)
def test_a_body_beyond_the_bound_or_in_a_wrong_encoding_is_malformed(
    transport: Way, server: HttpServer, misbehave: object
) -> None:
    assert callable(misbehave)
    misbehave(server)
    met = fault(transport, get(server.url), 10)
    assert (met.verdict, met.may_have_arrived) == (Verdict.MALFORMED, True)


@pytest.mark.fault("CP-04")
def test_the_connection_of_an_answer_that_was_not_read_to_its_end_is_closed(
    transport: Way, server: HttpServer
) -> None:
    server.endless_chunks()
    fault(transport, get(server.url), 10)
    assert server.is_deserted()
    server.drip(0.2, after=70)
    fault(transport, get(server.url), 0.5)
    assert server.is_deserted()


@pytest.mark.fault("CP-04")
@pytest.mark.parametrize("size", [1, 1000, 65536])
def test_an_answer_in_gzip_and_in_chunks_is_unpacked(transport: Way, server: HttpServer, size: int) -> None:
    packed = gzip.compress(b"one ") + gzip.compress(b"two")
    server.in_chunks(packed, size, headers=(("Content-Encoding", "gzip"),))
    assert transport.send(get(server.url), 10).body == b"one two"


@pytest.mark.fault("CP-04")
@pytest.mark.parametrize("size", [100, 65536])
def test_a_gzip_bomb_in_chunks_is_malformed_and_takes_no_more_memory_than_the_bound(
    transport: Way, server: HttpServer, size: int
) -> None:
    """Ten megabytes of nothing come in ten kilobytes."""
    server.in_chunks(gzip.compress(bytes(10 * 1024 * 1024)), size, headers=(("Content-Encoding", "gzip"),))
    tracemalloc.start()
    try:
        assert fault(transport, get(server.url), 10).verdict is Verdict.MALFORMED
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_BODY_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.fault("CP-04")
def test_a_gzip_bomb_takes_no_more_memory_than_the_bound(transport: Way, server: HttpServer) -> None:
    server.gzip_bomb(64)
    known = fault(transport, get(server.url), 10)
    tracemalloc.start()
    try:
        assert fault(transport, get(server.url), 10).detail == known.detail
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_BODY_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.fault("CP-04")
@pytest.mark.parametrize(
    ("length", "verdict"),
    [("500", Verdict.TIMED_OUT), ("abc", Verdict.MALFORMED), ("-1", Verdict.MALFORMED)],
)
def test_a_content_length_that_is_not_kept_is_a_fault(
    transport: Way, server: HttpServer, length: str, verdict: Verdict
) -> None:
    server.fail_with(200, headers=(("Content-Length", length),), body=b'{"well": true}')
    assert fault(transport, get(server.url), 0.5).verdict is verdict


@pytest.mark.fault("CP-04")
def test_what_follows_a_body_is_never_taken_for_the_next_answer(transport: Way, server: HttpServer) -> None:
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
def test_what_is_not_http_is_malformed(transport: Way, server: HttpServer, data: bytes) -> None:
    server.garbage(data)
    met = fault(transport, get(server.url))
    assert (met.verdict, met.may_have_arrived) == (Verdict.MALFORMED, True)


@pytest.mark.fault("CP-06")
def test_a_redirect_is_an_answer_and_is_not_followed(transport: Way, server: HttpServer) -> None:
    with HttpServer(lambda _request: Reply()) as canary:
        server.fail_with(302, headers=(("Location", f"{canary.url}/steal"),))
        assert transport.send(get(server.url), 5).status == 302
        assert canary.requests == []


@pytest.mark.fault("CP-07")
def test_a_self_signed_certificate_is_refused_and_nothing_is_sent(transport: Way, certificate: Path) -> None:
    with HttpServer(lambda _request: Reply(), tls=server_side(certificate)) as impostor:
        met = fault(transport, get(impostor.url))
        assert (met.verdict, met.may_have_arrived) == (Verdict.DISCONNECTED, False)
        assert "certificate verify failed" in met.detail
        assert impostor.requests == []


@pytest.mark.fault("CP-07")
def test_a_trusted_certificate_for_another_host_is_refused(way_maker: WayMaker, certificate: Path) -> None:
    trusting = way_maker(HttpTransport(SystemClock(), tls=ssl.create_default_context(cafile=certificate)))
    with HttpServer(lambda _request: Reply(), tls=server_side(certificate)) as running:
        assert trusting.send(get(running.url), 5).status == 200
        port = running.url.rpartition(":")[2]
        met = fault(trusting, get(f"https://localhost:{port}"))
        assert met.verdict is Verdict.DISCONNECTED
        assert len(running.requests) == 1


@pytest.mark.fault("CP-07")
def test_a_peer_that_does_not_speak_tls_is_a_disconnection(transport: Way, server: HttpServer) -> None:
    server.garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    met = fault(transport, get(server.url.replace("http://", "https://")), 0.5)
    assert met.verdict in {Verdict.DISCONNECTED, Verdict.TIMED_OUT}
    assert not met.may_have_arrived


@pytest.mark.fault("CP-10")
@pytest.mark.parametrize("value", ["한글", "a\r\nX-Injected: 1", "a\nb", "nul\x00", "\udc80"])
def test_a_header_that_http_does_not_allow_is_refused_before_sending(
    transport: Way, server: HttpServer, value: str
) -> None:
    met = fault(transport, ApiRequest("GET", server.url, headers=(("X-Key", value),)))
    assert (met.verdict, met.may_have_arrived) == (Verdict.REQUEST_REFUSED, False)
    assert server.requests == []


@pytest.mark.fault("CP-10")
@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://[", "http://\udc80/", "http:///"])
def test_an_address_that_is_none_is_refused_before_sending(transport: Way, url: str) -> None:
    met = fault(transport, ApiRequest("GET", url, (("q", "1"),)))
    assert not met.may_have_arrived


def test_a_query_that_cannot_be_written_down_is_refused(transport: Way, server: HttpServer) -> None:
    met = fault(transport, ApiRequest("GET", server.url, (("q", "\ud800"),)))
    assert (met.verdict, met.may_have_arrived) == (Verdict.REQUEST_REFUSED, False)


def test_the_key_of_a_request_is_in_no_log(
    transport: Way, server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
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
