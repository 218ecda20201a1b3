"""The rate limit of one provider: never more calls than the limit in *any* window, per minute and per hour.

A plain token bucket lets nearly twice the limit through in the window that spans a full bucket and its refill.
This one keeps the provider's promise: of a limit of L calls in a window w, the bucket holds b = L / 10 tokens
(at least one) and refills one each w / (L - b + 1), which admits at most L in any half-open window of length w
and sustains at least 90 % of L (of a limit below 10, all of it; of one above 8,600 a minute, 89.9 %, since
times are whole microseconds).

A bucket is kept as one number: the time at which it is full again ("theoretical arrival time", as in the
generic cell rate algorithm). Waiting is by reservation: a call is told when its turn is, first come, first
served, and nobody polls. Times are integer microseconds, so the arithmetic is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTE_US = 60_000_000
HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """The limits of one provider and how long a call may wait for its turn (microseconds)."""

    per_minute: int = 60
    per_hour: int = 1000
    max_wait_us: int = 5_000_000


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """One limit: `limit` calls a `window_us`. `full_at` is when the bucket is full again; 0 for ever full."""

    limit: int
    window_us: int
    full_at: int = 0

    def __post_init__(self) -> None:
        if self.limit < 1 or self.window_us < 1:
            raise ValueError("A limit allows at least one call in a window of at least a microsecond.")

    @property
    def capacity(self) -> int:
        """How many calls a full bucket lets through at once."""
        return max(1, self.limit // 10)

    @property
    def interval_us(self) -> int:
        """How long one token takes to come back."""
        return -(-self.window_us // (self.limit - self.capacity + 1))

    def wait_us(self, now: int) -> int:
        """How long until a token is free; 0 when one is free now."""
        return max(0, self.full_at - (self.capacity - 1) * self.interval_us - now)

    def try_acquire(self, now: int) -> TokenBucket | None:
        """The bucket without the token taken at `now`, or None when there is none."""
        return None if self.wait_us(now) else self.acquire(now)

    def acquire(self, at: int) -> TokenBucket:
        """The bucket after a token was taken, or reserved, at `at`."""
        return TokenBucket(self.limit, self.window_us, max(self.full_at, at) + self.interval_us)

    def believable(self, now: int, slack_us: int) -> TokenBucket:
        """The same bucket, or a full one when `full_at` lies further ahead than any reservation could put it.

        That happens when the clock was set back; without this, calls would wait for the old time to return.
        """
        furthest = now + slack_us + self.capacity * self.interval_us
        return self if self.full_at <= furthest else TokenBucket(self.limit, self.window_us)


@dataclass(frozen=True, slots=True)
class RateLimiter:
    """Both limits of one provider, decided as one: a call takes a token of each or of neither.

    `paused_until` holds everybody back, whatever the buckets hold: the provider asked us to slow down.
    """

    minute: TokenBucket
    hour: TokenBucket
    paused_until: int = 0

    @staticmethod
    def of(policy: LimitPolicy, minute_full_at: int, hour_full_at: int, paused_until: int) -> RateLimiter:
        """The limiter that `policy` describes, at what is known of its buckets."""
        return RateLimiter(
            TokenBucket(policy.per_minute, MINUTE_US, minute_full_at),
            TokenBucket(policy.per_hour, HOUR_US, hour_full_at),
            paused_until,
        )

    def wait_us(self, now: int) -> int:
        """How long until both buckets have a token and no pause holds."""
        return max(self.minute.wait_us(now), self.hour.wait_us(now), self.paused_until - now)

    def try_acquire(self, now: int) -> RateLimiter | None:
        """The limiter without the tokens taken at `now`, or None when a call would have to wait."""
        return None if self.wait_us(now) else self.acquire(now)

    def acquire(self, at: int) -> RateLimiter:
        """The limiter after both tokens were taken, or reserved, at `at`."""
        return RateLimiter(self.minute.acquire(at), self.hour.acquire(at), self.paused_until)

    def believable(self, now: int, slack_us: int) -> RateLimiter:
        """The same limiter with buckets that a clock set back has not spoilt."""
        return RateLimiter(
            self.minute.believable(now, slack_us), self.hour.believable(now, slack_us), self.paused_until
        )
