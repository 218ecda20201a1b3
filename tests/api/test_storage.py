"""What the web answers while its database is away: a real one that was stopped, and a real one that was broken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import structlog
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import EventDict

from core.errors import StorageError
from core.model.role import Role
from core.persistence import schema
from core.persistence.database import Database
from core.web.access_log import AccessLog
from core.web.api import create_api, mounted
from core.web.gate import Gate
from core.web.headers import SecurityHeaders
from core.web.limits import Limits
from core.web.sign_in import SignInPages
from core.web.storage import StorageFaults
from tests import servers
from tests.api.conftest import ORIGIN, client, run_async
from tests.api.test_gate import Browser
from tests.dashboard.fakes import PASSWORD, FakeHub, settings_at
from tests.fakes import FakeClock

PAGE = {"Accept": "text/html,application/xhtml+xml", "Accept-Language": "en"}


class Installation:
    """A hub with a user who is signed in, a token, and a way to lose its database."""

    def __init__(self, database: Database, directory: Path, lose: Callable[[], None]) -> None:
        schema.upgrade(database)
        self.database = database
        self.hub = FakeHub(database, FakeClock(), settings_at(directory))
        self.hub.access.create_user("admin", PASSWORD, Role.ADMIN, by="test")
        self.cookie = {"Cookie": f"bongsu_session={self.hub.access.sign_in('admin', PASSWORD, '127.0.0.1')}"}
        token = self.hub.access.create_api_token("script", Role.VIEWER, by="test").secret
        self.bearer = {"Authorization": f"Bearer {token}"}
        self.lose = lose

    @property
    def app(self) -> ASGIApp:
        """Every layer of the web process but the dashboard itself."""
        api = create_api(self.hub)
        inner = Starlette(routes=[*SignInPages(self.hub).routes(), mounted(api)])
        return AccessLog(
            SecurityHeaders(StorageFaults(Limits(Gate(inner, self.hub))), self.hub.settings), self.hub
        )


@pytest.fixture(params=["stopped server", "garbage in the file"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """PostgreSQL that can be stopped, and SQLite whose file can be overwritten."""
    if request.param == "stopped server":
        server = servers.start_postgres()
        database = Database.at(f"{server.url}/postgres")
        made = Installation(database, tmp_path, server.stop)
        yield made
        database.close()
        server.stop()
        return
    path = tmp_path / "bongsu.db"
    database = Database.at(f"sqlite:///{path}")

    def overwrite() -> None:
        database.close()
        path.write_bytes(b"\x93garbage" * 4_000)

    yield Installation(database, tmp_path, overwrite)
    database.close()


def ask(
    app: ASGIApp, method: str, path: str, headers: dict[str, str]
) -> tuple[httpx.Response, list[EventDict]]:
    """The answer, and what was logged about it."""

    async def asking() -> httpx.Response:
        async with client(app) as browser:
            return await browser.request(
                method, path, headers=headers, data={"name": "admin"} if method == "POST" else None
            )

    with structlog.testing.capture_logs() as lines:
        answer = run_async(asking())
    return answer, list(lines)


@pytest.mark.timeout(120)
def test_every_page_says_that_the_database_is_away_and_offers_to_try_again(
    installation: Installation,
) -> None:
    """One log line and one access line a request, 503 in both, no traceback, nothing of the inside."""
    installation.lose()

    for method, path, headers in (
        ("GET", "/", {}),
        ("GET", "/", installation.cookie),
        ("GET", "/login?next=%2Fx", {}),
        ("GET", "/login", installation.cookie),
        ("POST", "/login", {"Origin": ORIGIN}),
        ("GET", "/setup?token=abc", {}),
        ("POST", "/auth/logout", {**installation.cookie, "Origin": ORIGIN}),
    ):
        answer, lines = ask(installation.app, method, path, {**PAGE, **headers})

        assert answer.status_code == 503, path
        assert "The database does not answer" in answer.text
        assert "Bongsu</b>" in answer.text
        assert ">Try again</a>" in answer.text
        assert answer.headers["retry-after"] == "5"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "postgresql" not in answer.text
        assert str(installation.hub.settings.data_dir) not in answer.text
        assert [line["event"] for line in lines] == ["storage_unavailable", "request"]
        assert lines[-1]["status"] == 503
        assert all("exc_info" not in line for line in lines)


@pytest.mark.timeout(120)
def test_the_page_speaks_korean_to_who_reads_korean(installation: Installation) -> None:
    installation.lose()

    answer, _ = ask(installation.app, "GET", "/", {**PAGE, "Accept-Language": "ko-KR"})

    assert "데이터베이스가 응답하지 않습니다" in answer.text
    assert '<html lang="ko">' in answer.text


@pytest.mark.timeout(120)
def test_a_program_is_told_in_json(installation: Installation) -> None:
    installation.lose()

    for path, headers in (
        ("/api/v1/health", installation.bearer),
        ("/api/v1/health", {**PAGE, **installation.cookie}),
        ("/_stcore/host-config", installation.cookie),
        ("/static/x.js", {}),
    ):
        answer, _ = ask(installation.app, "GET", path, headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), path
        assert answer.headers["retry-after"] == "5"


@pytest.mark.timeout(120)
def test_a_websocket_is_refused_while_the_database_is_away(installation: Installation) -> None:
    installation.lose()
    browser = Browser(installation.hub, {**installation.cookie, "Origin": ORIGIN}, around=StorageFaults)

    run_async(browser.run())

    assert browser.sent == [{"type": "websocket.close", "code": 1013}]
    assert browser.inside.scopes == []


@pytest.mark.timeout(120)
def test_an_open_websocket_is_closed_in_an_orderly_way(installation: Installation) -> None:
    """Nobody can say any more that its session lives; the browser comes back by itself."""
    browser = Browser(installation.hub, {**installation.cookie, "Origin": ORIGIN}, around=StorageFaults)

    async def lose_meanwhile() -> None:
        running = asyncio.create_task(browser.run())
        await browser.has_answered.wait()
        await asyncio.to_thread(installation.lose)
        await running

    with structlog.testing.capture_logs() as lines:
        run_async(lose_meanwhile())

    assert browser.inside.received[-1] == {"type": "websocket.disconnect", "code": 1013}
    assert browser.sent[-1] == {"type": "websocket.close", "code": 1013}
    assert [line["event"] for line in lines] == ["websocket_cut"]


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        ("/health?range=1h&x=%22", "/health?range=1h&amp;x=%22"),
        ("//evil.example/x", "/"),
        ('/"><script>', "/%22%3E%3Cscript%3E"),
    ],
)
def test_trying_again_leads_to_the_same_page_and_never_elsewhere(asked: str, offered: str) -> None:
    async def lost(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise StorageError("away")

    answer, _ = ask(StorageFaults(lost), "GET", f"http://127.0.0.1:8501{asked}", PAGE)

    assert f'href="{offered}">Try again' in answer.text


def test_an_answer_that_has_begun_is_not_begun_again() -> None:
    sent: list[Message] = []

    async def half(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise StorageError("away")

    async def act() -> None:
        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            sent.append(message)

        await StorageFaults(half)(
            {"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send
        )

    with pytest.raises(StorageError):
        run_async(act())
    assert [message["type"] for message in sent] == ["http.response.start"]
