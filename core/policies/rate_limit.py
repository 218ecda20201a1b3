"""The rate limit of one provider, per minute and per hour, decided as one.

In the mode `any_window` there are never more calls than the limit in *any* window. A plain token bucket lets nearly
twice the limit through in the window that spans a full bucket and its refill. Ours keeps the provider's promise: of
a limit of L calls in a window w, the bucket holds b = L / 10 tokens (at least one) and refills one each
w / (L - b + 1), which admits at most L in any half-open window of length w and sustains at least 90 % of L (of a
limit below 10, all of it; of one above 8,600 a minute, 89.9 %, since times are whole microseconds).

`bucket` is the plain bucket, for providers that keep one themselves: b = L, a token each w / L. `exact` remembers
when the last L calls went, and lets the next one go as soon as the first of them is a window old: all of the limit,
in any window.

A bucket is kept as one number: the time at which it is full again ("theoretical arrival time", as in the
generic cell rate algorithm). Waiting is by reservation: a call is told when its turn is, first come, first
served, and nobody polls. Times are integer microseconds, so the arithmetic is exact.

A limit is divided into two shares, each with buckets of its own. Batch calls live on the shared one; interactive
calls go by whichever lets them go first, and by the reserved one if both do. So people never wait for batch work
while they keep within what is reserved for them, and have all of the limit while there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from core.model.calling import LONGEST_HISTORY, CallClass, LimitMode

MINUTE_US = 60_000_000
HOUR_US = 3_600_000_000
LONGEST_TURN_US = 300_000_000
"""The longest that a call may wait for its turn; no configuration allows more (`rate_limit_max_wait_seconds`)."""

NEVER = -(10**18)
"""When a call went that never did."""

History = Callable[[int, bool], int]
"""When the call of a share went that was the so-manieth before its next (1 is the last); True is the reserved share.

`NEVER` if so many are not remembered.
"""

_PERCENT = 100
_BATCH = CallClass.BATCH  # looking a member up costs as much as all the arithmetic of a bucket.


def no_history(_back: int, _is_reserved: bool) -> int:
    """The history of a provider that was never called, and of one whose calls need not be remembered."""
    return NEVER


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """One limit: `limit` calls a `window_us`, of which `capacity` may go at once and one each `interval_us` after.

    What is kept of it is `full_at`: when the bucket is full again; 0 for ever full. There is a token as long as that
    is no further ahead than `reach_us`.
    """

    limit: int
    window_us: int
    capacity: int
    interval_us: int
    reach_us: int

    @staticmethod
    def of(limit: int, window_us: int, mode: LimitMode = LimitMode.ANY_WINDOW) -> TokenBucket:
        """The bucket that keeps a limit in this mode. Raises `ValueError` for a limit of nothing."""
        if limit < 1 or window_us < 1:
            raise ValueError("A limit allows at least one call in a window of at least a microsecond.")
        capacity = limit if mode is LimitMode.BUCKET else max(1, limit // 10)
        refills = limit if mode is LimitMode.BUCKET else limit - capacity + 1
        interval = -(-window_us // refills)
        return TokenBucket(limit, window_us, capacity, interval, (capacity - 1) * interval)

    def wait_us(self, full_at: int, now: int) -> int:
        """How long until a token is free; 0 when one is free now."""
        return max(0, full_at - self.reach_us - now)

    def left(self, full_at: int, now: int) -> int:
        """How many tokens are free at `now`."""
        left = self.capacity + (now - full_at) // self.interval_us
        return max(0, min(self.capacity, left))

    def try_acquire(self, full_at: int, now: int) -> int | None:
        """When the bucket is full again after a token was taken at `now`; None when there is none."""
        return None if self.wait_us(full_at, now) else self.acquire(full_at, now)

    def acquire(self, full_at: int, at: int) -> int:
        """When the bucket is full again after a token was taken, or reserved, at `at`."""
        return (full_at if full_at > at else at) + self.interval_us

    @property
    def furthest_us(self) -> int:
        """How far ahead of a call's turn `full_at` may lie once its token is taken, by this limit or the one before it.

        The processes need not agree on the limit while it is changed. A minute covers every limit of a minute, and an
        eighth of the window all in the mode `any_window` that are 8 or more. For fewer an hour, it would have to be
        the hour: too long to hold calls back where a clock was set back.
        """
        return max(self.capacity * self.interval_us, self.window_us // 8, min(self.window_us, MINUTE_US))

    def believable(self, full_at: int, now: int, slack_us: int) -> int:
        """`full_at`, or 0 when it lies further ahead than any reservation could put it (`slack_us` is the longest wait).

        That happens when the clock was set back; without this, calls would wait for the old time to return.
        """
        return full_at if full_at <= now + slack_us + self.furthest_us else 0


@dataclass(frozen=True, slots=True)
class Share:
    """A part of both limits: a call takes a token of each bucket or of neither."""

    minute: TokenBucket
    hour: TokenBucket

    @staticmethod
    def of(per_minute: int, per_hour: int, mode: LimitMode) -> Share:
        """The share that allows so much. Raises `ValueError` for a limit of nothing."""
        return Share(TokenBucket.of(per_minute, MINUTE_US, mode), TokenBucket.of(per_hour, HOUR_US, mode))

    def wait_us(self, minute_full_at: int, hour_full_at: int, now: int) -> int:
        """How long until both buckets have a token."""
        minute = minute_full_at - self.minute.reach_us
        hour = hour_full_at - self.hour.reach_us
        wait = (minute if minute > hour else hour) - now
        return wait if wait > 0 else 0

    def left(self, minute_full_at: int, hour_full_at: int, now: int) -> tuple[int, int]:
        """How many tokens each bucket has."""
        return self.minute.left(minute_full_at, now), self.hour.left(hour_full_at, now)


class Bookings(NamedTuple):
    """What is taken and reserved at one provider: of each share, when its buckets are full again.

    `admitted` and `reserved_admitted` count in the mode `exact` alone: so many calls of a share are remembered.
    """

    minute_full_at: int = 0
    hour_full_at: int = 0
    reserved_minute_full_at: int = 0
    reserved_hour_full_at: int = 0
    admitted: int = 0
    reserved_admitted: int = 0


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """The limits of one provider and how long a call may wait for its turn (microseconds).

    `reserved_percent` of both limits is kept for interactive calls: batch calls never use it. Raises `ValueError` for
    limits that cannot be kept.
    """

    per_minute: int = 60
    per_hour: int = 1000
    max_wait_us: int = 5_000_000
    mode: LimitMode = LimitMode.ANY_WINDOW
    reserved_percent: int = 20
    limiter: RateLimiter = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.mode is LimitMode.EXACT and max(self.per_minute, self.per_hour) > LONGEST_HISTORY:
            raise ValueError(
                f"The mode exact remembers {LONGEST_HISTORY} calls; for more, choose any_window."
            )
        if not 0 <= self.reserved_percent < _PERCENT:
            raise ValueError("The reserved share is a percentage, and leaves something for batch calls.")
        object.__setattr__(self, "limiter", RateLimiter.of(self))


@dataclass(frozen=True, slots=True)
class RateLimiter:
    """Both limits of one provider, in the two shares that they are divided into.

    `reserved` is None when nothing is reserved, or a limit is too small to be divided.
    """

    shared: Share
    reserved: Share | None
    is_exact: bool
    max_wait_us: int

    @property
    def longest_wait_us(self) -> int:
        """The longest that anybody's call may wait: another process may have been told another longest wait."""
        return max(LONGEST_TURN_US, self.max_wait_us)

    @staticmethod
    def of(policy: LimitPolicy) -> RateLimiter:
        """The limiter that `policy` describes.

        The hour is divided as the minute is, so that neither bucket of a share lies idle for want of the other.
        """
        whole = Share.of(policy.per_minute, policy.per_hour, policy.mode)
        minute = max(1, policy.per_minute * (_PERCENT - policy.reserved_percent) // _PERCENT)
        hour = max(1, policy.per_hour * minute // policy.per_minute)
        reserved_minute, reserved_hour = policy.per_minute - minute, policy.per_hour - hour
        is_exact = policy.mode is LimitMode.EXACT
        if not reserved_minute or not reserved_hour:
            return RateLimiter(whole, None, is_exact, policy.max_wait_us)
        return RateLimiter(
            Share.of(minute, hour, policy.mode),
            Share.of(reserved_minute, reserved_hour, policy.mode),
            is_exact,
            policy.max_wait_us,
        )

    def turn(
        self,
        booked: Bookings,
        now: int,
        call_class: CallClass = CallClass.INTERACTIVE,
        history: History = no_history,
    ) -> tuple[int, bool]:
        """How long until a call of this class may go, and whether it then goes by the reserved share."""
        if self.is_exact:
            return self._exact_turn(booked, now, call_class, history)
        minute, hour, reserved_minute, reserved_hour, _, _ = booked
        if self.reserved is None or call_class is _BATCH:
            return self.shared.wait_us(minute, hour, now), False
        wait = self.reserved.wait_us(reserved_minute, reserved_hour, now)
        if not wait:
            return 0, True
        shared = self.shared.wait_us(minute, hour, now)
        return (wait, True) if wait <= shared else (shared, False)

    def acquire(self, booked: Bookings, at: int, *, is_reserved: bool) -> Bookings:
        """What is booked after a share's tokens were taken, or reserved, at `at`."""
        minute, hour, reserved_minute, reserved_hour, admitted, reserved_admitted = booked
        if is_reserved and (share := self.reserved):
            reserved_minute = share.minute.acquire(reserved_minute, at)
            reserved_hour = share.hour.acquire(reserved_hour, at)
        else:
            share = self.shared
            minute, hour = share.minute.acquire(minute, at), share.hour.acquire(hour, at)
        if self.is_exact:
            admitted, reserved_admitted = admitted + (not is_reserved), reserved_admitted + is_reserved
        return Bookings(minute, hour, reserved_minute, reserved_hour, admitted, reserved_admitted)

    def try_acquire(
        self,
        booked: Bookings,
        now: int,
        call_class: CallClass = CallClass.INTERACTIVE,
        history: History = no_history,
    ) -> Bookings | None:
        """What is booked after tokens were taken at `now`, or None when a call would have to wait."""
        wait, is_reserved = self.turn(booked, now, call_class, history)
        return None if wait else self.acquire(booked, now, is_reserved=is_reserved)

    def left(
        self, booked: Bookings, now: int, call_class: CallClass = CallClass.INTERACTIVE
    ) -> tuple[int, int] | None:
        """How many calls of this class may go at `now`, by the minute and by the hour.

        None in the mode `exact`, which would have to look through what it remembers.
        """
        if self.is_exact:
            return None
        minute, hour = self.shared.left(booked.minute_full_at, booked.hour_full_at, now)
        if self.reserved is None or call_class is _BATCH:
            return minute, hour
        reserved = self.reserved.left(booked.reserved_minute_full_at, booked.reserved_hour_full_at, now)
        return minute + reserved[0], hour + reserved[1]

    def believable(self, booked: Bookings, now: int, history: History = no_history) -> Bookings:
        """`booked` without what only a clock that was set back can explain.

        It need not be asked when a call may go at once: then there is nothing in its share's way. What others have
        booked who may wait longer is believed.
        """
        slack = self.longest_wait_us
        reserved = self.reserved or self.shared
        found = Bookings(
            self.shared.minute.believable(booked.minute_full_at, now, slack),
            self.shared.hour.believable(booked.hour_full_at, now, slack),
            reserved.minute.believable(booked.reserved_minute_full_at, now, slack),
            reserved.hour.believable(booked.reserved_hour_full_at, now, slack),
            0 if history(1, False) > now + slack else booked.admitted,
            0 if history(1, True) > now + slack else booked.reserved_admitted,
        )
        return booked if found == booked else found

    def _exact_turn(
        self, booked: Bookings, now: int, call_class: CallClass, history: History
    ) -> tuple[int, bool]:
        wait = _exact_wait_us(self.shared, booked.admitted, now, lambda back: history(back, False))
        if self.reserved is None or call_class is _BATCH:
            return wait, False
        reserved = _exact_wait_us(
            self.reserved, booked.reserved_admitted, now, lambda back: history(back, True)
        )
        return (reserved, True) if reserved <= wait else (wait, False)


def _exact_wait_us(share: Share, admitted: int, now: int, went_at: Callable[[int], int]) -> int:
    """How long until a call may go by a share of which so many calls are remembered: after the last, and in the limits."""
    wait = 0
    for back, window in ((1, 0), (share.minute.limit, MINUTE_US), (share.hour.limit, HOUR_US)):
        if back <= admitted:
            wait = max(wait, went_at(back) + window - now)
    return wait
