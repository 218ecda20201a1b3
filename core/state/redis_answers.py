"""What Redis's answers mean. What cannot be understood is a `StorageError`, which tells the cure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeGuard

from core.errors import StorageError
from core.policies.admission import (
    AdmissionPolicy,
    Granted,
    ProviderState,
    RefusedByCircuit,
    RefusedByLimiter,
)
from core.policies.rate_limit import Bookings
from core.state.base import FailedElsewhere, FetchedElsewhere, Opening, Outcome, Settled, Snapshot
from core.state.encoding import decode

Reply = object
"""What a server may answer: None, bytes, an integer, an error, or a list of such."""

_FIGURES: Final = 7
"""So many of an attempt that is granted, between the word and what was booked."""


def opening(replies: Sequence[Reply]) -> Opening:
    """What the answers to `to_open` mean."""
    return Opening(body(replies[1]) if len(replies) > 1 else None, _outcome(replies[0]))


def settled(replies: Sequence[Reply], policy: AdmissionPolicy) -> Settled:
    """What the answer to `to_settle` means."""
    match replies:
        case [[bytes(before), bytes(after)]]:
            return Settled.between(_state(before), _state(after), policy)
        case _:
            raise _not_understood("the end of an attempt", replies)


def steered(replies: Sequence[Reply]) -> Snapshot:
    """What the answer to `to_steer` means."""
    match replies:
        case [[bytes(line), int(now)]]:
            return Snapshot(_state(line), now)
        case _:
            raise _not_understood("an operator's word", replies)


def peeked(replies: Sequence[Reply], now: int | None) -> Snapshot:
    """What the answers to `to_peek` mean, at `now` or at the server's own time."""
    match replies:
        case [[bytes(seconds), bytes(microseconds)], bytes() | None as line]:
            its_own = int(seconds) * 1_000_000 + int(microseconds)
            return Snapshot(_state(line or b""), its_own if now is None else now)
        case _:
            raise _not_understood("a look at a circuit", replies)


def body(reply: Reply) -> bytes | None:
    """A kept answer, if there is one."""
    match reply:
        case bytes() | None:
            return reply
        case _:
            raise _not_understood("a kept answer", reply)


def forgotten(replies: Sequence[Reply]) -> int:
    """How many answers there were, of those that `to_delete` forgets: it speaks of each of them twice."""
    counts = list(replies[len(replies) // 2 :])
    if not _are_integers(counts):
        raise _not_understood("how many were forgotten", replies)
    return sum(counts)


def scanned(replies: Sequence[Reply]) -> tuple[bytes, list[bytes]]:
    """What the answer to `to_scan` means: where to go on, and where there are answers that match."""
    match replies:
        case [[bytes(cursor), [*places]]]:
            return cursor, [place for place in places if isinstance(place, bytes)]
        case _:
            raise _not_understood("a search", replies)


def _outcome(reply: Reply) -> Outcome | None:  # noqa: PLR0911 -- one answer each.
    match reply:
        case [b"granted", *figures, bytes(booked)] if len(figures) == _FIGURES and _are_integers(figures):
            generation, probe, wait, owes, failures, reserved, now = figures
            return Granted(
                generation, probe == 1, wait, owes == 1, failures, reserved == 1, _bookings(booked), now
            )
        case [b"fresh"]:
            return None
        case [b"elsewhere", int(left)]:
            return FetchedElsewhere(left)
        case [b"failed", bytes(failure)]:
            return FailedElsewhere(failure)
        case [b"limiter", int(wait), int(now), bytes(booked)]:
            return RefusedByLimiter(wait, _bookings(booked), now)
        case [b"circuit", int(left), int(wants_check)]:
            return RefusedByCircuit(left, wants_check == 1)
        case [b"circuit", int(left), 0, bytes(line)] if override := _state(line).override:
            return RefusedByCircuit(left, forced_by=f"{override.by}: {override.reason}")
        case _:
            raise _not_understood("an admission", reply)


def _are_integers(reply: list[object]) -> TypeGuard[list[int]]:
    """Whether they all are, found out faster than by a pattern: every call pays for it."""
    return set(map(type, reply)) == {int}


def _bookings(words: bytes) -> Bookings | None:
    """What was booked; nothing at all where there are no limits."""
    if not words:
        return None
    try:
        minute, hour, reserved_minute, reserved_hour, admitted, reserved_admitted = map(
            int, words.split(b" ")
        )
    except ValueError as error:
        raise _not_understood("what is booked", words) from error
    return Bookings(minute, hour, reserved_minute, reserved_hour, admitted, reserved_admitted)


def _state(line: bytes) -> ProviderState:
    return decode(line.decode("utf-8", "replace"))


def _not_understood(what: str, reply: Reply) -> StorageError:
    return StorageError(
        f"Redis answers {what} with {reply!a:.80}, which cannot be understood. Does another program, or another "
        "version of Bongsu, use the same database? Give each a number of its own in BONGSU_REDIS_URL."
    )
