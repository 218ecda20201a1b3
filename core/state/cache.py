"""The cache of answers: what a provider said, by whom and when, kept in any store.

An answer is fresh strictly before its time to live is over. It is kept for `stale_seconds` beyond that, so that
it can stand in when the provider fails. What cannot be understood when it is read (another version's, damaged,
planted) is a miss and never an error.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from core.clock import Clock
from core.model.message import ApiResponse, Pairs
from core.state.base import StateStore

MAX_BYTES: Final = 256 * 1024
"""The largest answer that is kept, before compression."""

_COMPRESSED_FROM = 4096
_PLAIN = b"bongsu-1 "
_COMPRESSED = b"bongsu-1z"
_MARK = len(_PLAIN)
_LENGTH = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCKS_DIFFER_SECONDS = 60


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer that was kept: what `provider` said at `stored_at` (aware, UTC)."""

    response: ApiResponse
    provider: str
    stored_at: datetime
    ttl_seconds: float
    stale_seconds: float

    def age(self, now: datetime) -> float:
        """Seconds since the provider gave it; 0 when another machine's clock is a little ahead of ours."""
        return max(0.0, (now - self.stored_at).total_seconds())

    def is_fresh(self, now: datetime) -> bool:
        """Whether it may be served as it is: strictly before its time to live is over.

        An answer from the future is not fresh (the clock was set back), unless machines may differ by so much.
        """
        return -_CLOCKS_DIFFER_SECONDS <= (now - self.stored_at).total_seconds() < self.ttl_seconds

    def is_usable(self, now: datetime) -> bool:
        """Whether it may at least stand in for a provider that fails, marked as stale."""
        return (now - self.stored_at).total_seconds() < self.ttl_seconds + self.stale_seconds


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What came of the lookups of one process.

    A hit found a fresh answer. Of the misses, `stale` found one past its time to live and `unreadable` found
    something that is none.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    unreadable: int = 0

    @property
    def lookups(self) -> int:
        return self.hits + self.misses

    @property
    def hit_rate(self) -> float | None:
        """Between 0 and 1; None before the first lookup."""
        return self.hits / self.lookups if self.lookups else None


class CacheService:
    """Keeps answers in a store, and counts how often that helped. Threads may share it."""

    def __init__(self, store: StateStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = Lock()
        self._stats = CacheStats()

    def get(self, key: str) -> CachedAnswer | None:
        """The answer kept under `key`, fresh or stale (ask it which), or None."""
        kept = self._store.read(key)
        answer = None if kept is None else _unpacked(kept)
        now = self._clock.now()
        usable = answer if answer is not None and answer.is_usable(now) else None
        self._count(
            is_hit=usable is not None and usable.is_fresh(now),
            is_stale=usable is not None and not usable.is_fresh(now),
            is_unreadable=kept is not None and answer is None,
        )
        return usable

    def set(
        self, key: str, response: ApiResponse, provider: str, ttl_seconds: float, stale_seconds: float
    ) -> bool:
        """Keep `response`, given by `provider` just now. Whether it is kept: not if it is larger than `MAX_BYTES`."""
        answer = CachedAnswer(response, provider, self._clock.now(), ttl_seconds, stale_seconds)
        packed = _packed(answer)
        if packed is None:
            return False
        self._store.write(key, packed, ttl_seconds + stale_seconds)
        return True

    def delete(self, key: str) -> bool:
        """Forget one answer. Whether there was one."""
        return self._store.delete(key)

    def delete_pattern(self, pattern: str) -> int:
        """Forget every answer whose key matches, where `*` stands for any text. How many there were."""
        return self._store.delete_pattern(pattern)

    def get_stats(self) -> CacheStats:
        """What came of the lookups so far."""
        with self._lock:
            return self._stats

    def _count(self, *, is_hit: bool, is_stale: bool, is_unreadable: bool) -> None:
        with self._lock:
            old = self._stats
            self._stats = CacheStats(
                hits=old.hits + is_hit,
                misses=old.misses + (not is_hit),
                stale=old.stale + is_stale,
                unreadable=old.unreadable + is_unreadable,
            )


class _Head(BaseModel):
    """What is kept beside the body. `at` is microseconds since 1970."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    status: int
    headers: Pairs
    provider: str
    at: int
    ttl: float
    stale: float


def _packed(answer: CachedAnswer) -> bytes | None:
    """The answer as bytes: a mark, the length of the head, the head as JSON, the body. None if it is too large."""
    response = answer.response
    try:
        head = orjson.dumps(
            {
                "status": response.status,
                "headers": response.headers,
                "provider": answer.provider,
                "at": (answer.stored_at - _EPOCH) // timedelta(microseconds=1),
                "ttl": float(answer.ttl_seconds),
                "stale": float(answer.stale_seconds),
            }
        )
    except orjson.JSONEncodeError:
        # A header that is no proper text: nothing that is worth keeping.
        return None
    content = len(head).to_bytes(_LENGTH, "big") + head + response.body
    if len(content) > MAX_BYTES:
        return None
    return _COMPRESSED + zlib.compress(content, 1) if len(content) > _COMPRESSED_FROM else _PLAIN + content


def _unpacked(kept: bytes) -> CachedAnswer | None:
    content = _content(kept)
    if content is None:
        return None
    body_at = _LENGTH + int.from_bytes(content[:_LENGTH], "big")
    try:
        head = _Head.model_validate_json(content[_LENGTH:body_at])
        stored_at = _EPOCH + timedelta(microseconds=head.at)
    except (ValidationError, OverflowError):
        return None
    response = ApiResponse(head.status, head.headers, content[body_at:])
    return CachedAnswer(response, head.provider, stored_at, head.ttl, head.stale)


def _content(kept: bytes) -> bytes | None:
    """What stands behind the mark, unless that is unknown or what follows is damaged or too large."""
    mark, content = kept[:_MARK], kept[_MARK:]
    if mark == _PLAIN:
        return content if len(content) <= MAX_BYTES else None
    if mark != _COMPRESSED:
        return None
    unpacker = zlib.decompressobj()
    try:
        # One byte more than there may be: at the limit itself the end would not be seen.
        plain = unpacker.decompress(content, MAX_BYTES + 1)
    except zlib.error:
        return None
    return plain if unpacker.eof else None
