"""What becomes of many calls at once, and of calls while the third party is down: counts and times, beside the peers'."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns
from typing import Final

from benchmarks import peers, peers_async
from benchmarks.goals import Section, at_most
from benchmarks.measure import Scale, announce
from benchmarks.ours import Failed, Ours
from benchmarks.parties import HELLO, Canned, trivial_policy
from benchmarks.report import Table, duration, ratio
from core.clock import SystemClock
from core.model.message import ApiRequest, ApiResponse
from core.policies.retry_budget import RetryBudget
from tests.fakes import FakeClock

_ANSWER_S: Final = 0.05
"""How long the third party takes for an answer, or to fail."""
_ANSWER_NS: Final = _ANSWER_S * 1e9
_THREADS: Final = 8
_CALLERS: Final = 50
_MOST_ROUNDS: Final = 4
_NEVER: Final = 1_000_000_000
"""A threshold that no circuit breaker reaches: what is looked at is what else there is."""

_CALLS_A_SECOND: Final = 20
_SETTLES_AFTER_S: Final = 10

_THREADS_LONGER: Final = 1.05
_STAMPEDE_LONGER: Final = 1.2
_AMPLIFIED: Final = 1.1


def measure(scale: Scale) -> Section:
    """The tables, and the goals on them."""
    rounds = min(scale.rounds, _MOST_ROUNDS)
    side_by_side = _side_by_side(rounds)
    healthy, failing = _stampede(rounds, is_ill=False), _stampede(max(1, rounds // 2), is_ill=True)
    here, there = _retries_in_an_outage(scale)
    goals = (
        at_most(
            f"{_THREADS} threads through one integration: × the time of one answer",
            side_by_side[_HERE] / _ANSWER_NS,
            _THREADS_LONGER,
            ratio,
        ),
        at_most(f"{_CALLERS} callers, well: calls that reach the provider", healthy[0].asked, 1, _count),
        at_most(f"{_CALLERS} callers, ill: calls that reach the provider", failing[0].asked, 1, _count),
        at_most(
            f"{_CALLERS} callers, ill: all have failed after × the time of one answer",
            failing[0].wall_ns / _ANSWER_NS,
            _STAMPEDE_LONGER,
            ratio,
        ),
        at_most("attempts for each call, 10 s into a full outage", here, _AMPLIFIED, ratio),
    )
    tables = (
        Table(
            f"{_THREADS} threads call at once, each with a question of its own; an answer takes {duration(_ANSWER_NS)}:",
            ("by", "until all are answered", "× one answer"),
            tuple((by, duration(wall), ratio(wall / _ANSWER_NS)) for by, wall in side_by_side.items()),
        ),
        Table(
            f"{_CALLERS} callers ask the same at once, and nobody has the answer yet (no retries, no circuit that opens):",
            (
                "by",
                "calls, provider well",
                "until all are answered",
                "calls, provider ill",
                "until all have failed",
            ),
            tuple(
                (
                    well.by,
                    _count(well.asked),
                    duration(well.wall_ns),
                    _count(ill.asked),
                    duration(ill.wall_ns),
                )
                for well, ill in zip(healthy, failing, strict=True)
            ),
        ),
        Table(
            f"The provider is down for good, {_CALLS_A_SECOND} calls a second come, and no circuit breaker is there. "
            f"What reaches the provider for each call, from {_SETTLES_AFTER_S} s on:",
            ("by", "attempts"),
            (("here", ratio(here)), ("tenacity + limits", ratio(there))),
        ),
    )
    return Section(tables, goals)


_HERE: Final = "here"
_COMPOSED: Final = "cachetools + tenacity + limits + pybreaker"


def _count(number: float) -> str:
    return f"{number:.0f}"


class _SlowAnswers:
    """A peer's third party that takes its time, and then answers or fails."""

    def __init__(self, *, is_ill: bool) -> None:
        self._is_ill = is_ill
        self._lock = threading.Lock()
        self.asked = 0

    def __call__(self, word: str) -> str:  # noqa: ARG002 -- whatever the word, the answer is the same.
        with self._lock:
            self.asked += 1
        SystemClock().sleep(_ANSWER_S)
        return self._answer()

    async def later(self, word: str) -> str:  # noqa: ARG002 -- as above.
        """The same, for an event loop."""
        self.asked += 1
        await asyncio.sleep(_ANSWER_S)
        return self._answer()

    def _answer(self) -> str:
        if self._is_ill:
            raise peers.Unavailable
        return "hello"


class _Slow(Canned):
    """The same third party behind a transport."""

    def __init__(self, *, is_ill: bool) -> None:
        super().__init__(HELLO, _NEVER if is_ill else 0)
        self._lock = threading.Lock()

    def send(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        with self._lock:
            answer = super().send(request, timeout_s)
        SystemClock().sleep(_ANSWER_S)
        return answer

    async def asend(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        answer = super().send(request, timeout_s)
        await asyncio.sleep(_ANSWER_S)
        return answer


_CAUGHT: Final = (peers.Unavailable, peers.Refused, peers_async.Refused, Failed)


def _at_once(run: Callable[[str], object], words: Sequence[str]) -> float:
    """Have each word asked for by a thread of its own, all at once; nanoseconds until the last has its answer."""
    gate = threading.Barrier(len(words) + 1)

    def ask(word: str) -> None:
        gate.wait()
        try:
            run(word)
        except _CAUGHT:
            return

    threads = [threading.Thread(target=ask, args=(word,), daemon=True) for word in words]
    for thread in threads:
        thread.start()
    started = perf_counter_ns()
    gate.wait()
    for thread in threads:
        thread.join()
    return perf_counter_ns() - started


async def _at_once_in_loop(run: Callable[[str], Awaitable[object]], words: Sequence[str]) -> float:
    """The same with tasks of one loop."""
    started = perf_counter_ns()
    ended = await asyncio.gather(*(run(word) for word in words), return_exceptions=True)
    taken = perf_counter_ns() - started
    for end in ended:
        if isinstance(end, BaseException) and not isinstance(end, _CAUGHT):
            raise end
    return taken


def _side_by_side(rounds: int) -> dict[str, float]:
    announce("call-path, threads side by side")
    clock = SystemClock()
    with Ours(_Slow(is_ill=False), clock=clock) as ours:
        composed = peers.composed(_SlowAnswers(is_ill=False))
        taken: dict[str, list[float]] = {_HERE: [], _COMPOSED: []}
        for number in range(rounds):
            words = [f"{number} of thread {thread}" for thread in range(_THREADS)]
            for by, run in ((_HERE, ours.call), (_COMPOSED, composed)):
                taken[by].append(_at_once(run, words))
    return {by: median(walls) for by, walls in taken.items()}


@dataclass(frozen=True, slots=True)
class _Stampede:
    """How often the third party was asked, and how long it took until everybody knew."""

    by: str
    asked: float
    wall_ns: float


def _stampede(rounds: int, *, is_ill: bool) -> list[_Stampede]:
    announce(f"call-path, stampede on a provider that is {'ill' if is_ill else 'well'}")
    kinds: Sequence[tuple[str, Callable[[], tuple[int, float]]]] = (
        (_HERE, lambda: _stampede_here(is_ill=is_ill)),
        ("cachetools (condition) + …", lambda: _stampede_there(is_ill=is_ill, is_single=True)),
        ("cachetools (lock) + …", lambda: _stampede_there(is_ill=is_ill, is_single=False)),
        ("here, in an event loop", lambda: asyncio.run(_stampede_here_in_loop(is_ill=is_ill))),
        (
            "cachetools + tenacity + limits.aio + purgatory",
            lambda: asyncio.run(_stampede_there_in_loop(is_ill=is_ill)),
        ),
    )
    found = []
    for by, run in kinds:
        ended = [run() for _ in range(rounds)]
        found.append(_Stampede(by, max(asked for asked, _ in ended), median(wall for _, wall in ended)))
    return found


_SAME: Final = ["the same"] * _CALLERS
_NO_RETRY: Final = trivial_policy(retries=0, threshold=_NEVER)


def _stampede_here(*, is_ill: bool) -> tuple[int, float]:
    transport = _Slow(is_ill=is_ill)
    with Ours(transport, policy=_NO_RETRY, clock=SystemClock()) as ours:
        wall = _at_once(ours.call, _SAME)
    return transport.sent, wall


def _stampede_there(*, is_ill: bool, is_single: bool) -> tuple[int, float]:
    answers = _SlowAnswers(is_ill=is_ill)
    wall = _at_once(peers.composed(answers, retries=0, threshold=_NEVER, is_single=is_single), _SAME)
    return answers.asked, wall


async def _stampede_here_in_loop(*, is_ill: bool) -> tuple[int, float]:
    transport = _Slow(is_ill=is_ill)
    with Ours(transport, policy=_NO_RETRY, clock=SystemClock()) as ours:
        wall = await _at_once_in_loop(ours.acall, _SAME)
    return transport.sent, wall


async def _stampede_there_in_loop(*, is_ill: bool) -> tuple[int, float]:
    answers = _SlowAnswers(is_ill=is_ill)
    composed = peers_async.composed(answers.later, retries=0, threshold=_NEVER)
    wall = await _at_once_in_loop(composed, _SAME)
    return answers.asked, wall


class _Timetable(FakeClock):
    """A clock that only the timetable of the calls moves: each waits for its retries beside the others."""

    def sleep(self, seconds: float) -> None:
        """Wait, while nobody else notices."""


def _retries_in_an_outage(scale: Scale) -> tuple[float, float]:
    """Attempts for each call once the outage has lasted a while: here, and with tenacity."""
    announce("call-path, retries in an outage")
    calls_before = _SETTLES_AFTER_S * _CALLS_A_SECOND
    calls = calls_before + scale.calls * _CALLS_A_SECOND
    clock, transport, answers = _Timetable(), Canned(HELLO, _NEVER), peers.Answers(_NEVER)
    there = peers.with_tenacity(peers.guarded(answers, None))
    before = (0, 0)
    by = trivial_policy(threshold=None, budget=RetryBudget(), has_cache=False)
    with Ours(transport, policy=by, clock=clock) as ours:
        for number in range(calls):
            if number == calls_before:
                before = transport.sent, answers.asked
            for run in (ours.call, there):
                try:
                    run(f"word {number}")
                except _CAUGHT:
                    continue
            clock.advance(1 / _CALLS_A_SECOND)
    counted = calls - calls_before
    return (transport.sent - before[0]) / counted, (answers.asked - before[1]) / counted
