"""What is said to Redis. Nothing here speaks to a server, so the synchronous and the asynchronous driver share it.

    bongsu:{address}:circuit:juso         what is known of a provider: the line of `core.state.encoding`
    bongsu:{address}:went:juso            when its last calls went, where limits are kept in the mode `exact`
    bongsu:{address}:went-reserved:juso   the same of those that went by the reserved share
    bongsu:{address}:fresh:search:1f…     there while a kept answer is fresh
    bongsu:{address}:lease:search:1f…     who fetches an answer, or what the one who did has left behind
    bongsu:cache:address:search:1f…       a kept answer

What one script looks at bears the integration as its hash tag. Kept answers do not: they never pass through a script,
for that costs the server thirty times as much, and one integration's answers spread over all of a cluster.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache
from importlib import resources
from typing import Final, NamedTuple, assert_never

from core.model.calling import LONGEST_HISTORY, CallClass
from core.policies.admission import (
    AdmissionPolicy,
    Ask,
    ProviderState,
)
from core.policies.circuit_breaker import LONGEST_WAIT_US, BreakerPolicy
from core.policies.override import Override
from core.policies.rate_limit import HOUR_US, MINUTE_US, LimitPolicy, TokenBucket
from core.policies.retry_budget import RetryBudget
from core.policies.tally import SLICES
from core.state.base import (
    Ended,
    Keep,
    Late,
    Release,
    Settle,
    Wanted,
)
from core.state.encoding import encode
from core.state.pattern import redis_glob

Word = str | int | bytes
Command = tuple[Word, ...]

FIRST: Final = b"0"
"""Where a search begins, and where it has come round to when it is over."""

_BODIES: Final = b"bongsu:cache:"

_KNOWN_POLICIES: Final = 1000
_SCAN_COUNT: Final = 500
_OVERRIDE_WORDS: Final = 5


class Script:
    """A script of ours: what it says, and the name by which a server that has it knows it."""

    def __init__(self, *files: str) -> None:
        room = resources.files("core.state")
        self.text = "\n".join(room.joinpath(file).read_text("utf-8") for file in files)
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_OPEN: Final = Script("circuit.lua", "open.lua")
_SETTLE: Final = Script("circuit.lua", "settle.lua")
_STEER: Final = Script("circuit.lua", "steer.lua")
_RELEASE: Final = Script("release.lua")

LOADS: Final[tuple[Command, ...]] = tuple(
    ("SCRIPT", "LOAD", script.text) for script in (_OPEN, _SETTLE, _STEER, _RELEASE)
)
"""What a server is told that was restarted, or is another one than before."""


class Packed(NamedTuple):
    """A policy, and the numbers that each script needs of it."""

    policy: AdmissionPolicy
    to_open: bytes
    to_settle: bytes


class Policies:
    """Policies as scripts take them, packed once for each object. Threads may share it."""

    def __init__(self) -> None:
        self._known: dict[int, Packed] = {}

    def packed(self, policy: AdmissionPolicy) -> Packed:
        """What is packed holds the policy itself, so that no other object has its number meanwhile."""
        known = self._known.get(id(policy))
        if known is None:
            if len(self._known) >= _KNOWN_POLICIES:
                self._known.clear()
            known = self._known[id(policy)] = _pack(policy)
        return known


def _pack(policy: AdmissionPolicy) -> Packed:
    breaker, limits, budget = policy.breaker, policy.limits, policy.budget
    return Packed(
        policy,
        _doubles(*_breaker_to_open(breaker), *_limits(limits)),
        _doubles(*_breaker_to_settle(breaker), *_budget(budget)),
    )


def _doubles(*figures: int) -> bytes:
    return struct.pack(f">{len(figures)}d", *figures)


def _breaker_to_open(policy: BreakerPolicy | None) -> tuple[int, ...]:
    if policy is None:
        return (0,) * 7
    return (
        *(1, policy.recovery_us, policy.probe_lease_us, policy.probe_lease_us + LONGEST_WAIT_US),
        *(policy.probes, policy.probes_by_check, policy.looks_at_shares),
    )


def _limits(policy: LimitPolicy | None) -> tuple[int, ...]:
    if policy is None:
        return (0,) * 24
    limiter = policy.limiter
    shared, reserved = limiter.shared, limiter.reserved or limiter.shared
    return (
        *(1, limiter.max_wait_us, limiter.longest_wait_us, limiter.is_exact),
        *(LONGEST_HISTORY, MINUTE_US, HOUR_US),
        *(*_bucket(shared.minute), *_bucket(shared.hour), limiter.reserved is not None),
        *(*_bucket(reserved.minute), *_bucket(reserved.hour)),
    )


def _bucket(bucket: TokenBucket) -> tuple[int, int, int, int]:
    return bucket.limit, bucket.reach_us, bucket.interval_us, bucket.furthest_us


def _breaker_to_settle(policy: BreakerPolicy | None) -> tuple[int, ...]:
    if policy is None:
        return (0,) * 7
    return (
        *(1, policy.failure_threshold, policy.looks_at_shares, max(1, policy.window_us // SLICES)),
        *(policy.minimum_calls, policy.failure_percent, policy.slow_percent),
    )


def _budget(policy: RetryBudget | None) -> tuple[int, ...]:
    """Whether there is one, how large it is, what a failure costs and what a success brings back (in thousandths)."""
    if policy is None:
        return (0,) * 4
    return 1, policy.tokens * 1000, 1000, policy.percent * 10


def to_open(packed: Packed, circuit: str, ask: Ask, wanted: Wanted | None, now: Word) -> tuple[Command, ...]:
    """`StateStore.open`.

    The kept answer is asked for last, so that what the script calls fresh is there by then; unless it was evicted.
    """
    places = _circuit_keys(circuit)
    is_batch = 1 if ask.call_class is CallClass.BATCH else 0
    asked = (now, packed.to_open, ask.patience_us, is_batch, 1 if ask.is_check else 0)
    if wanted is None:
        return (("EVALSHA", _OPEN.digest, 3, *places, *asked),)
    key = wanted.key.encode()
    waited, refreshes = 1 if wanted.has_waited else 0, 1 if wanted.refreshes else 0
    return (
        (
            *("EVALSHA", _OPEN.digest, 5, *places, fresh_key(key), _lease_key(key)),
            *(*asked, wanted.owner, wanted.lease_us, waited, refreshes),
        ),
        ("GET", body_key(key)),
    )


def to_settle(packed: Packed, circuit: str, ended: Ended, now: Word) -> Command:
    """`StateStore.settle`."""
    line, *_ = _circuit_keys(circuit)
    granted = ended.granted
    return (
        *("EVALSHA", _SETTLE.digest, 1, line, now, packed.to_settle),
        *(granted.generation, 1 if granted.is_probe else 0),
        *(ended.settlement.value, ended.pause_us, 1 if ended.is_slow else 0),
    )


def to_steer(circuit: str, override: Override | None, now: Word) -> Command:
    """`StateStore.steer`, where `override.until` is for how long, in microseconds."""
    line, *_ = _circuit_keys(circuit)
    return (
        "EVALSHA",
        _STEER.digest,
        1,
        line,
        now,
        *encode(ProviderState(override=override)).split(" ")[-_OVERRIDE_WORDS:-1],
    )


def to_peek(circuit: str) -> tuple[Command, ...]:
    """`StateStore.peek`."""
    line, *_ = _circuit_keys(circuit)
    return ("TIME",), ("GET", line)


def to_read(key: bytes) -> Command:
    """`StateStore.read`."""
    return "GET", body_key(key)


def to_write(key: bytes, value: bytes, keep_seconds: float, fresh_seconds: float) -> tuple[Command, ...]:
    """`StateStore.write`. Nothing is called fresh before it is there, or once it is gone."""
    kept, fresh = int(keep_seconds * 1000), int(min(fresh_seconds, keep_seconds) * 1000)
    if kept <= 0:
        return to_delete(key)
    if fresh <= 0:
        return ("DEL", fresh_key(key)), ("SET", body_key(key), value, "PX", kept)
    return ("SET", body_key(key), value, "PX", kept), ("SET", fresh_key(key), "", "PX", fresh)


def to_delete(*keys: bytes) -> tuple[Command, ...]:
    """Forget these: first what calls them fresh, then the answers. Each by itself: in a cluster they lie apart."""
    return tuple(("UNLINK", place(key)) for place in (fresh_key, body_key) for key in keys)


def to_scan(cursor: bytes, pattern: str) -> Command:
    """Where to go on, and some of the keys that match."""
    return "SCAN", cursor, "MATCH", body_key(redis_glob(pattern).encode()), "COUNT", _SCAN_COUNT


def to_do(late: Late, policies: Policies, now: Word) -> tuple[Command, ...]:
    """`StateStore.later`."""
    match late:
        case Settle(circuit, policy, ended):
            return (to_settle(policies.packed(policy), circuit, ended, now),)
        case Keep():
            kept = late.packed()
            if isinstance(kept, Release):
                return to_do(kept, policies, now)
            key = kept.key.encode()
            write = to_write(key, kept.value, kept.keep_seconds, kept.fresh_seconds)
            return *write, _to_release(key, kept.owner, now)
        case Release():
            return (_to_release(late.key.encode(), late.owner, now, late.failure, late.failure_us),)
        case _:
            assert_never(late)


def _to_release(
    key: bytes, owner: str, now: Word, failure: bytes | None = None, failure_us: int = 0
) -> Command:
    left = (failure_us, failure) if failure is not None else ("", "")
    return "EVALSHA", _RELEASE.digest, 1, _lease_key(key), now, owner, *left


@lru_cache(maxsize=1024)
def _circuit_keys(circuit: str) -> tuple[bytes, bytes, bytes]:
    """Where the line of a circuit is, and the history of each share."""
    integration, dot, provider = circuit.encode().partition(b".")
    line, went, reserved = (
        b"bongsu:{%b}:%b%b" % (integration, what, b":" + provider if dot else b"")
        for what in (b"circuit", b"went", b"went-reserved")
    )
    return line, went, reserved


def body_key(key: bytes) -> bytes:
    """Where the answer is kept."""
    return _BODIES + key


def key_at(place: bytes) -> bytes:
    """Whose answer is kept there."""
    return place.removeprefix(_BODIES)


def fresh_key(key: bytes) -> bytes:
    """What is there while the answer is fresh."""
    integration, colon, rest = key.partition(b":")
    return b"bongsu:{%b}:fresh%b%b" % (integration, colon, rest)


def _lease_key(key: bytes) -> bytes:
    integration, colon, rest = key.partition(b":")
    return b"bongsu:{%b}:lease%b%b" % (integration, colon, rest)
