"""The store of any number of machines: Redis or Valkey, where each decision is one Lua script.

Time is the server's own, so machines whose clocks differ agree. One circuit is one key, which expires when it
is not used. Cached values are plain keys that the server forgets by itself; they never pass through a script.

A server that is away is found out fast (no connection within 50 ms, no answer within 200 ms, nothing is tried
twice) and is used again as soon as it is back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from core.clock import Clock
from core.errors import StorageError
from core.policies.admission import (
    Admission,
    AdmissionPolicy,
    Granted,
    ProviderState,
    RefusedByCircuit,
    RefusedByLimiter,
    Settlement,
)
from core.policies.circuit_breaker import LONGEST_WAIT_US, BreakerPolicy, CircuitBreaker
from core.policies.rate_limit import HOUR_US, LimitPolicy, RateLimiter, TokenBucket
from core.state.base import Settled, Snapshot
from core.state.pattern import redis_glob

CONNECT_SECONDS = 0.05
ANSWER_SECONDS = 0.2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CIRCUIT_KEPT_MS = 86_400_000
_SCAN_COUNT = 500
_FIGURES = 8
_NO_BREAKER = ("0", 0, 0, 0)
_NO_LIMITS = ("0", 0, 0, 0, 0, 0, 0)

_Argument = str | int
_Reply = list[int | bytes]


class _Script:
    """A script of ours: what it says, and the name by which a server that has it knows it."""

    def __init__(self, file: str) -> None:
        self.text = resources.files("core.state").joinpath(file).read_text("utf-8")
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_ADMIT = _Script("admit.lua")
_SETTLE = _Script("settle.lua")


class RedisState:
    """Shared state of all machines that use the same server.

    Takes an address, or a client that was made with its own time-outs (as bytes: without `decode_responses`).
    With a `clock`, circuits and limits live by that instead of the server's time. Raises `StorageError` when
    the server cannot be used.
    """

    def __init__(self, client_or_url: Redis | str, clock: Clock | None = None) -> None:
        self._client = connect(client_or_url) if isinstance(client_or_url, str) else client_or_url
        self._where = _where(self._client)
        self._clock = clock

    def admit(self, circuit: str, policy: AdmissionPolicy, max_wait_us: int) -> Admission:
        reply = self._run(
            _ADMIT,
            circuit,
            *_breaker_arguments(policy.breaker),
            *_limit_arguments(policy.limits, max_wait_us),
        )
        match [int(figure) for figure in reply]:
            case [0, generation, is_probe, wait_us]:
                return Granted(generation, bool(is_probe), wait_us)
            case [1, retry_after_us]:
                return RefusedByCircuit(retry_after_us)
            case [2, retry_after_us]:
                return RefusedByLimiter(retry_after_us)
            case unknown:
                raise StorageError(f"Redis at {self._where} answered an admission with {unknown}.")

    def settle(
        self,
        circuit: str,
        policy: AdmissionPolicy,
        granted: Granted,
        settlement: Settlement,
        *,
        pause_us: int = 0,
    ) -> Settled:
        has_breaker, threshold = ("1", policy.breaker.failure_threshold) if policy.breaker else ("0", 0)
        before, after = self._run(
            _SETTLE,
            circuit,
            has_breaker,
            threshold,
            granted.generation,
            int(granted.is_probe),
            settlement.value,
            min(pause_us, HOUR_US),
        )
        return Settled.between(_state(cast("bytes", before)), _state(cast("bytes", after)))

    def peek(self, circuit: str) -> Snapshot:
        with self._asking(), self._client.pipeline() as pipeline:
            pipeline.time()
            pipeline.get(_circuit_key(circuit))
            (seconds, microseconds), kept = pipeline.execute()
        now = seconds * 1_000_000 + microseconds if self._clock is None else _microseconds(self._clock)
        return Snapshot(_state(kept or b""), now)

    def read(self, key: str) -> bytes | None:
        with self._asking():
            return cast("bytes | None", self._client.get(_entry_key(key)))

    def write(self, key: str, value: bytes, keep_seconds: float) -> None:
        milliseconds = int(keep_seconds * 1000)
        with self._asking():
            if milliseconds > 0:
                self._client.set(_entry_key(key), value, px=milliseconds)
            else:
                self._client.delete(_entry_key(key))

    def delete(self, key: str) -> bool:
        with self._asking():
            return bool(self._client.delete(_entry_key(key)))

    def delete_pattern(self, pattern: str) -> int:
        """Forget every key that matches, a few at a time, so that the server goes on serving others.

        What is written meanwhile may or may not be forgotten.
        """
        glob = _entry_key(redis_glob(pattern))
        deleted, cursor = 0, None
        with self._asking():
            while cursor != 0:
                cursor, keys = self._client.scan(cursor or 0, match=glob, count=_SCAN_COUNT)
                deleted += int(self._client.unlink(*keys)) if keys else 0
        return deleted

    def close(self) -> None:
        self._client.close()

    def _run(self, script: _Script, circuit: str, *arguments: _Argument) -> _Reply:
        now = "" if self._clock is None else str(_microseconds(self._clock))
        words = (_circuit_key(circuit), now, _CIRCUIT_KEPT_MS, *arguments)
        with self._asking():
            try:
                reply = self._client.evalsha(script.digest, 1, *words)
            except NoScriptError:
                # The server was restarted, or is another one than before.
                reply = self._client.eval(script.text, 1, *words)
        return cast("_Reply", reply)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except RedisError as error:
            raise StorageError(
                f"Redis at {self._where} cannot be used: {error}. Check BONGSU_REDIS_URL and the server."
            ) from error


def connect(url: str) -> Redis:
    """A client that fails fast and tries nothing twice: what a broken store costs is for its caller to decide."""
    client: Redis = Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
        # Neither RESP3 nor naming ourselves buys us anything, and each costs a round trip when connecting.
        protocol=2,
        driver_info=None,
    )
    return client


def _where(client: Redis) -> str:
    """The server's address for people, without the password."""
    options = client.get_connection_kwargs()
    return str(options.get("path") or f"{options.get('host')}:{options.get('port')}")


def _circuit_key(circuit: str) -> str:
    return f"bongsu:{{{circuit}}}:circuit"


def _entry_key(key: str) -> str:
    return f"bongsu:cache:{key}"


def _microseconds(clock: Clock) -> int:
    return (clock.now() - _EPOCH) // timedelta(microseconds=1)


def _breaker_arguments(policy: BreakerPolicy | None) -> tuple[_Argument, ...]:
    if policy is None:
        return _NO_BREAKER
    return "1", policy.recovery_us, policy.probe_lease_us, LONGEST_WAIT_US


def _limit_arguments(policy: LimitPolicy | None, max_wait_us: int) -> tuple[_Argument, ...]:
    if policy is None:
        return _NO_LIMITS
    limiter = RateLimiter.of(policy, 0, 0, 0)
    patience = min(policy.max_wait_us, max_wait_us)
    return (
        "1",
        policy.max_wait_us,
        patience,
        *_bucket_arguments(limiter.minute),
        *_bucket_arguments(limiter.hour),
    )


def _bucket_arguments(bucket: TokenBucket) -> tuple[int, int]:
    return bucket.capacity, bucket.interval_us


def _state(text: bytes) -> ProviderState:
    """The state that a script wrote, where `-` is no time. Anything else is a circuit that nothing is known of."""
    figures = text.split(b" ")
    if len(figures) != _FIGURES:
        return ProviderState()
    failures, opened_at, probe_until, generation, *rest = (
        None if figure == b"-" else int(figure) for figure in figures
    )
    breaker = CircuitBreaker(failures or 0, opened_at, probe_until, generation or 0)
    return ProviderState(breaker, *(figure or 0 for figure in rest))
