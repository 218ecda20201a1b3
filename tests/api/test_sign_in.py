"""Coming in and leaving, as a browser does it: with forms, cookies and redirects."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from core.errors import Language
from core.model.role import Role
from core.web import pages
from core.web.gate import Gate
from core.web.language import preferred
from core.web.limits import MOST_BYTES, Limits
from core.web.origin import address_of, safe_next
from core.web.sign_in import SignInPages
from tests.api.conftest import ORIGIN, client, run_async
from tests.dashboard.fakes import PASSWORD, FakeHub, settings_at

OURS = {"Origin": ORIGIN}


def visit(hub: FakeHub, act: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]) -> httpx.Response:
    """One browser's visit to the sign-in pages behind the gate."""
    app = Limits(Gate(Starlette(routes=SignInPages(hub).routes()), hub))

    async def visiting() -> httpx.Response:
        async with client(app) as browser:
            return await act(browser)

    return run_async(visiting())


def hidden(page: httpx.Response, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found, f"no field {name}"
    return found[1]


async def submit(
    browser: httpx.AsyncClient, path: str, *, change: dict[str, str] | None = None, **fields: str
) -> httpx.Response:
    """Open a page, fill its form in, and send it. `change` replaces fields at the last moment."""
    csrf = hidden(await browser.get(path), "csrf")
    form = {"csrf": csrf, **fields, **(change or {})}
    return await browser.post(path.partition("?")[0], data=form, headers=OURS)


@pytest.fixture
def ready(hub: FakeHub) -> FakeHub:
    """A hub with one administrator."""
    hub.access.create_user("admin", PASSWORD, Role.ADMIN, by="test")
    return hub


def test_the_right_password_leads_on_with_a_session(ready: FakeHub) -> None:
    answer = visit(
        ready,
        lambda browser: submit(browser, "/login", name="Admin", password=PASSWORD, next="/metrics?range=1h"),
    )

    assert (answer.status_code, answer.headers["location"]) == (303, "/metrics?range=1h")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert ready.access.session(answer.cookies["bongsu_session"]) is not None


def test_behind_https_the_cookies_are_secure_and_bound_to_this_host(ready: FakeHub, tmp_path: Path) -> None:
    ready.settings = settings_at(tmp_path, public_url="https://ops.example.kr")

    page = visit(ready, lambda browser: browser.get("/login"))

    assert page.headers["set-cookie"].startswith("__Host-bongsu_csrf=")
    assert "Secure" in page.headers["set-cookie"]


def test_a_wrong_password_shows_the_form_again_without_it(ready: FakeHub) -> None:
    answer = visit(
        ready, lambda browser: submit(browser, "/login", name='"><b>x', password="not the password")
    )

    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert "not the password" not in answer.text
    assert "<b>x" not in answer.text
    assert "bongsu_session" not in answer.cookies


@pytest.mark.parametrize(("name", "focused"), [("admin", "password"), ("", "name")])
def test_the_cursor_is_in_the_first_field_that_is_empty(ready: FakeHub, name: str, focused: str) -> None:
    """After a wrong password that is the password: the name is still there."""
    answer = visit(ready, lambda browser: submit(browser, "/login", name=name, password="not the password"))

    assert re.findall(r'<input id="(\w+)"[^>]* autofocus', answer.text) == [focused]


@pytest.mark.fault("DA-05")
@pytest.mark.parametrize("csrf", ["", "0" * 64, "\ud55c\uae00"])
def test_a_form_that_is_not_ours_signs_nobody_in(ready: FakeHub, csrf: str) -> None:
    answer = visit(
        ready,
        lambda browser: submit(browser, "/login", name="admin", password=PASSWORD, change={"csrf": csrf}),
    )

    assert answer.status_code == 400
    assert "bongsu_session" not in answer.cookies


@pytest.mark.fault("DA-05")
def test_the_proof_of_one_browser_is_none_in_another(ready: FakeHub) -> None:
    stolen = hidden(visit(ready, lambda browser: browser.get("/login")), "csrf")

    answer = visit(
        ready,
        lambda browser: submit(browser, "/login", name="admin", password=PASSWORD, change={"csrf": stolen}),
    )

    assert answer.status_code == 400


def test_two_open_forms_of_one_browser_both_work(ready: FakeHub) -> None:
    async def two_tabs(browser: httpx.AsyncClient) -> httpx.Response:
        first = hidden(await browser.get("/login"), "csrf")
        await browser.get("/login")
        form = {"csrf": first, "name": "admin", "password": PASSWORD}
        return await browser.post("/login", data=form, headers=OURS)

    assert visit(ready, two_tabs).status_code == 303


@pytest.mark.fault("DA-05")
def test_signing_in_gives_a_new_session_and_ends_the_one_before(ready: FakeHub) -> None:
    planted = ready.access.sign_in("admin", PASSWORD, "127.0.0.1")

    async def sign_in(browser: httpx.AsyncClient) -> httpx.Response:
        csrf_page = await browser.get("/login")
        browser.cookies.set("bongsu_session", planted)
        form = {"csrf": hidden(csrf_page, "csrf"), "name": "admin", "password": PASSWORD}
        return await browser.post("/login", data=form, headers=OURS)

    answer = visit(ready, sign_in)
    assert answer.cookies["bongsu_session"] != planted
    assert ready.access.session(planted) is None


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_signing_out_ends_the_session_and_leads_to_the_sign_in(ready: FakeHub, method: str) -> None:
    token = ready.access.sign_in("admin", PASSWORD, "127.0.0.1")
    headers = {**OURS, "Cookie": f"bongsu_session={token}"}

    answer = visit(ready, lambda browser: browser.request(method, "/auth/logout", headers=headers))

    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert ready.access.session(token) is None


@pytest.mark.fault("DA-05")
def test_another_site_cannot_sign_anyone_out(ready: FakeHub) -> None:
    token = ready.access.sign_in("admin", PASSWORD, "127.0.0.1")
    headers = {"Cookie": f"bongsu_session={token}", "Sec-Fetch-Site": "cross-site"}

    assert visit(ready, lambda browser: browser.get("/auth/logout", headers=headers)).status_code == 403
    assert ready.access.session(token) is not None


def test_who_is_signed_in_already_is_led_on(ready: FakeHub) -> None:
    token = ready.access.sign_in("admin", PASSWORD, "127.0.0.1")
    headers = {"Cookie": f"bongsu_session={token}"}

    answer = visit(ready, lambda browser: browser.get("/login?next=/jobs", headers=headers))

    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")


def test_the_setup_link_makes_the_administrator_and_signs_in(hub: FakeHub) -> None:
    token = hub.access.new_setup_token()

    answer = visit(
        hub,
        lambda browser: submit(
            browser, f"/setup?token={token}", token=token, name="first", password=PASSWORD, again=PASSWORD
        ),
    )

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    signed_in = hub.access.session(answer.cookies["bongsu_session"])
    assert signed_in is not None
    assert (signed_in.name, signed_in.role) == ("first", Role.ADMIN)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"again": "something else"}, "differ"),
        ({"password": "short", "again": "short"}, "too_short"),
        ({"password": "password1234", "again": "password1234"}, "common"),
        ({"password": "x1" * 70, "again": "x1" * 70}, "too_long"),
        ({"name": "a b"}, "name_refused"),
        ({"token": "wrong"}, "token_refused"),
        ({"csrf": "wrong"}, "stale"),
    ],
)
def test_a_setup_form_that_is_not_right_says_why_and_makes_nobody(
    hub: FakeHub, change: dict[str, str], word: str
) -> None:
    token = hub.access.new_setup_token()
    fields = {"token": token, "name": "first", "password": PASSWORD, "again": PASSWORD}

    answer = visit(hub, lambda browser: submit(browser, f"/setup?token={token}", change=change, **fields))

    assert answer.status_code == 400
    assert pages.WORDS["ko"][word] in answer.text
    assert hub.access.needs_setup()


def test_without_the_link_the_setup_page_only_says_where_to_find_it(hub: FakeHub) -> None:
    page = visit(hub, lambda browser: browser.get("/setup"))

    assert pages.WORDS["ko"]["no_token"] in page.text
    assert "<form" not in page.text


def test_once_there_is_a_user_the_setup_page_is_gone(ready: FakeHub) -> None:
    page = visit(ready, lambda browser: browser.get("/setup", headers={"Accept": "text/html"}))

    assert page.headers["location"].startswith("/login")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("fr,en;q=0.3,ko;q=0.4", "ko"),
        ("de", "ko"),
        ("", "ko"),
        ("en;q=0", "ko"),
        ("en;q=x, ko;q=0.1", "ko"),
        (";;;,,,", "ko"),
    ],
)
def test_the_page_speaks_the_language_that_is_asked_for(accepted: str, language: Language) -> None:
    assert preferred(accepted) == language


def test_the_sign_in_page_is_in_the_language_of_the_browser(ready: FakeHub) -> None:
    english = visit(ready, lambda browser: browser.get("/login", headers={"Accept-Language": "en"}))
    korean = visit(ready, lambda browser: browser.get("/login", headers={"Accept-Language": "ko"}))

    assert '<html lang="en">' in english.text
    assert '<html lang="ko">' in korean.text
    assert "비밀번호" in korean.text
    assert "<script" not in english.text + korean.text


def test_both_languages_have_every_word() -> None:
    assert pages.WORDS["ko"].keys() == pages.WORDS["en"].keys()


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: x",
        "/\tevil",
        "evil",
        "",
        "/login",
        "/login?next=/login",
        "/auth/logout",
        "/setup",
    ],
)
def test_nobody_is_led_away_after_signing_in(target: str) -> None:
    assert safe_next(target) == "/"


@given(st.text())
def test_whatever_comes_next_is_a_path_of_ours(target: str) -> None:
    found = safe_next(target)

    assert found.startswith("/")
    assert not found.startswith(("//", "/\\"))
    assert found.isprintable()


@pytest.mark.fault("WH-10")
@pytest.mark.parametrize("is_announced", [True, False])
def test_a_body_beyond_a_mebibyte_is_too_large(ready: FakeHub, is_announced: bool) -> None:
    async def pieces() -> object:
        for _ in range(MOST_BYTES // 65_536 + 1):
            yield b"a" * 65_536

    content = b"a" * (MOST_BYTES + 1) if is_announced else pieces()
    headers = {**OURS, "Content-Type": "application/x-www-form-urlencoded"}

    answer = visit(ready, lambda browser: browser.post("/login", content=content, headers=headers))  # type: ignore[arg-type]

    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["x", "-1", "9" * 40])
def test_a_length_that_is_no_length_is_refused(ready: FakeHub, length: str) -> None:
    headers = {**OURS, "Content-Length": length}

    assert visit(ready, lambda browser: browser.post("/login", headers=headers)).status_code == 413


@pytest.mark.parametrize(
    ("public_url", "forwarded", "address"),
    [
        (None, "1.2.3.4", "10.0.0.1"),
        ("https://ops.example.kr", "1.2.3.4", "1.2.3.4"),
        ("https://ops.example.kr", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("https://ops.example.kr", "2001:db8::1", "2001:db8::1"),
        ("https://ops.example.kr", "no address", "10.0.0.1"),
        ("https://ops.example.kr", "", "10.0.0.1"),
    ],
)
def test_the_address_of_a_visitor_is_the_one_that_cannot_be_made_up(
    tmp_path: Path, public_url: str | None, forwarded: str, address: str
) -> None:
    """Without a proxy nobody vouches for what a client says; with one, it is the entry that the proxy added."""
    scope = {
        "type": "http",
        "client": ("10.0.0.1", 1),
        "headers": [(b"x-forwarded-for", forwarded.encode())],
    }

    assert address_of(scope, settings_at(tmp_path, public_url=public_url)) == address
