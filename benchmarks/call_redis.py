"""What a call costs when several processes share a Redis, beside the assembled one; and what the loss of it costs."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter_ns
from typing import Final
from urllib.parse import urlsplit

from redis import Redis
from redis.exceptions import RedisError

from benchmarks import peers, peers_redis
from benchmarks.flights import counted
from benchmarks.goals import Goal, Section, at_least, at_most
from benchmarks.measure import Case, Measured, Scale, announce, interleaved
from benchmarks.ours import Ours
from benchmarks.parties import ANSWERS, HELLO, Canned, HastyClock, trivial_policy
from benchmarks.report import Table, duration, ratio
from core.clock import SystemClock
from core.errors import CallError
from core.state.guarded import GuardedState
from core.state.memory import MemoryState
from core.state.redis import RedisState
from tests import servers

_MORE: Final = 4
"""So many times the calls of a round of other benchmarks, so that what is written behind goes on in the meantime."""
_COUNTED: Final = 20
"""The calls whose flights are counted."""

_PING: Final = "redis-py: PING"
_GET: Final = "redis-py: GET"
_MISS: Final = "here: a miss"
_HIT: Final = "here: a hit in Redis"
_LOOP_MISS: Final = "here: a miss, in an event loop"
_COMPOSED_MISS: Final = "composed: a miss"
_COMPOSED_HIT: Final = "composed: a hit"
_COMPOSED_OF: Final = {_MISS: _COMPOSED_MISS, _HIT: _COMPOSED_HIT, _LOOP_MISS: _COMPOSED_MISS}

_SCANNED: Final = 10_000
_NEARLY_ALL: Final = 0.99

_FLIGHTS: Final = 1.0
_FASTER: Final = 3.4
_LOST_NS: Final = 50e6
_LATER_NS: Final = 20e3

_LATER_EVERY_S: Final = 0.01
_TIMES: Final = 2


def lost(scale: Scale) -> Section:
    """What comes of calls when a Redis is lost that everybody is connected to."""
    losses = [_lost("killed", signal.SIGKILL, scale), _lost("hung", signal.SIGSTOP, scale)]
    return Section(
        tuple(loss.table() for loss in losses), tuple(goal for loss in losses for goal in loss.goals())
    )


def version() -> str:
    """The version of the Redis that is measured with."""
    with _redis() as server, Redis.from_url(server.url) as client:
        return str(client.info("server")["redis_version"])


@contextmanager
def _redis() -> Iterator[servers.Server]:
    """A Redis of our own, which may be killed."""
    server = servers.start_redis()
    try:
        yield server
    finally:
        server.stop()


def _guarded(url: str) -> GuardedState:
    """The store as the product uses it, with its stand-in."""
    clock = HastyClock()
    return GuardedState(RedisState(url), MemoryState(clock), clock)


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to do it: for timing (by the number of the call), and for counting."""

    name: str
    run: Callable[[int], object]


def speed(scale: Scale) -> Section:
    """Misses and hits, and the flights of each."""
    with ExitStack() as stack:
        server = stack.enter_context(_redis())
        loop = stack.enter_context(asyncio.Runner()).get_loop()
        parties = [Canned(HELLO) for _ in range(_TIMES)]
        ours, in_loop = (
            stack.enter_context(Ours(party, state=_guarded(server.url), policy=trivial_policy(local_s=0)))
            for party in parties
        )
        composed = stack.enter_context(peers_redis.Composed(peers.Answers(), server.url))
        bare = stack.enter_context(Redis.from_url(server.url))
        calls = scale.calls * _MORE

        async def batch(first: int, size: int) -> None:
            for number in range(first, first + size):
                await in_loop.acall(f"in the loop {number}")

        def settle() -> None:
            ours.settle()
            in_loop.settle()

        ways = (
            _Way(_PING, lambda _: bare.ping()),
            _Way(_GET, lambda _: bare.get("nothing")),
            _Way(_COMPOSED_HIT, lambda _: composed("kept")),
            _Way(_HIT, lambda _: ours.call("kept")),
            _Way(_COMPOSED_MISS, lambda number: composed(f"word {number}")),
            _Way(_MISS, lambda number: ours.call(f"word {number}")),
        )
        flights = {way.name: _flights(way.run, settle) for way in ways}
        flights[_LOOP_MISS] = _flights(lambda number: loop.run_until_complete(batch(number, 1)), settle)
        # From here on the words are others than those that were counted.
        cases = [
            *(Case(way.name, _from(way.run), calls, before=settle) for way in ways),
            Case(
                _LOOP_MISS,
                lambda number: loop.run_until_complete(batch(_COUNTED * _TIMES + number * calls, calls)),
                units=calls,
                before=settle,
            ),
        ]
        measured = interleaved("call-path, Redis", cases, scale.rounds, scale.within_s)
        settle()
        _check_where(bare, sum(party.sent for party in parties))
    return Section((_table(measured, flights),), tuple(_goals(measured, flights)))


def _check_where(client: Redis, answers: int) -> None:
    """Raises RuntimeError when a store stood in for Redis, or answers were dropped on their way to it."""
    kept = sum(1 for _ in client.scan_iter(f"*{ANSWERS}*", count=_SCANNED))
    if kept < _NEARLY_ALL * answers:
        raise RuntimeError(
            f"Of {answers} answers {kept} were kept in Redis: what was measured is something else."
        )


def _from(run: Callable[[int], object]) -> Callable[[int], object]:
    return lambda number: run(_COUNTED * _TIMES + number)


def _flights(run: Callable[[int], object], settle: Callable[[], object]) -> tuple[float, float]:
    """The flights of one call: those that its thread waits for, and those of other threads.

    What happens once (connections, scripts loaded) has happened before.
    """
    for number in range(_COUNTED):
        run(number)
    settle()
    with counted() as flights:
        for number in range(_COUNTED, _COUNTED * _TIMES):
            run(number)
        blocking = flights.blocking
        settle()
        return blocking / _COUNTED, flights.others / _COUNTED


def _goals(measured: Mapping[str, Measured], flights: Mapping[str, tuple[float, float]]) -> Iterator[Goal]:
    here, there = measured[_MISS], measured[_COMPOSED_MISS]
    yield at_most("a miss over Redis: flights that are waited for", flights[_MISS][0], _FLIGHTS, _number)
    faster = there.wall_ns / here.wall_ns
    yield at_least("a miss over Redis: × as fast as composed, medians", faster, _FASTER, ratio)
    faster = min(there.wall) / min(here.wall)
    yield at_least("a miss over Redis: × as fast as composed, least", faster, _FASTER, ratio)


def _number(value: float) -> str:
    return f"{value:.2f}"


def _table(measured: Mapping[str, Measured], flights: Mapping[str, tuple[float, float]]) -> Table:
    rows = []
    for name, one in measured.items():
        blocking, others = flights[name]
        peer = measured.get(_COMPOSED_OF.get(name, ""))
        rows.append(
            (
                name,
                _number(blocking),
                _number(others),
                ratio(peer.wall_ns / one.wall_ns) if peer else "",
                ratio(min(peer.wall) / min(one.wall)) if peer else "",
                duration(one.wall_ns),
                duration(min(one.wall)),
                duration(one.cpu_ns),
            )
        )
    head = (
        "case",
        "flights waited for",
        "in other threads",
        "× as fast, medians",
        "least",
        "median",
        "least",
        "CPU of the thread",
    )
    return Table("Over Redis on loopback, state and answers shared between processes:", head, tuple(rows))


@dataclass(frozen=True, slots=True)
class _Call:
    """One call while the store is away: how it ended, and after how many nanoseconds (at least, if it has not)."""

    ended: str
    wall_ns: float
    is_over: bool = True

    def __str__(self) -> str:
        return f"{'' if self.is_over else 'over '}{duration(self.wall_ns)}, {self.ended}"


@dataclass(frozen=True, slots=True)
class _Lost:
    """What came of calls after a Redis was lost: of each peer the first two; of ours many at once, and for a while."""

    how: str
    peers: Mapping[str, Sequence[_Call]]
    first: _Call
    at_once: Sequence[_Call]
    for_a_while: Sequence[_Call]

    def goals(self) -> Iterator[Goal]:
        """The first call may take a while, and no other."""
        yield at_most(f"Redis {self.how}: the first call", self.first.wall_ns, _LOST_NS, duration)
        yield at_most(f"Redis {self.how}: later calls, median", self._median(), _LATER_NS, duration)
        yield at_most(
            f"Redis {self.how}: the longest later call", self._longest().wall_ns, _LOST_NS, duration
        )

    def table(self) -> Table:
        """The calls of each."""
        later = f"median {duration(self._median())}, longest {duration(self._longest().wall_ns)}"
        return Table(
            f"A Redis that {'is killed' if self.how == 'killed' else 'hangs'} while it is used:",
            ("by", "the first call", "later"),
            (
                ("here", str(self.first), f"{later}, {self._longest().ended}"),
                *(
                    (by, str(calls[0]), str(calls[-1]) if calls[1:] else "")
                    for by, calls in self.peers.items()
                ),
            ),
        )

    def _median(self) -> float:
        return median(call.wall_ns for call in self.at_once)

    def _longest(self) -> _Call:
        return max((*self.at_once, *self.for_a_while), key=lambda call: call.wall_ns)


def _lost(how: str, by: signal.Signals, scale: Scale) -> _Lost:
    """Lose a Redis that everybody is connected to, and call."""
    announce(f"call-path, Redis {how}")
    with ExitStack() as stack:
        server = stack.enter_context(_redis())
        clock = SystemClock()
        ours = stack.enter_context(Ours(Canned(HELLO), state=_guarded(server.url)))
        composed = stack.enter_context(peers_redis.Composed(peers.Answers(), server.url))
        host = urlsplit(server.url).hostname or ""
        breaker = peers_redis.breaker(stack.enter_context(Redis(host=host, port=server.port)))
        ways: Mapping[str, Callable[[], object]] = {
            "limits": composed.take,
            "pybreaker, Redis.from_url(…)": lambda: composed.pass_breaker("word"),
            "pybreaker, Redis(host=…)": lambda: breaker.call(len, "word"),
            "composed": lambda: composed("another word"),
        }
        ours.call("before")
        ours.settle()
        for run in ways.values():
            run()
        server.send(by)
        first = _timed(lambda: ours.call("first"))
        calls = scale.rounds * _MORE
        at_once = [_timed(partial(ours.call, f"at once {number}")) for number in range(calls)]
        for_a_while = []
        for number in range(calls):
            clock.sleep(_LATER_EVERY_S)
            for_a_while.append(_timed(partial(ours.call, f"later {number}")))
        return _Lost(how, _within(scale.within_s, ways), first, at_once, for_a_while)


def _timed(run: Callable[[], object]) -> _Call:
    started = perf_counter_ns()
    try:
        run()
    except (RedisError, CallError) as error:
        return _Call(f"raises {type(error).__name__}", perf_counter_ns() - started)
    return _Call("answered", perf_counter_ns() - started)


def _within(seconds: float, ways: Mapping[str, Callable[[], object]]) -> Mapping[str, Sequence[_Call]]:
    """Each way twice, side by side: some take so long that they are left behind when `seconds` are over."""
    begun = dict.fromkeys(ways, perf_counter_ns())
    ended: dict[str, list[_Call]] = {name: [] for name in ways}

    def call(name: str) -> None:
        for _ in range(_TIMES):
            begun[name] = perf_counter_ns()
            ended[name].append(_timed(ways[name]))

    threads = {name: threading.Thread(target=call, args=(name,), daemon=True) for name in ways}
    for thread in threads.values():
        thread.start()
    deadline = SystemClock().monotonic() + seconds
    for thread in threads.values():
        thread.join(max(0.0, deadline - SystemClock().monotonic()))
    calls = {}
    for name, thread in threads.items():
        done = list(ended[name])
        if thread.is_alive() and not done:
            done.append(_Call("not over yet", perf_counter_ns() - begun[name], is_over=False))
        calls[name] = done
    return calls
