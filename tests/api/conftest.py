"""The web layers over a made-up hub, and everyone who may knock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from starlette.types import ASGIApp

from core.model.role import Role
from core.persistence.database import Database
from tests.dashboard.fakes import PASSWORD, FakeHub, overview, settings_at
from tests.fakes import FakeClock

T = TypeVar("T")
ORIGIN = "http://127.0.0.1:8501"


@pytest.fixture
def hub(sqlite_database: Database, clock: FakeClock, tmp_path: Path) -> FakeHub:
    """A hub with one integration, and no user yet."""
    hub = FakeHub(sqlite_database, clock, settings_at(tmp_path))
    hub.integrations = [overview()]
    return hub


@dataclass(frozen=True)
class Visitors:
    """The headers by which each visitor of the matrix shows who they are."""

    headers: dict[str, dict[str, str]]

    def __getitem__(self, name: str) -> dict[str, str]:
        return self.headers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.headers)


@pytest.fixture
def visitors(hub: FakeHub, clock: FakeClock) -> Visitors:
    """People and programs of each role, and those whose time is over."""
    headers: dict[str, dict[str, str]] = {"anonymous": {}, "forged": _bearer("bongsu_0_0")}
    for role in Role:
        hub.access.create_user(role.value, PASSWORD, role, by="test")
        headers[role.value] = _cookie(hub.access.sign_in(role.value, PASSWORD, "127.0.0.1"))
        headers[f"{role.value} program"] = _bearer(hub.access.create_api_token("ci", role, by="test").secret)
    revoked = hub.access.create_api_token("revoked", Role.ADMIN, by="test")
    hub.access.revoke_api_token(revoked.id, by="test")
    headers["revoked"] = _bearer(revoked.secret)
    soon = clock.now() + timedelta(minutes=1)
    expired = hub.access.create_api_token("expired", Role.ADMIN, by="test", expires=soon)
    headers["expired"] = _bearer(expired.secret)
    clock.advance(60)
    left = hub.access.sign_in("admin", PASSWORD, "127.0.0.1")
    hub.access.sign_out(left)
    headers["signed out"] = _cookie(left)
    # A token is judged alone: a session beside it does not mend it.
    headers["revoked beside a session"] = {**headers["admin"], **headers["revoked"]}
    return Visitors(headers)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """What `work` comes to, on an event loop of its own, in a thread of its own: this one may have a loop already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@asynccontextmanager
async def client(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """A client that calls an app directly."""
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as asking:
        yield asking


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def _cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"bongsu_session={token}"}
