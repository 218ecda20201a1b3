"""Work that waits: bounded in number and in time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from fastapi import Depends

from core.errors import DatabaseUnreachable
from core.model.identity import current_trace_id, tracing
from core.model.role import Role
from core.web.api import create_api
from core.web.blocking import Blocking
from core.web.guard import Guard
from tests.api.conftest import Visitors, client, run_async
from tests.dashboard.fakes import FakeHub

PATIENCE = 0.05


@pytest.fixture
def hung() -> Iterator[threading.Event]:
    """What a hung database waits for: it comes when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_work_that_never_answers_is_given_up(hung: threading.Event) -> None:
    with pytest.raises(DatabaseUnreachable, match="no answer within"):
        run_async(_done(Blocking(1, PATIENCE), hung.wait))


def test_an_api_whose_database_hangs_says_so(hub: FakeHub, visitors: Visitors, hung: threading.Event) -> None:
    """It answers 503 as it does without a database, and does not keep silent."""
    api = create_api(hub)
    slow = Blocking(1, PATIENCE)

    @api.get("/v1/slow", dependencies=[Depends(Guard(hub, Blocking()).requires(Role.VIEWER))])
    async def ask() -> bool:
        return await slow(hung.wait)

    async def asking() -> tuple[int, str]:
        async with client(api) as browser:
            answer = await browser.get("/v1/slow", headers=visitors["viewer"])
            return answer.status_code, answer.json()["code"]

    assert run_async(asking()) == (503, "unavailable")


def test_work_given_up_keeps_its_thread_until_it_ends(hung: threading.Event) -> None:
    """So a hung database takes so many threads and no more; what waited in vain for one never begins."""
    blocking = Blocking(1, PATIENCE)
    begun: list[str] = []

    async def act() -> int:
        for _ in range(2):
            with pytest.raises(DatabaseUnreachable):
                await blocking(hung.wait)
        with pytest.raises(DatabaseUnreachable):
            await blocking(lambda: begun.append("late"))
        hung.set()
        return await blocking(lambda: 7)

    assert run_async(act()) == 7
    assert begun == []


def test_a_fault_of_the_work_is_its_own() -> None:
    """Even one that looks like our own deadline."""

    def fail() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        run_async(_done(Blocking(), fail))


def test_work_knows_the_request_that_it_is_done_for() -> None:
    async def act() -> str:
        with tracing("a" * 32):
            return await Blocking()(current_trace_id)

    assert run_async(act()) == "a" * 32


async def _done(blocking: Blocking, work: Callable[[], object]) -> None:
    await blocking(work)
