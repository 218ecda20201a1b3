"""Each event loop has connections of its own, until it ends or the process forks."""

from __future__ import annotations

import asyncio

from core.transports.per_loop import LoopLines, PerLoop
from tests.forked import in_child


def test_a_loop_finds_its_own_lines_again_and_another_loop_has_others() -> None:
    loops = PerLoop()

    async def twice() -> list[LoopLines]:
        return [await loops.here(), await loops.here()]

    first, again = asyncio.run(twice())
    other, _ = asyncio.run(twice())

    assert first is again
    assert other is not first


def test_a_loop_that_ends_is_not_held() -> None:
    loops = PerLoop()

    asyncio.run(loops.here())

    assert loops._by_loop == {}


def test_a_forked_child_has_lines_of_its_own_and_leaves_the_loops_of_its_parent_alone() -> None:
    loops = PerLoop()

    async def fork() -> None:
        of_the_parent = await loops.here()

        def begin_anew() -> None:
            loop = asyncio.new_event_loop()
            own = loop.run_until_complete(loops.here())
            assert own is not of_the_parent
            assert own.idle is not of_the_parent.idle
            loops.close()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

        with loops._lock:
            # Another thread is in there.
            assert in_child(begin_anew)
        assert await loops.here() is of_the_parent

    asyncio.run(fork())
