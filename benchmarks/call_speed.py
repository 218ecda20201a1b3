"""How fast a call is in the memory of one process, beside the assembled one; and what other threads do for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from time import process_time_ns, thread_time_ns
from typing import Final

from benchmarks import peers, peers_async
from benchmarks.goals import Goal, Section, at_least, at_most
from benchmarks.measure import Case, Measured, Scale, announce, interleaved
from benchmarks.ours import Failed, Ours, Refused
from benchmarks.parties import HELLO, Canned
from benchmarks.report import Table, duration, ratio
from core.clock import SystemClock

MISS: Final = "a miss"
_HIT: Final = "a hit in this process"
_RETRIED: Final = "two failures, then an answer"
_REFUSED: Final = "refused by an open circuit"

_COMPOSED: Final = "cachetools + tenacity + limits + pybreaker"
_STAMINA: Final = "the same with stamina"
_HELPER: Final = "a TTLCache under a lock"
_CACHED: Final = "cachetools.cached(lock=…)"
_BREAKER: Final = "pybreaker alone"
_HERE_IN_LOOP: Final = "here, in an event loop"
_LOOP: Final = "cachetools + tenacity + limits.aio + purgatory"

_MISS_FASTER: Final = 5.0
_HIT_SLOWER: Final = 1.3
_RETRY_FASTER: Final = 4.0
_REFUSAL_NS: Final = 3_000.0

_MORE: Final = 20
"""So many times the calls of a round of other benchmarks: a call here is short."""
_FEWER: Final = 5
"""What takes long is measured with so many times fewer calls."""
_ALWAYS: Final = 1_000_000_000
_SWEPT_S: Final = 0.05
"""Within this time limits has swept what has expired, and its thread has ended."""
_SAYING_NO: Final = (peers.Unavailable, peers.Refused, peers_async.Refused, Failed, Refused)


@dataclass(frozen=True, slots=True)
class Speeds:
    """What was measured of calls that wait for nothing. `others` is the CPU of other threads for one miss, in ns."""

    sync: Mapping[str, Measured]
    event_loop: Mapping[str, Measured]
    others: Mapping[str, float]

    @property
    def section(self) -> Section:
        """The tables, and the goals on them."""
        in_all = {
            "here": self.sync[MISS],
            _COMPOSED: self.sync[_of(MISS, _COMPOSED)],
            _HERE_IN_LOOP: self.event_loop[MISS],
            _LOOP: self.event_loop[_of(MISS, _LOOP)],
        }
        return Section(
            (
                _beside("In the memory of one process, synchronous", self.sync),
                _beside("The same in an event loop", self.event_loop),
                _in_all({name: (one.cpu_ns, self.others[name]) for name, one in in_all.items()}),
            ),
            tuple(_goals(self.sync, self.event_loop)),
        )


def measure(scale: Scale) -> Speeds:
    """Every call that waits for nothing."""
    with ExitStack() as stack:
        loop = stack.enter_context(asyncio.Runner()).get_loop()
        cases = _sync_cases(stack, scale)
        sync = interleaved("call-path, in process", cases, scale.rounds, scale.within_s)
        cases = _async_cases(stack, loop, scale)
        event_loop = interleaved("call-path, event loop", cases, scale.rounds, scale.within_s)
        return Speeds(sync, event_loop, _others(stack, loop, scale))


def _of(case: str, by: str) -> str:
    """The name of a peer's case."""
    return f"{case}: {by}"


def _goals(sync: Mapping[str, Measured], event_loop: Mapping[str, Measured]) -> Iterator[Goal]:
    def cpu(case: str, by: str | None = None, among: Mapping[str, Measured] = sync) -> float:
        return among[_of(case, by) if by else case].cpu_ns

    miss = cpu(MISS, _COMPOSED) / cpu(MISS)
    yield at_least(f"{MISS}: × as fast as composed", miss, _MISS_FASTER, ratio)
    miss = cpu(MISS, _LOOP, event_loop) / cpu(MISS, among=event_loop)
    yield at_least(f"{MISS} in an event loop: × as fast as composed", miss, _MISS_FASTER, ratio)
    hit = cpu(_HIT) / cpu(_HIT, _HELPER)
    yield at_most(f"{_HIT}: × the time of {_HELPER}", hit, _HIT_SLOWER, ratio)
    retried = cpu(_RETRIED, _COMPOSED) / cpu(_RETRIED)
    yield at_least(f"{_RETRIED}: × as fast as composed", retried, _RETRY_FASTER, ratio)
    yield at_most(f"{_REFUSED}, raised and caught", cpu(_REFUSED), _REFUSAL_NS, duration)


class _Sides:
    """All clients of one table. What they leave to other threads is done before anybody's next round."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._ours: list[Ours] = []

    def new(self, failures: int) -> Ours:
        """One more, whose third party gives so many failures before each answer."""
        ours = self._stack.enter_context(Ours(Canned(HELLO, failures)))
        self._ours.append(ours)
        return ours

    def settle(self) -> None:
        """Wait until nothing is left to do."""
        for ours in self._ours:
            ours.settle()


def _sync_cases(stack: ExitStack, scale: Scale) -> list[Case]:
    many = scale.calls * _MORE
    few = max(1, many // _FEWER)
    sides = _Sides(stack)
    helper = peers.Helper()
    helper.put(_word(0), "hello")
    ill, alone = peers.Answers(_ALWAYS), peers.breaker()
    runs: Sequence[tuple[str, Callable[[int], object], int]] = (
        (MISS, _each(sides.new(0).call), many),
        (_of(MISS, _COMPOSED), _each(peers.composed(peers.Answers())), many),
        (_of(MISS, _STAMINA), _each(peers.composed_with_stamina(peers.Answers())), many),
        (_HIT, _same(sides.new(0).call), many),
        (_of(_HIT, _CACHED), _same(peers.composed(peers.Answers())), many),
        (_of(_HIT, _HELPER), _same(helper.get), many),
        (_RETRIED, _each(sides.new(2).call), few),
        (_of(_RETRIED, _COMPOSED), _each(peers.composed(peers.Answers(2))), few),
        (_REFUSED, _each(_caught(sides.new(_ALWAYS).call)), many),
        (_of(_REFUSED, _COMPOSED), _each(_caught(peers.composed(ill))), many),
        (_of(_REFUSED, _BREAKER), _each(_caught(lambda word: alone.call(ill, word))), many),
    )
    return [Case(name, run, calls, before=sides.settle) for name, run, calls in runs]


def _word(number: int) -> str:
    return f"word {number}"


def _each(run: Callable[[str], object]) -> Callable[[int], object]:
    """Another word every time."""
    return lambda number: run(_word(number))


def _same(run: Callable[[str], object]) -> Callable[[int], object]:
    """The same word every time, made as if it were another."""
    return lambda _: run(_word(0))


def _caught(run: Callable[[str], object]) -> Callable[[str], object]:
    def caught(word: str) -> object:
        try:
            return run(word)
        except _SAYING_NO as error:
            return error

    return caught


def _async_cases(stack: ExitStack, loop: asyncio.AbstractEventLoop, scale: Scale) -> list[Case]:
    many = scale.calls * _MORE
    few = max(1, many // _FEWER)
    sides, cases = _Sides(stack), []
    for case, failures, calls in (
        (MISS, 0, many),
        (_HIT, 0, many),
        (_RETRIED, 2, few),
        (_REFUSED, _ALWAYS, few),
    ):
        # What belongs to a loop is made in it.
        peer = loop.run_until_complete(_composed(failures))
        for name, run in ((case, sides.new(failures).acall), (_of(case, _LOOP), peer)):
            batches = _batches(loop, run, calls, is_same=case == _HIT)
            cases.append(Case(name, batches, units=calls, before=sides.settle))
    return cases


async def _composed(failures: int) -> peers_async.Ask:
    return peers_async.composed(peers_async.AsyncAnswers(failures))


def _batches(
    loop: asyncio.AbstractEventLoop, run: Callable[[str], Awaitable[object]], calls: int, *, is_same: bool
) -> Callable[[int], object]:
    """So many calls one after the other, as one task of the loop."""

    async def batch(first: int) -> None:
        for number in range(first, first + calls):
            try:
                await run(_word(0 if is_same else number))
            except _SAYING_NO:
                continue

    return lambda number: loop.run_until_complete(batch(number * calls))


def _others(stack: ExitStack, loop: asyncio.AbstractEventLoop, scale: Scale) -> Mapping[str, float]:
    """The CPU of other threads for one miss, in nanoseconds: that of the process without that of the caller's."""
    announce("call-path, other threads")
    calls = scale.calls * _MORE
    ours, in_loop = stack.enter_context(Ours(Canned(HELLO))), stack.enter_context(Ours(Canned(HELLO)))
    composed = loop.run_until_complete(_composed(0))
    runs: Sequence[tuple[str, Callable[[int], object], Callable[[], object]]] = (
        ("here", _repeated(_each(ours.call), calls), ours.settle),
        (_COMPOSED, _repeated(_each(peers.composed(peers.Answers())), calls), _swept),
        (_HERE_IN_LOOP, _batches(loop, in_loop.acall, calls, is_same=False), in_loop.settle),
        (_LOOP, _batches(loop, composed, calls, is_same=False), _swept),
    )
    used: dict[str, list[float]] = {name: [] for name, _, _ in runs}
    for number in range(min(scale.rounds, _FEWER)):
        for name, run, settle in runs:
            settle()
            own, all_threads = thread_time_ns(), process_time_ns()
            run(number)
            settle()
            used[name].append((process_time_ns() - all_threads - (thread_time_ns() - own)) / calls)
    return {name: median(figures) for name, figures in used.items()}


def _repeated(run: Callable[[int], object], calls: int) -> Callable[[int], object]:
    def repeated(number: int) -> None:
        for each in range(number * calls, (number + 1) * calls):
            run(each)

    return repeated


def _swept() -> None:
    SystemClock().sleep(_SWEPT_S)


def _beside(title: str, measured: Mapping[str, Measured]) -> Table:
    """What is done here, beside each that does the same."""
    rows = []
    for name, peer in measured.items():
        case, _, by = name.partition(": ")
        if not by:
            continue
        here = measured[case]
        rows.append(
            (
                case,
                by,
                ratio(peer.cpu_ns / here.cpu_ns),
                duration(here.cpu_ns),
                duration(peer.cpu_ns),
                _clock(here),
                _clock(peer),
            )
        )
    head = ("case", "beside", "× as fast", "CPU here", "CPU there", "clock here", "clock there")
    return Table(f"{title} (by the clock: median, least):", head, tuple(rows))


def _clock(measured: Measured) -> str:
    return f"{duration(measured.wall_ns)}, {duration(min(measured.wall))}"


def _in_all(known: Mapping[str, tuple[float, float]]) -> Table:
    """Each with the CPU of its own thread and that of others, which is none where the measure is below zero."""
    rows = []
    for name, (own, measured) in known.items():
        other = max(0.0, measured)
        rows.append((name, duration(own), duration(other), duration(own + other)))
    return Table(
        "What a miss costs the process in all. Left to other threads is, here, the record (made, redacted, written as a "
        "line, counted); there, the sweeping of limits:",
        ("a miss", "CPU of the caller's thread", "of other threads", "in all"),
        tuple(rows),
    )
