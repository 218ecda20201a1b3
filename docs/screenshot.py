"""The picture of the Health page: the real program, in demo mode, seen by a real browser."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, sync_playwright

from core.clock import Clock, SystemClock, system_chance
from core.config.environment import load
from core.errors import CallError
from core.hub import Hub, connect
from core.model.role import Role
from core.settings import PREFIX, environment, environment_for_child
from jobs.demo import USER, calls_per_minute, keyword

_NAME: Final = "ops"
_PASSWORD: Final = "the fire on the hill"  # noqa: S105 -- of a server that lives for a minute on this machine.
_WIDTH: Final = 1440
_HEIGHT: Final = 900
_CHECKS: Final = timedelta(hours=5)
_CALLS: Final = timedelta(hours=1)
_EVERY: Final = timedelta(minutes=5)
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_MS: Final = 60_000


class PastClock:
    """A clock that starts in the past and goes only when someone waits."""

    def __init__(self, clock: Clock, start: datetime) -> None:
        self._started = clock.monotonic()
        self._start = start
        self._passed = 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return self._started + self._passed

    def sleep(self, seconds: float) -> None:
        self._passed += max(seconds, 0.0)

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


def take(path: Path) -> None:
    """Save the picture at `path`. Takes about half a minute, and needs Chromium."""
    path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory)
        make_user(data)
        live_through_the_last_hours(data)
        with running(data) as address, opened_page(address) as page:
            page.screenshot(path=path)


def make_user(data: Path) -> None:
    """Someone who may sign in."""
    with connect(data_dir=data, environ={}) as hub:
        hub.access.create_user(_NAME, _PASSWORD, Role.ADMIN, by="documents")


def live_through_the_last_hours(data: Path) -> None:
    """Check and call as the jobs process would have, so that there is something to see."""
    now = SystemClock().now()
    clock = PastClock(SystemClock(), now - _CHECKS)
    with Hub.build(load({f"{PREFIX}DATA_DIR": str(data)}), clock) as hub:
        while clock.now() < now - _EVERY:
            hub.health.check_all_health()
            until = clock.now() + _EVERY
            if until > now - _CALLS:
                call_until(hub, clock, until)
            clock.sleep((until - clock.now()).total_seconds())
        hub.collector.aggregate_metrics(now)


def call_until(hub: Hub, clock: PastClock, until: datetime) -> None:
    """Demo calls, one after the other, up to a time."""
    while clock.now() < until:
        clock.sleep(60 / calls_per_minute(clock.now()))
        try:
            hub.address.search_address(keyword(system_chance), user_id=USER)
        except CallError:
            # It is on record, and the picture shows it.
            continue


@contextmanager
def running(data: Path) -> Iterator[str]:
    """`bongsu up` on a free port; gives its address, and stops it at the end."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("bongsu")), "up", "--port", str(port), "--data", str(data)]
    ours = environment()
    process = subprocess.Popen(  # noqa: S603 -- our own program.
        command,
        env={name: value for name, value in environment_for_child().items() if name not in ours},
        stdout=subprocess.PIPE,
        text=True,
        cwd=data,
    )
    try:
        lines: list[str] = []
        for line in process.stdout or ():
            lines.append(line)
            if line.startswith("Ready"):
                break
        else:
            raise RuntimeError("Bongsu did not start:\n" + "".join(lines))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def opened_page(address: str) -> Iterator[Page]:
    """The Health page after signing in, once its figures are there."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": _WIDTH, "height": _HEIGHT}, locale="en-US", timezone_id="Asia/Seoul"
        )
        page.set_default_timeout(_PATIENCE_MS)
        page.goto(f"{address}/login")
        page.fill("#name", _NAME)
        page.fill("#password", _PASSWORD)
        page.click("button")
        page.get_by_text("Success rate").first.wait_for()
        page.get_by_text("the newest on the right").first.wait_for()
        page.wait_for_load_state("networkidle")
        yield page
        browser.close()


def browser_path() -> str:
    """Where this machine has Chromium. Raises `FileNotFoundError` when it has none."""
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise FileNotFoundError("The picture needs Chromium: install it, or run `make docs`, which does.")
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
