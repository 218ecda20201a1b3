"""What one would assemble by hand for several processes: the same packages, sharing a Redis."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter
from pybreaker import STATE_CLOSED, CircuitBreaker, CircuitRedisStorage
from redis import Redis

from benchmarks.parties import PER_HOUR, PER_MINUTE, RECOVERY_S, RETRIES, THRESHOLD, TTL_S
from benchmarks.peers import CIRCUIT, Ask, LimitReached, with_tenacity

_PREFIX: Final = "peers"


class Composed:
    """GET, tenacity, pybreaker and limits on Redis, SET; every client as its package makes it by default."""

    def __init__(self, ask: Ask, url: str, retries: int = RETRIES) -> None:
        self._redis = Redis.from_url(url)
        self._storage = RedisStorage(url, key_prefix=_PREFIX)
        self._limiter = FixedWindowRateLimiter(self._storage)
        self._minute = RateLimitItemPerMinute(PER_MINUTE)
        self._hour = RateLimitItemPerHour(PER_HOUR)
        self._breaker = breaker(self._redis)
        self._ask = ask
        self._attempts = with_tenacity(self._guarded, retries)

    def __call__(self, word: str) -> str:
        kept = self._redis.get(f"{_PREFIX}:{word}")
        if isinstance(kept, bytes):
            return kept.decode()
        answer = self._attempts(word)
        self._redis.set(f"{_PREFIX}:{word}", answer, ex=TTL_S)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._redis.close()
        self._storage.storage.close()

    def take(self) -> None:
        """The limits alone: a token of each window. Raises `LimitReached`."""
        if not (self._limiter.hit(self._minute, CIRCUIT) and self._limiter.hit(self._hour, CIRCUIT)):
            raise LimitReached

    def pass_breaker(self, word: str) -> str:
        """The circuit alone."""
        return self._breaker.call(self._ask, word)

    def _guarded(self, word: str) -> str:
        return self._breaker.call(self._limited, word)

    def _limited(self, word: str) -> str:
        self.take()
        return self._ask(word)


def breaker(client: Redis) -> CircuitBreaker:
    """`pybreaker` on Redis."""
    storage = CircuitRedisStorage(STATE_CLOSED, client, namespace=_PREFIX)
    return CircuitBreaker(
        fail_max=THRESHOLD, reset_timeout=RECOVERY_S, exclude=[LimitReached], state_storage=storage
    )
