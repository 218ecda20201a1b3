"""What a call adds to the least that asking over HTTP costs: `httpx` on a kept connection over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, closing
from typing import Final

import httpx

from benchmarks.goals import Section, at_most
from benchmarks.loopback import served
from benchmarks.measure import Case, Measured, Scale, interleaved
from benchmarks.ours import Ours
from benchmarks.parties import Trivial, trivial_policy
from benchmarks.report import Table, duration, ratio
from core.clock import SystemClock
from core.transports.http import HttpTransport

_CLIENT: Final = "httpx.Client.get"
_ASYNC_CLIENT: Final = "httpx.AsyncClient.get"
_HERE: Final = "here: Client.call"
_ASYNC_HERE: Final = "here: Client.acall"
_FLOOR_OF: Final = {_HERE: _CLIENT, _ASYNC_HERE: _ASYNC_CLIENT}

_SHARE: Final = 1.5


def measure(scale: Scale, miss: Measured, miss_in_loop: Measured) -> Section:
    """The table, and the goals: what a miss costs by itself, as a share of the bare request."""
    with ExitStack() as stack:
        url = stack.enter_context(served())
        loop = stack.enter_context(asyncio.Runner()).get_loop()
        bare = stack.enter_context(httpx.Client(trust_env=False))
        transport = stack.enter_context(closing(HttpTransport(SystemClock())))
        ours, in_loop = (
            stack.enter_context(
                Ours(transport, policy=trivial_policy(has_cache=False), provider=Trivial(url))
            )
            for _ in range(2)
        )
        bare_in_loop = httpx.AsyncClient(trust_env=False)
        stack.callback(lambda: loop.run_until_complete(bare_in_loop.aclose()))

        async def get(_number: int) -> object:
            return await bare_in_loop.get(f"{url}/say", params={"word": "hello"})

        async def acall(_number: int) -> object:
            return await in_loop.acall("hello")

        cases = [
            Case(_CLIENT, lambda _: bare.get(f"{url}/say", params={"word": "hello"}), scale.calls),
            Case(_HERE, lambda _: ours.call("hello"), scale.calls, before=ours.settle),
            Case(_ASYNC_CLIENT, _batches(loop, get, scale.calls), units=scale.calls),
            Case(_ASYNC_HERE, _batches(loop, acall, scale.calls), units=scale.calls, before=in_loop.settle),
        ]
        measured = interleaved("call-path, loopback", cases, scale.rounds, scale.within_s)
    floor, floor_in_loop = measured[_CLIENT], measured[_ASYNC_CLIENT]
    # The least, so that a machine that is busy does not flatter us.
    share = 100 * miss.cpu_ns / min(floor.wall)
    share_in_loop = 100 * miss_in_loop.cpu_ns / min(floor_in_loop.wall)
    rows = tuple(
        (
            name,
            ratio(one.wall_ns / measured[_FLOOR_OF.get(name, name)].wall_ns),
            duration(one.wall_ns),
            duration(min(one.wall)),
            duration(one.cpu_ns),
        )
        for name, one in measured.items()
    )
    return Section(
        (
            Table(
                "Over loopback, one kept connection, an answer of five letters, nothing kept "
                "(here with the project's own transport, which stands on httpcore):",
                ("case", "× httpx", "median", "least", "CPU of the thread"),
                rows,
            ),
        ),
        (
            at_most(f"a miss, as a share of {_CLIENT} at its least", share, _SHARE, _percent),
            at_most(
                f"a miss in an event loop, as a share of {_ASYNC_CLIENT} at its least",
                share_in_loop,
                _SHARE,
                _percent,
            ),
        ),
    )


def _batches(
    loop: asyncio.AbstractEventLoop, run: Callable[[int], Awaitable[object]], calls: int
) -> Callable[[int], object]:
    async def batch() -> None:
        for number in range(calls):
            await run(number)

    return lambda _: loop.run_until_complete(batch())


def _percent(value: float) -> str:
    return f"{value:.1f} %"
