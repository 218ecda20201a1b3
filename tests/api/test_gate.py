"""The gate, with what a browser, a program and an attacker would send."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.web.gate import Gate
from tests.api.conftest import ORIGIN, Visitors, client, run_async
from tests.dashboard.fakes import FakeHub, settings_at

PAGE = {"Accept": "text/html,application/xhtml+xml"}
CLOSED_PATHS = (
    "/",
    "/health",
    "/static/js/index.js",
    "/media/x.png",
    "/_stcore/health",
    "/_stcore/metrics",
    "/_stcore/host-config",
    "/_stcore/upload_file/a/b",
    "/_stcore/agent/pages",
    "/api/v1/health",
    "/api/openapi.json",
    "/setup",
    "/healthz/",
    "/login/",
    "//login",
    "/Login",
    "/healthz/../api/v1/health",
)


class Inside:
    """Stands behind the gate and remembers who came through."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.received: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"inside"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            self.received.append(message)
            if message["type"] == "websocket.disconnect":
                await send({"type": "websocket.send", "text": "too late"})
                return
            await send({"type": "websocket.send", "text": "heard"})

    def header(self, name: str) -> list[str]:
        """What the last visitor's header said, each time that it came."""
        wanted = name.lower().encode()
        return [value.decode() for key, value in self.scopes[-1]["headers"] if key == wanted]


def ask(
    hub: FakeHub, act: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]
) -> tuple[httpx.Response, Inside]:
    inside = Inside()

    async def acting() -> httpx.Response:
        async with client(Gate(inside, hub)) as asking:
            return await act(asking)

    return run_async(acting()), inside


class Browser:
    """A raw websocket through the gate."""

    def __init__(
        self,
        hub: FakeHub,
        headers: dict[str, str],
        recheck_seconds: float = 0.01,
        grace_seconds: float = 0.0,
        around: Callable[[ASGIApp], ASGIApp] = lambda gate: gate,
    ) -> None:
        self.inside = Inside()
        self.sent: list[Message] = []
        self.has_answered = asyncio.Event()
        self._gate = around(Gate(self.inside, hub, recheck_seconds, grace_seconds))
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._scope: dict[str, Any] = {
            "type": "websocket",
            "path": "/_stcore/stream",
            "headers": [(b"host", b"127.0.0.1:8501"), *raw],
            "query_string": b"",
            "client": ("127.0.0.1", 50_000),
        }

    def say(self, message: Message) -> None:
        self._incoming.put_nowait(message)

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        self.has_answered.set()

    async def run(self) -> None:
        self.say({"type": "websocket.connect"})
        async with asyncio.timeout(5):
            await self._gate(self._scope, self._incoming.get, self._send)


@pytest.mark.fault("DA-01")
def test_nobody_passes_before_signing_in(hub: FakeHub, visitors: Visitors) -> None:
    for path in CLOSED_PATHS:
        for visitor in ("anonymous", "signed out"):
            answer, inside = ask(hub, lambda asking, p=path, v=visitor: asking.get(p, headers=visitors[v]))  # type: ignore[misc]
            assert answer.status_code == 401, (path, visitor)
            assert inside.scopes == []


def test_a_page_leads_to_the_sign_in_and_back(hub: FakeHub, visitors: Visitors) -> None:
    answer, _ = ask(hub, lambda asking: asking.get("/metrics?range=1h&name=주소", headers=PAGE))

    assert answer.status_code == 303
    assert (
        answer.headers["location"]
        == "/login?next=%2Fmetrics%3Frange%3D1h%26name%3D%25EC%25A3%25BC%25EC%2586%258C"
    )
    assert answer.headers["cache-control"] == "no-store"


def test_a_program_is_told_in_json_that_it_has_to_sign_in(hub: FakeHub, visitors: Visitors) -> None:
    for path in ("/api/v1/health", "/_stcore/health"):
        answer, _ = ask(hub, lambda asking, p=path: asking.get(p, headers=PAGE))  # type: ignore[misc]
        assert answer.status_code == 401
        assert answer.json()["code"] == "sign_in_required"


def test_who_is_signed_in_is_introduced_to_the_pages(hub: FakeHub, visitors: Visitors) -> None:
    answer, inside = ask(hub, lambda asking: asking.get("/", headers=visitors["operator"]))

    assert answer.text == "inside"
    assert inside.header("X-Bongsu-User") == ["operator"]
    assert inside.header("X-Bongsu-Role") == ["operator"]
    assert len(inside.header("X-Bongsu-Sid")[0]) == 64


@pytest.mark.fault("DA-01")
def test_a_forged_introduction_is_taken_off(hub: FakeHub, visitors: Visitors) -> None:
    forged = {"X-Bongsu-User": "admin", "x-bongsu-role": "admin", "X-BONGSU-SID": "00"}

    answer, _ = ask(hub, lambda asking: asking.get("/", headers=forged))
    assert answer.status_code == 401
    for path in ("/", "/login", "/healthz"):
        _, inside = ask(hub, lambda asking, p=path: asking.get(p, headers={**forged, **visitors["viewer"]}))  # type: ignore[misc]
        assert "admin" not in inside.header("X-Bongsu-User")
        assert inside.header("X-Bongsu-Role") in ([], ["viewer"])
        assert "00" not in inside.header("X-Bongsu-Sid")


def test_a_token_passes_to_the_api_alone(hub: FakeHub, visitors: Visitors) -> None:
    """The API checks it; the pages know no tokens."""
    for path, status in (("/api/v1/health", 200), ("/", 401), ("/_stcore/metrics", 401), ("/apix", 401)):
        answer, _ = ask(hub, lambda asking, p=path: asking.get(p, headers=visitors["admin program"]))  # type: ignore[misc]
        assert answer.status_code == status, path


@pytest.mark.fault("DA-05")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": ORIGIN}, 200),
    ],
)
def test_what_changes_something_must_come_from_our_own_page(
    hub: FakeHub, visitors: Visitors, headers: dict[str, str], status: int
) -> None:
    for path in ("/login", "/auth/logout", "/_stcore/upload_file/a/b"):
        answer, _ = ask(hub, lambda asking, p=path: asking.post(p, headers={**visitors["admin"], **headers}))  # type: ignore[misc]
        assert answer.status_code == status, path


@pytest.mark.fault("DA-02")
@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example:8501", "", "127.0.0.1:8501/?", "a@127.0.0.1", "127.0.0.1#"],
)
def test_a_foreign_host_name_is_refused(hub: FakeHub, visitors: Visitors, host: str) -> None:
    """A name pointed at this machine by somebody else would share its origin's cookies with a stranger's page."""
    answer, inside = ask(hub, lambda asking: asking.get("/", headers={**visitors["admin"], "Host": host}))

    assert answer.status_code == 400
    assert inside.scopes == []


def test_behind_a_proxy_the_public_name_is_the_one_allowed(
    hub: FakeHub, visitors: Visitors, tmp_path: Any
) -> None:
    hub.settings = settings_at(tmp_path, public_url="http://ops.example.kr")

    for host, status in (("ops.example.kr", 200), ("other.example.kr", 400), ("127.0.0.1:8501", 200)):
        answer, _ = ask(hub, lambda asking, h=host: asking.get("/", headers={**visitors["admin"], "Host": h}))  # type: ignore[misc]
        assert answer.status_code == status, host


def test_before_there_is_a_user_there_is_only_the_setup_page(hub: FakeHub) -> None:
    """A token made on the command line is passed to the API all the same, which checks it."""
    for path in ("/", "/login", "/health"):
        answer, _ = ask(hub, lambda asking, p=path: asking.get(p, headers=PAGE))  # type: ignore[misc]
        assert (answer.status_code, answer.headers["location"]) == (303, "/setup")
    assert ask(hub, lambda asking: asking.get("/setup", headers=PAGE))[0].text == "inside"
    assert ask(hub, lambda asking: asking.get("/healthz"))[0].text == "inside"
    foreign, _ = ask(hub, lambda asking: asking.post("/setup", headers={"Origin": "http://evil.example"}))
    assert foreign.status_code == 403


def test_before_there_is_a_user_a_program_is_asked_for_its_token(hub: FakeHub) -> None:
    """That works before set-up as after it; only what is no API is told that the set-up comes first."""
    for path in ("/api/v1/health", "/api/openapi.json", "/api/"):
        answer, _ = ask(hub, lambda asking, p=path: asking.get(p))  # type: ignore[misc]
        assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_required")
        assert answer.headers["www-authenticate"] == "Bearer"
    for method, path in (("GET", "/_stcore/health"), ("GET", "/static/x.js"), ("POST", "/login")):
        answer, _ = ask(hub, lambda asking, m=method, p=path: asking.request(m, p))  # type: ignore[misc]
        assert (answer.status_code, answer.json()["code"]) == (503, "setup_required")
        assert "not set up yet" in answer.json()["message"]


@pytest.mark.fault("DA-02")
@pytest.mark.parametrize("origin", [None, "http://evil.example", "null", "http://127.0.0.1:9999"])
def test_a_websocket_from_elsewhere_is_refused(hub: FakeHub, visitors: Visitors, origin: str | None) -> None:
    headers = {**visitors["admin"], **({"Origin": origin} if origin else {})}
    browser = Browser(hub, headers)

    run_async(browser.run())

    assert browser.sent == [{"type": "websocket.close", "code": 1008}]
    assert browser.inside.scopes == []


@pytest.mark.fault("DA-01")
def test_a_websocket_without_a_session_is_refused(hub: FakeHub, visitors: Visitors) -> None:
    for visitor in ("anonymous", "signed out", "admin program"):
        browser = Browser(hub, {**visitors[visitor], "Origin": ORIGIN, "X-Bongsu-Sid": "00" * 32})
        run_async(browser.run())
        assert browser.sent == [{"type": "websocket.close", "code": 1008}]


def test_a_websocket_works_while_its_session_lives(hub: FakeHub, visitors: Visitors) -> None:
    browser = Browser(hub, {**visitors["viewer"], "Origin": ORIGIN})

    async def talk() -> None:
        running = asyncio.create_task(browser.run())
        browser.say({"type": "websocket.receive", "text": "hello"})
        await asyncio.sleep(0.05)
        browser.say({"type": "websocket.disconnect", "code": 1000})
        await running

    run_async(talk())
    assert [message["type"] for message in browser.sent][:2] == ["websocket.accept", "websocket.send"]
    assert browser.inside.header("X-Bongsu-Role") == ["viewer"]


@pytest.mark.fault("DA-04")
@pytest.mark.parametrize("is_talking", [False, True])
def test_an_open_websocket_is_cut_when_its_session_ends(
    hub: FakeHub, visitors: Visitors, is_talking: bool
) -> None:
    browser = Browser(hub, {**visitors["viewer"], "Origin": ORIGIN})

    async def sign_out_meanwhile() -> None:
        running = asyncio.create_task(browser.run())
        await browser.has_answered.wait()
        await asyncio.to_thread(hub.access.sign_out, visitors["viewer"]["Cookie"].partition("=")[2])
        while is_talking and not running.done():
            browser.say({"type": "websocket.receive", "text": "still here"})
            await asyncio.sleep(0.001)
        await running

    run_async(sign_out_meanwhile())
    assert browser.inside.received[-1] == {"type": "websocket.disconnect", "code": 1008}
    assert browser.sent[-1] == {"type": "websocket.close", "code": 1008}, "nothing is sent after the cut"


@pytest.mark.fault("DA-04")
def test_the_page_of_an_ended_session_has_a_while_to_lead_away(hub: FakeHub, visitors: Visitors) -> None:
    """What it asks in that while still reaches the pages, which see for themselves that the session is over."""
    grace = 0.3
    browser = Browser(hub, {**visitors["viewer"], "Origin": ORIGIN}, grace_seconds=grace)

    async def sign_out_meanwhile() -> float:
        running = asyncio.create_task(browser.run())
        await browser.has_answered.wait()
        await asyncio.to_thread(hub.access.sign_out, visitors["viewer"]["Cookie"].partition("=")[2])
        ended_at = asyncio.get_running_loop().time()
        browser.say({"type": "websocket.receive", "text": "draw me anew"})
        await running
        return asyncio.get_running_loop().time() - ended_at

    assert run_async(sign_out_meanwhile()) >= grace
    assert [message.get("text") for message in browser.inside.received] == ["draw me anew", None]
    assert browser.sent[-1] == {"type": "websocket.close", "code": 1008}
