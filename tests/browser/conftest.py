"""A running web process, a browser, and pages that tell on themselves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypedDict, Unpack
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from core.settings import environment_for_child
from tests import chromium, waiting
from tests.dashboard.fakes import PASSWORD
from tests.ports import free_port

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a web process for all tests, stopped at the end."""
    with serving(tmp_path_factory.mktemp("web")) as (url, log):
        yield url
    assert "Traceback" not in log.read_text()


@contextmanager
def serving(directory: Path, *options: str) -> Iterator[tuple[str, Path]]:
    """A web process with its own data directory and port: its address, and the file of its log."""
    port = free_port()
    command = [sys.executable, "-m", "tests.browser.serve", str(directory), str(port), *options]
    log, url = directory / "log", f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment_for_child(), stdout=output, stderr=output
        )
        try:
            waiting.until(lambda: process.poll() is not None or _answers(url), within=60, what="the server")
            assert process.poll() is None, log.read_text()
            yield url, log
        finally:
            process.terminate()
            process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/healthz", timeout=1) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium; without one the tests fail and say so.

    It is closed after each file: while it is open, its event loop runs in this thread and no other can.
    """
    with chromium.launched() as browser:
        yield browser


class Look(TypedDict, total=False):
    """How a browser presents itself."""

    width: int
    scheme: str
    locale: str


@dataclass
class Visitor:
    """One browser of one person. `faults` are console errors, and `strays` requests that left our origin."""

    context: BrowserContext
    address: str
    faults: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)

    def open_tab(self, path: str = "/") -> Page:
        page = self.context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self._see(request.url))
        page.goto(self.address + path)
        return page

    def sign_in(self, page: Page, name: str, password: str = PASSWORD) -> None:
        """Fill in the form of the sign-in page and send it."""
        page.locator("#name").fill(name)
        page.locator("#password").fill(password)
        page.locator("#password").press("Enter")

    def signed_in(self, name: str, path: str = "/") -> Page:
        """A tab of someone who has just signed in."""
        page = self.open_tab(path)
        self.sign_in(page, name)
        chromium.settled(page)
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    def _see(self, url: str) -> None:
        if urlsplit(url).scheme in {"http", "https", "ws", "wss"} and not url.startswith(self.address):
            self.strays.append(url)


NewVisitor = Callable[..., Visitor]
"""Makes a browser that knows no cookies: `new_visitor(width=800, scheme="dark", locale="en-US")`."""


@pytest.fixture
def new_visitor(browser: Browser, address: str) -> Iterator[NewVisitor]:
    """Visitors who must neither meet an error nor reach anyone but us."""
    visitors: list[Visitor] = []

    def arrive(at: str = "", **look: Unpack[Look]) -> Visitor:
        context = browser.new_context(
            viewport={"width": look.get("width", 1440), "height": 1000},
            color_scheme="dark" if look.get("scheme") == "dark" else "light",
            locale=look.get("locale", "ko-KR"),
            timezone_id="Asia/Seoul",
        )
        visitors.append(Visitor(context, at or address))
        return visitors[-1]

    yield arrive
    for visitor in visitors:
        visitor.context.close()
    assert [visitor.strays for visitor in visitors if visitor.strays] == []
    assert [visitor.faults for visitor in visitors if visitor.faults] == []
