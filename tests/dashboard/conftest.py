"""The pages, run without a server, over a made-up hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from core.model.role import Role
from core.persistence.database import Database
from dashboard import data
from tests.dashboard.fakes import PASSWORD, FakeHub, overview, settings_at
from tests.fakes import FakeClock

MAIN: Final = Path(dashboard.__file__).with_name("main.py")

OpenPage = Callable[..., AppTest]
"""Opens the dashboard as a person of a role: `open_page(Role.VIEWER, locale="en-US")`."""


@pytest.fixture
def hub(sqlite_database: Database, clock: FakeClock, tmp_path: Path) -> Iterator[FakeHub]:
    """The hub under the pages, with one healthy integration."""
    hub = FakeHub(sqlite_database, clock, settings_at(tmp_path))
    hub.integrations = [overview()]
    data.use(hub)
    yield hub
    data.forget()


@pytest.fixture
def open_page(hub: FakeHub) -> OpenPage:
    """Opens the dashboard and runs it once."""

    def opened(role: Role = Role.VIEWER, locale: str = "ko-KR") -> AppTest:
        name = f"{role.value}er"
        hub.access.create_user(name, PASSWORD, role, by="test")
        signed_in = hub.access.session(hub.access.sign_in(name, PASSWORD, "127.0.0.1"))
        assert signed_in is not None
        page = AppTest.from_file(str(MAIN), default_timeout=20)
        page.user = {"name": name, "role": role.value, "sid": signed_in.sid}
        page.context["locale"] = locale
        return page.run()

    return opened
