"""A name is looked up once at a time, however many wait for it and however long the resolver hangs."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import httpcore
import pytest

from core.transports.resolver import look_up
from tests.forked import in_child
from tests.waiting import until

ENTRY = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))


class HangingResolver:
    """The system's resolver, which answers when it is let."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.knows = True
        self.asked: list[str] = []

    def getaddrinfo(self, host: str, _port: int, **_: int) -> list[tuple[object, ...]]:
        self.asked.append(host)
        self.may_answer.wait(30)
        if not self.knows:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [ENTRY, ENTRY]

    @property
    def threads(self) -> int:
        """How many it keeps waiting."""
        return sum(thread.name == "resolver" for thread in threading.enumerate())


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[HangingResolver]:
    """One that hangs; in the end it answers all who are left."""
    hanging = HangingResolver()
    monkeypatch.setattr(socket, "getaddrinfo", hanging.getaddrinfo)
    yield hanging
    hanging.may_answer.set()
    until(lambda: not hanging.threads, what="the end of every look-up")


def test_all_who_wait_for_a_name_share_one_look_up_and_its_answer(resolver: HangingResolver) -> None:
    found = [look_up("here.invalid", 80) for _ in range(150)]
    until(lambda: resolver.asked == ["here.invalid"])

    assert resolver.threads == 1
    resolver.may_answer.set()
    assert [each.result(30) for each in found] == [["192.0.2.1"]] * 150


def test_who_gives_up_takes_nothing_from_the_others(resolver: HangingResolver) -> None:
    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.wrap_future(look_up("here.invalid", 80))

    other = look_up("here.invalid", 80)
    asyncio.run(give_up())
    resolver.may_answer.set()

    assert other.result(30) == ["192.0.2.1"]


def test_a_name_that_hangs_holds_up_no_other_name_and_no_other_port(resolver: HangingResolver) -> None:
    places = [("here.invalid", 80), ("here.invalid", 443), ("there.invalid", 80)]
    for host, port in places * 2:
        look_up(host, port)

    assert resolver.threads == len(places)


def test_the_next_after_an_answer_asks_anew(resolver: HangingResolver) -> None:
    resolver.may_answer.set()
    assert look_up("here.invalid", 80).result(30) == ["192.0.2.1"]
    resolver.knows = False

    for _ in range(2):
        with pytest.raises(httpcore.ConnectError, match="no such name"):
            look_up("here.invalid", 80).result(30)

    assert resolver.asked == ["here.invalid"] * 3


def test_a_numeric_host_asks_nobody(resolver: HangingResolver) -> None:
    assert look_up("192.0.2.7", 80).result(0) == ["192.0.2.7"]
    assert look_up("::1", 80).result(0) == ["::1"]
    assert resolver.asked == []


def test_a_forked_child_does_not_wait_for_a_look_up_of_its_parent(resolver: HangingResolver) -> None:
    look_up("here.invalid", 80)
    until(lambda: resolver.asked == ["here.invalid"])

    def look_again() -> None:
        resolver.may_answer = threading.Event()
        resolver.may_answer.set()
        assert look_up("here.invalid", 80).result(30) == ["192.0.2.1"]

    assert in_child(look_again)
