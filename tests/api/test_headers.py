"""What every answer carries, what the log keeps of it, and the word on whether we are well."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from base64 import b64encode
from pathlib import Path

import httpx
import pytest
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from core.errors import DatabaseUnreachable
from core.web.access_log import AccessLog
from core.web.headers import SecurityHeaders, content_security_policy, inline_script_hashes
from core.web.healthz import Healthz
from dashboard.options import index_page
from tests.api.conftest import client, run_async
from tests.dashboard.fakes import FakeHub, settings_at
from tests.fakes import FakeClock

STREAMLIT_PAGE = '<!DOCTYPE html><html lang="en"><head><script>let a = 1;</script></head></html>'


async def page(_request: Request) -> HTMLResponse:
    return HTMLResponse(STREAMLIT_PAGE)


def get(app: ASGIApp, path: str = "/", **headers: str) -> httpx.Response:
    async def asking() -> httpx.Response:
        async with client(app) as browser:
            return await browser.get(path, headers=headers)

    return run_async(asking())


def pages_with_headers(directory: Path, **settings: object) -> SecurityHeaders:
    hashes = inline_script_hashes(STREAMLIT_PAGE)
    return SecurityHeaders(Starlette(routes=[Route("/", page)]), settings_at(directory, **settings), hashes)


def test_every_answer_keeps_the_browser_at_home(tmp_path: Path) -> None:
    app = pages_with_headers(tmp_path)

    for path in ("/", "/missing"):
        headers = get(app, path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert "strict-transport-security" not in headers


def test_behind_https_browsers_are_told_to_stay_there(tmp_path: Path) -> None:
    app = pages_with_headers(tmp_path, public_url="https://ops.example.kr")

    assert get(app).headers["strict-transport-security"] == "max-age=31536000"


def test_the_one_script_in_the_page_is_allowed_by_its_hash(tmp_path: Path) -> None:
    digest = b64encode(hashlib.sha256(b"let a = 1;").digest()).decode()

    assert (
        f"script-src 'self' 'sha256-{digest}';"
        in get(pages_with_headers(tmp_path)).headers["content-security-policy"]
    )
    assert "script-src 'self';" in content_security_policy()


def test_the_installed_page_carries_exactly_one_script_in_itself() -> None:
    """Another version of Streamlit may carry more; then the policy has to be looked at again."""
    assert len(inline_script_hashes(index_page())) == 1
    assert '<html lang="en"' in index_page()


def test_a_page_says_the_language_that_it_is_shown_in(tmp_path: Path) -> None:
    korean = get(pages_with_headers(tmp_path), **{"Accept-Language": "ko-KR"})
    english = get(pages_with_headers(tmp_path), **{"Accept-Language": "en-US"})

    assert '<html lang="ko">' in korean.text
    assert '<html lang="en">' in english.text
    assert korean.headers["content-length"] == english.headers["content-length"] == str(len(korean.content))


def test_a_request_leaves_one_line_without_its_query(hub: FakeHub) -> None:
    app = AccessLog(Starlette(routes=[Route("/", page)]), hub)

    with structlog.testing.capture_logs() as lines:
        answer = get(app, "/?token=SECRET")

    assert [
        (line["event"], line["method"], line["path"], line["status"], line["address"]) for line in lines
    ] == [("request", "GET", "/", 200, "127.0.0.1")]
    assert "SECRET" not in repr(lines)
    assert len(answer.headers["x-trace-id"]) == 32


def test_what_is_asked_all_the_time_is_told_to_those_who_debug_alone(hub: FakeHub) -> None:
    app = AccessLog(Starlette(routes=[Healthz(hub).route()]), hub)

    with structlog.testing.capture_logs() as lines:
        get(app, "/healthz")
        get(app, "/static/index.js")
        get(app, "/login")

    assert [line["log_level"] for line in lines] == ["debug", "debug", "info"]


def test_we_are_well_while_the_database_answers(hub: FakeHub) -> None:
    answer = get(Starlette(routes=[Healthz(hub).route()]), "/healthz")

    assert (answer.status_code, answer.text) == (200, "ok")


@pytest.mark.fault("HE-03")
def test_without_the_database_we_are_not_well_and_say_no_more(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> bool:
        raise DatabaseUnreachable("postgresql://db.example/SECRET", "SECRET")

    monkeypatch.setattr(hub.access, "needs_setup", away)

    answer = get(Starlette(routes=[Healthz(hub).route()]), "/healthz")

    assert (answer.status_code, answer.text) == (503, "unavailable")


@pytest.mark.fault("HE-02")
def test_many_who_ask_at_once_are_one_question_to_the_database(
    hub: FakeHub, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []
    monkeypatch.setattr(hub.access, "needs_setup", lambda: asked.append(None))

    async def storm() -> list[int]:
        app = Starlette(routes=[Healthz(hub).route()])
        async with client(app) as browser:
            first = await asyncio.gather(*(browser.get("/healthz") for _ in range(50)))
            clock.advance(1)
            later = await asyncio.gather(*(browser.get("/healthz") for _ in range(50)))
        return [answer.status_code for answer in [*first, *later]]

    assert set(run_async(storm())) == {200}
    assert len(asked) == 2


@pytest.mark.fault("HE-01")
def test_a_database_that_hangs_is_reported_within_a_second_and_asked_once(
    hub: FakeHub, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []
    wakes = threading.Event()

    def hang() -> bool:
        asked.append(None)
        wakes.wait(30)
        return False

    monkeypatch.setattr(hub.access, "needs_setup", hang)

    async def ask_twice() -> list[int]:
        async with client(Starlette(routes=[Healthz(hub).route()])) as browser:
            async with asyncio.timeout(3):
                answers = [await browser.get("/healthz")]
                clock.advance(5)
                answers.append(await browser.get("/healthz"))
            wakes.set()
        return [answer.status_code for answer in answers]

    assert run_async(ask_twice()) == [503, 503]
    assert len(asked) == 1


async def _plain(_request: Request) -> PlainTextResponse:
    return PlainTextResponse('<html lang="en"')


def test_text_that_is_no_page_stays_as_it_is(tmp_path: Path) -> None:
    app = SecurityHeaders(Starlette(routes=[Route("/", _plain)]), settings_at(tmp_path))

    assert get(app, **{"Accept-Language": "ko"}).text == '<html lang="en"'
