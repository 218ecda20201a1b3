"""One transport in many hands: threads, tasks and event loops; and callers who go away at any moment."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress

import pytest

from core.clock import SystemClock
from core.model.message import ApiRequest
from core.model.verdict import Verdict
from core.transports.base import TransportFault
from core.transports.http import HttpTransport
from core.transports.keep_alive import MAX_CONNECTIONS
from tests.simulators.http_server import HttpServer, Received, Reply
from tests.waiting import until


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    """A way out on the machine's own clock."""
    way_out = HttpTransport(SystemClock())
    yield way_out
    way_out.close()


def echo(request: Received) -> Reply:
    """The question is the answer."""
    return Reply(request.query["q"].encode())


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """A server whose answer tells the question."""
    with HttpServer(echo) as running:
        yield running


async def answer(transport: HttpTransport, server: HttpServer, question: str) -> str:
    """What comes back."""
    request = ApiRequest("GET", server.url, (("q", question),))
    return (await transport.asend(request, 10)).body.decode()


def test_threads_share_one_way_out(transport: HttpTransport, server: HttpServer) -> None:
    """Each of twenty threads meets its own deadline and its own answer."""
    wrong: list[str] = []

    def ask(thread: int) -> None:
        for number in range(5):
            question = f"{thread} {number}"
            met = transport.send(ApiRequest("GET", server.url, (("q", question),)), 10).body.decode()
            wrong.extend([met] if met != question else [])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(server.requests), wrong) == (100, [])
    assert len(server._threads) <= 20


def test_tasks_share_one_way_out_and_as_many_are_out_as_there_may_be_connections(
    transport: HttpTransport,
) -> None:
    """The server answers nobody until so many have asked; of three times as many, no more are there at once."""
    questions = [str(number) for number in range(3 * MAX_CONNECTIONS)]
    together = threading.Barrier(MAX_CONNECTIONS, timeout=10)
    lock = threading.Lock()
    there: set[str] = set()
    most = 0

    def hold(request: Received) -> Reply:
        nonlocal most
        with lock:
            there.add(request.query["q"])
            most = max(most, len(there))
        together.wait()
        with lock:
            there.remove(request.query["q"])
        return echo(request)

    with HttpServer(hold) as server:

        async def ask_all() -> list[str]:
            return await asyncio.gather(*(answer(transport, server, question) for question in questions))

        assert asyncio.run(ask_all()) == questions
    assert most == MAX_CONNECTIONS


def test_threads_with_an_event_loop_each_share_one_way_out(
    transport: HttpTransport, server: HttpServer
) -> None:
    met: list[str] = []

    async def ask(thread: int) -> None:
        met.extend([await answer(transport, server, f"{thread} {number}") for number in range(5)])

    threads = [threading.Thread(target=asyncio.run, args=(ask(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(met) == sorted(f"{thread} {number}" for thread in range(8) for number in range(5))
    assert len(server._threads) == 8


def test_a_loop_that_ends_leaves_no_connection_open(transport: HttpTransport, server: HttpServer) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for question in ("one", "two"):
            assert asyncio.run(answer(transport, server, question)) == question
            assert server.is_deserted()
        gc.collect()
    assert warned == []
    assert transport._loops._by_loop == {}


def test_a_loop_that_ends_behind_half_an_answer_leaves_no_task_behind(
    transport: HttpTransport, server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.endless_chunks()

    async def ask() -> None:
        with suppress(TransportFault):
            await answer(transport, server, "one")

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        asyncio.run(ask())
        gc.collect()
    assert warned == []
    assert caplog.messages == []
    assert server.is_deserted()


def test_a_loop_that_was_closed_without_a_farewell_is_let_go_when_the_next_one_comes(
    transport: HttpTransport, server: HttpServer
) -> None:
    rude = asyncio.new_event_loop()
    rude.run_until_complete(answer(transport, server, "one"))
    rude.close()

    async def ask_and_look() -> list[asyncio.AbstractEventLoop]:
        assert await answer(transport, server, "two") == "two"
        return list(transport._loops._by_loop)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of the loop's own: nobody could close it any more.
        looked = asyncio.run(ask_and_look())
        gc.collect()
    assert rude not in looked
    assert len(looked) == 1


def test_closing_the_transport_hangs_up_on_every_loop(transport: HttpTransport, server: HttpServer) -> None:
    async def ask_and_close() -> None:
        await answer(transport, server, "one")
        await asyncio.to_thread(transport.close)
        assert await asyncio.to_thread(server.is_deserted)
        assert await answer(transport, server, "two") == "two"
        assert await asyncio.to_thread(server.is_deserted)

    asyncio.run(ask_and_close())


def test_a_cancelled_caller_is_told_so_and_its_connection_is_closed(
    transport: HttpTransport, server: HttpServer
) -> None:
    server.drip(0.2, after=10)

    async def ask_and_go() -> None:
        asked = asyncio.create_task(answer(transport, server, "one"))
        await asyncio.to_thread(until, lambda: bool(server.requests))
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert await asyncio.to_thread(server.is_deserted)

    asyncio.run(ask_and_go())


def test_a_callers_own_timeout_is_not_taken_for_the_attempts(
    transport: HttpTransport, server: HttpServer
) -> None:
    server.drip(0.2, after=10)

    async def ask_for_a_moment() -> None:
        async with asyncio.timeout(0.1):
            await answer(transport, server, "one")

    with pytest.raises(TimeoutError):
        asyncio.run(ask_for_a_moment())


@pytest.mark.parametrize("crowd", [1, MAX_CONNECTIONS + 20], ids=["alone", "in a crowd"])
def test_whenever_a_caller_goes_away_nothing_is_lost(
    transport: HttpTransport, server: HttpServer, crowd: int
) -> None:
    """A cancellation may come at every point where an exchange waits; afterwards all connections are to be had."""
    turns = range(60) if crowd == 1 else range(0, 60, 10)

    async def come_and_go() -> None:
        for turn in turns:
            tasks = [asyncio.create_task(answer(transport, server, str(number))) for number in range(crowd)]
            for _ in range(turn):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(end == str(n) or isinstance(end, asyncio.CancelledError) for n, end in enumerate(ends))
        lines = await transport._loops.here()
        assert lines.slots._value == MAX_CONNECTIONS
        questions = [str(number) for number in range(MAX_CONNECTIONS)]
        assert await asyncio.gather(*(answer(transport, server, it) for it in questions)) == questions

    asyncio.run(come_and_go())
    assert server.is_deserted()


def test_a_fault_on_one_loop_leaves_the_others_alone(transport: HttpTransport, server: HttpServer) -> None:
    async def ask_badly() -> None:
        server.cut_after(10)
        with pytest.raises(TransportFault) as raised:
            await answer(transport, server, "one")
        assert raised.value.verdict is Verdict.DISCONNECTED
        server.recover()
        met = await asyncio.to_thread(asyncio.run, answer(transport, server, "two"))
        assert (met, await answer(transport, server, "three")) == ("two", "three")

    asyncio.run(ask_badly())
