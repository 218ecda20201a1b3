"""What one would assemble by hand: the well-known packages around the same call, in the memory of one process.

The order is the one that everybody advises: kept answer, retry, circuit, limits, send. Each package is used as its
documentation shows it, with the cheapest of its ways where it has several.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Lock
from typing import Final

import stamina
import stamina.instrumentation
from cachetools import TTLCache, cached
from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from pybreaker import CircuitBreaker, CircuitBreakerError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from benchmarks.parties import LONGEST_WAIT_S, PER_HOUR, PER_MINUTE, RECOVERY_S, RETRIES, THRESHOLD, TTL_S

Ask = Callable[[str], str]
"""The third party: a word goes out, an answer comes back. Raises `Unavailable`."""

ENTRIES: Final = 10_000
CIRCUIT: Final = "trivial"

Refused = CircuitBreakerError
"""What an open circuit raises."""


class Unavailable(Exception):
    """The third party is ill."""


class LimitReached(Exception):
    """One of the two limits is used up."""


class Answers:
    """A third party that costs nothing: after so many failures an answer, and so on in turn."""

    def __init__(self, failures: int = 0) -> None:
        self._turn = failures + 1
        self.asked = 0

    def __call__(self, word: str) -> str:  # noqa: ARG002 -- whatever the word, the answer is the same.
        self.asked += 1
        if self.asked % self._turn:
            raise Unavailable
        return "hello"


def no_wait(_seconds: float) -> None:
    """Wait for a retry, and take no time for it."""


class Limits:
    """`limits` with its cheapest strategy, fixed windows: a minute and an hour, one after the other."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._minute = RateLimitItemPerMinute(PER_MINUTE)
        self._hour = RateLimitItemPerHour(PER_HOUR)

    def take(self) -> None:
        """Take a token of each window. Raises `LimitReached`."""
        if not (self._limiter.hit(self._minute, CIRCUIT) and self._limiter.hit(self._hour, CIRCUIT)):
            raise LimitReached


def breaker(threshold: int = THRESHOLD) -> CircuitBreaker:
    """`pybreaker`, told that a limit of our own says nothing about the third party."""
    return CircuitBreaker(fail_max=threshold, reset_timeout=RECOVERY_S, exclude=[LimitReached])


def guarded(ask: Ask, circuit: CircuitBreaker | None) -> Ask:
    """One attempt: circuit (if there is one), limits, send."""
    limits = Limits()

    def attempt(word: str) -> str:
        limits.take()
        return ask(word)

    if circuit is None:
        return attempt
    return lambda word: circuit.call(attempt, word)


def with_tenacity(attempt: Ask, retries: int = RETRIES) -> Ask:
    """`tenacity` around an attempt. It works out how long to wait, and the wait takes no time."""
    return retry(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_attempt(retries + 1),
        wait=wait_random_exponential(max=LONGEST_WAIT_S),
        sleep=no_wait,
        reraise=True,
    )(attempt)


def with_stamina(attempt: Ask, retries: int = RETRIES) -> Ask:
    """`stamina` around an attempt, its hooks off. Its waits are none, and cost what a sleep of nothing costs."""
    stamina.instrumentation.set_on_retry_hooks([])
    return stamina.retry(
        on=Unavailable, attempts=retries + 1, timeout=None, wait_initial=0, wait_max=0, wait_jitter=0
    )(attempt)


def kept(ask: Ask) -> Ask:
    """`cachetools` around a call: one lock, and so as many calls for one word as come before its answer."""
    answers: TTLCache[object, str] = TTLCache(ENTRIES, TTL_S)
    return cached(answers, lock=Lock())(ask)


def kept_once(ask: Ask) -> Ask:
    """`cachetools` around a call, told to let one caller of a word ask and the others wait."""
    answers: TTLCache[object, str] = TTLCache(ENTRIES, TTL_S)
    return cached(answers, condition=Condition())(ask)


def composed(ask: Ask, *, retries: int = RETRIES, threshold: int = THRESHOLD, is_single: bool = False) -> Ask:
    """All of it: cachetools, tenacity, pybreaker, limits."""
    return (kept_once if is_single else kept)(with_tenacity(guarded(ask, breaker(threshold)), retries))


def composed_with_stamina(ask: Ask) -> Ask:
    """The same with stamina in the place of tenacity."""
    return kept(with_stamina(guarded(ask, breaker())))


class Helper:
    """The least that a cache of answers can be: a `TTLCache`, looked into under a lock."""

    def __init__(self) -> None:
        self._answers: TTLCache[str, str] = TTLCache(ENTRIES, TTL_S)
        self._lock = Lock()

    def get(self, word: str) -> str | None:
        with self._lock:
            return self._answers.get(word)

    def put(self, word: str, answer: str) -> None:
        with self._lock:
            self._answers[word] = answer
