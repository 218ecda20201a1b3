"""What one would assemble by hand for an event loop: cachetools, tenacity, purgatory and limits.aio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cachetools import TTLCache
from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from benchmarks.parties import LONGEST_WAIT_S, PER_HOUR, PER_MINUTE, RECOVERY_S, RETRIES, THRESHOLD, TTL_S
from benchmarks.peers import CIRCUIT, ENTRIES, Answers, LimitReached, Unavailable

Ask = Callable[[str], Awaitable[str]]
"""The third party. Raises `benchmarks.peers.Unavailable`."""

Refused = OpenedState
"""What an open circuit raises."""


class AsyncAnswers:
    """A third party that costs nothing, as `benchmarks.peers.Answers`."""

    def __init__(self, failures: int = 0) -> None:
        self._answers = Answers(failures)

    async def __call__(self, word: str) -> str:
        return self._answers(word)


async def no_wait(_seconds: float) -> None:
    """Wait for a retry, and take no time for it."""


class Limits:
    """`limits.aio` with fixed windows: a minute and an hour, one after the other."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._minute = RateLimitItemPerMinute(PER_MINUTE)
        self._hour = RateLimitItemPerHour(PER_HOUR)

    async def take(self) -> None:
        """Take a token of each window. Raises `LimitReached`."""
        if not (
            await self._limiter.hit(self._minute, CIRCUIT) and await self._limiter.hit(self._hour, CIRCUIT)
        ):
            raise LimitReached


def guarded(ask: Ask, threshold: int = THRESHOLD) -> Ask:
    """One attempt: circuit, limits, send."""
    limits = Limits()
    circuits = AsyncCircuitBreakerFactory(threshold, RECOVERY_S, exclude=[LimitReached])

    async def attempt(word: str) -> str:
        async with await circuits.get_breaker(CIRCUIT):
            await limits.take()
            return await ask(word)

    return attempt


def composed(ask: Ask, *, retries: int = RETRIES, threshold: int = THRESHOLD) -> Ask:
    """All of it. An event loop needs no lock around its cache, and nothing keeps two callers from asking the same."""
    answers: TTLCache[str, str] = TTLCache(ENTRIES, TTL_S)
    attempts = retry(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_attempt(retries + 1),
        wait=wait_random_exponential(max=LONGEST_WAIT_S),
        sleep=no_wait,
        reraise=True,
    )(guarded(ask, threshold))

    async def call(word: str) -> str:
        try:
            return answers[word]
        except KeyError:
            answer = answers[word] = await attempts(word)
            return answer

    return call
