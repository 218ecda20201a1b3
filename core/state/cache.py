"""The cache of answers: what a provider said, by whom and when, in two levels.

The first level is this process's own memory: values that are already read, for a short while, without asking
anybody. The second is the store, in which an answer is bytes. An answer is fresh strictly before its time to live is
over. For a while after that it may be served while a fresh one is fetched, and for another while stand in when the
provider fails. What cannot be understood when it is read (another version's, damaged, planted) is a miss and never
an error.
"""

from __future__ import annotations

import itertools
import os
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock
from typing import Final, NamedTuple
from weakref import WeakSet

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from core.clock import Clock
from core.model.message import ApiResponse, Pairs
from core.policies.policy import CachePolicy
from core.state.base import Keep, Release, StateStore
from core.state.pattern import matcher

MAX_BYTES: Final = 256 * 1024
"""The largest answer that is kept, before compression."""

_COMPRESSED_FROM = 4096
_PLAIN = b"bongsu-1 "
_COMPRESSED = b"bongsu-1z"
_MARK = len(_PLAIN)
_LENGTH = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CLOCKS_DIFFER_SECONDS = 60


class Near(NamedTuple):
    """A value at hand: `provider` gave it when the monotonic clock was at `stored` (seconds).

    It is served until just before `until` by that clock. Its answer's body had `body_bytes`.
    """

    value: object
    provider: str
    stored: float
    until: float
    body_bytes: int


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer that was kept: what `provider` said at `stored_at` (aware, UTC)."""

    response: ApiResponse
    provider: str
    stored_at: datetime
    ttl_seconds: float
    stale_seconds: float
    revalidate_seconds: float = 0.0

    def age(self, now: datetime) -> float:
        """Seconds since the provider gave it; 0 when another machine's clock is a little ahead of ours."""
        return max(0.0, (now - self.stored_at).total_seconds())

    def is_fresh(self, now: datetime) -> bool:
        """Whether it may be served as it is: strictly before its time to live is over.

        An answer from the future is not fresh (the clock was set back), unless machines may differ by so much.
        """
        return -_CLOCKS_DIFFER_SECONDS <= (now - self.stored_at).total_seconds() < self.ttl_seconds

    def is_revalidated(self, now: datetime) -> bool:
        """Whether it is served while a fresh one is fetched: for a while from the end of its time to live on."""
        age = (now - self.stored_at).total_seconds()
        return self.ttl_seconds <= age < self.ttl_seconds + self.revalidate_seconds

    def is_usable(self, now: datetime) -> bool:
        """Whether it may at least stand in for a provider that fails, marked as stale.

        An answer from the future is not usable, as it is not fresh: nobody knows how old it is.
        """
        beyond = max(self.stale_seconds, self.revalidate_seconds)
        age = (now - self.stored_at).total_seconds()
        return -_CLOCKS_DIFFER_SECONDS <= age < self.ttl_seconds + beyond


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What came of the lookups of one process.

    A hit found an answer to serve, `near` of them at hand. Of the misses, `stale` found one that can only stand in and
    `unreadable` found something that is none.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    unreadable: int = 0
    near: int = 0

    @property
    def lookups(self) -> int:
        return self.hits + self.misses

    @property
    def hit_rate(self) -> float | None:
        """Between 0 and 1; None before the first lookup."""
        return self.hits / self.lookups if self.lookups else None


class CacheService:
    """Keeps answers in a store and the newest at hand, and counts how often that helped. Threads may share it.

    A forked child begins with nothing at hand, and counts by itself.

    At hand are at most `max_near` values, whose answers have `max_near_bytes` in sum; the oldest give way.
    """

    def __init__(
        self,
        store: StateStore,
        clock: Clock,
        *,
        max_near: int = 1000,
        max_near_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        self._store = store
        self._clock = clock
        self._monotonic = clock.monotonic
        self._max_near = max_near
        self._max_near_bytes = max_near_bytes
        self._begin()
        _caches.add(self)

    def near(self, key: str) -> Near | None:
        """The value at hand under `key`. That there is none is no miss yet: the store is asked next."""
        near = self._near.get(key)
        if near is None or self._monotonic() >= near.until:
            return None
        # Without a lock: nothing is called between reading and writing, where another thread could come between.
        self._near_hits += 1
        return near

    def put_near(
        self, key: str, value: object, provider: str, body_bytes: int, local_s: float, age_s: float = 0.0
    ) -> None:
        """Have `value`, which the provider gave `age_s` ago, at hand for `local_s`; not at all for no time.

        Other processes do not hear of it when an answer is forgotten here, nor this one when they forget it. That is
        what `local_s` bounds.
        """
        if local_s <= 0 or body_bytes > self._max_near_bytes:
            return
        now = self._monotonic()
        near = Near(value, provider, now - age_s, now + local_s, body_bytes)
        with self._lock:
            if key in self._near:
                self._forget_near(key)
            self._near[key] = near
            self._near_bytes += body_bytes
            if len(self._near) > self._max_near or self._near_bytes > self._max_near_bytes:
                self._make_room()

    def missed(self) -> None:
        """Count a lookup that found nothing."""
        self._misses += 1

    def unpack(self, kept: bytes | None, *, is_fresh: bool) -> CachedAnswer | None:
        """The answer in what a store gave, or None; it counts as one lookup.

        `is_fresh` is whether the store said that it may be served. If it did not, the answer can stand in at the most.
        """
        answer = None if kept is None else _unpacked(kept)
        usable = answer if answer is not None and (is_fresh or answer.is_usable(self._clock.now())) else None
        self._count(
            is_hit=usable is not None and is_fresh,
            is_stale=usable is not None and not is_fresh,
            is_unreadable=kept is not None and answer is None,
        )
        return usable

    def keep(
        self,
        key: str,
        owner: str,
        response: ApiResponse,
        provider: str,
        policy: CachePolicy,
        *,
        ttl_s: float,
    ) -> bool:
        """Have `response`, given by `provider` just now, kept in a moment, and the lease of `owner` ended.

        It lives for `ttl_s`; `policy` says what it is good for beyond that. Whether it is kept: not if it is larger
        than `MAX_BYTES`, but the lease ends all the same.
        """
        size = len(response.body)
        if size > MAX_BYTES:
            self._store.later(Release(key, owner))
            return False
        stale_s, revalidate_s = policy.stale_s, policy.revalidate_s
        pack = partial(_packed, response, provider, self._clock.now(), ttl_s, stale_s, revalidate_s)
        keep_s = ttl_s + (stale_s if stale_s > revalidate_s else revalidate_s)  # noqa: FURB136 -- half the time.
        self._store.later(Keep(key, owner, pack, size, ttl_s + revalidate_s, keep_s))
        return True

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
        packed = _packed(response, provider, self._clock.now(), ttl_seconds, stale_seconds)
        if packed is None:
            return False
        self._store.write(key, packed, ttl_seconds + stale_seconds, ttl_seconds)
        return True

    def delete(self, key: str) -> bool:
        """Forget one answer. Whether there was one in the store."""
        with self._lock:
            self._forget_near(key)
        self._store.flush()  # or what is still to be kept would come back.
        return self._store.delete(key)

    def delete_pattern(self, pattern: str) -> int:
        """Forget every answer whose key matches, where `*` stands for any text. How many there were in the store."""
        matches = matcher(pattern).fullmatch
        with self._lock:
            for key in [key for key in self._near if matches(key)]:
                self._forget_near(key)
        self._store.flush()  # or what is still to be kept would come back.
        return self._store.delete_pattern(pattern)

    def get_stats(self) -> CacheStats:
        """What came of the lookups so far."""
        with self._lock:
            near = self._near_hits
            return CacheStats(self._hits + near, self._misses, self._stale, self._unreadable, near)

    def _begin(self) -> None:
        self._lock = Lock()
        self._near: dict[str, Near] = {}
        self._near_bytes = 0
        self._near_hits = self._hits = self._misses = self._stale = self._unreadable = 0

    def _forget_near(self, key: str) -> None:
        near = self._near.pop(key, None)
        if near is not None:
            self._near_bytes -= near.body_bytes

    def _make_room(self) -> None:
        """Forget the oldest tenth of what is at hand, and more where it is large: not one for each that comes."""
        for key in list(itertools.islice(self._near, max(1, len(self._near) // 10))):
            self._forget_near(key)
        while self._near_bytes > self._max_near_bytes:
            self._forget_near(next(iter(self._near)))

    def _count(self, *, is_hit: bool, is_stale: bool, is_unreadable: bool) -> None:
        with self._lock:
            self._hits += is_hit
            self._misses += not is_hit
            self._stale += is_stale
            self._unreadable += is_unreadable


_caches: WeakSet[CacheService] = WeakSet()


def _begin_in_child() -> None:
    for cache in list(_caches):
        cache._begin()  # noqa: SLF001 -- the same file.


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


class _Head(BaseModel):
    """What is kept beside the body. `at` is microseconds since 1970."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    status: int
    headers: Pairs
    provider: str
    at: int
    ttl: float
    stale: float
    revalidate: float = 0.0


def _packed(
    response: ApiResponse,
    provider: str,
    stored_at: datetime,
    ttl_seconds: float,
    stale_seconds: float,
    revalidate_seconds: float = 0.0,
) -> bytes | None:
    """An answer as bytes: a mark, the length of the head, the head as JSON, the body. None if it is too large."""
    try:
        head = orjson.dumps(
            {
                "status": response.status,
                "headers": response.headers,
                "provider": provider,
                "at": (stored_at - _EPOCH) // _MICROSECOND,
                "ttl": float(ttl_seconds),
                "stale": float(stale_seconds),
                "revalidate": float(revalidate_seconds),
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
    return CachedAnswer(response, head.provider, stored_at, head.ttl, head.stale, head.revalidate)


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
