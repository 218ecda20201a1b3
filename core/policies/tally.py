"""What came of the attempts of the last window, counted in ten slices of time.

A slice is dropped as a whole when it falls out of the window, so what is counted spans between nine tenths of the
window and all of it. Whole numbers only, so that every store counts the same.
"""

from __future__ import annotations

from typing import NamedTuple

SLICES = 10


class Slice(NamedTuple):
    """The attempts of one tenth of a window. `number` counts the slices since the clock began."""

    number: int
    calls: int
    failures: int
    slow: int


Tally = tuple[Slice, ...]
"""The slices of a window in which an attempt ended, oldest first."""


def counted(tally: Tally, window_us: int, now: int, *, is_failure: bool, is_slow: bool) -> Tally:
    """`tally` with one more attempt that ended at `now`, without what is too old.

    A slice from the future (the clock was set back) is dropped, too.
    """
    number = now // max(1, window_us // SLICES)
    kept = [old for old in tally if number - SLICES < old.number < number]
    calls, failures, slow = next((old[1:] for old in tally if old.number == number), (0, 0, 0))
    return (*kept, Slice(number, calls + 1, failures + is_failure, slow + is_slow))


def reaches(tally: Tally, minimum_calls: int, failure_percent: int, slow_percent: int) -> bool:
    """Whether enough attempts are counted, and the share that failed or was slow is as high as is too much.

    A percentage of 0 is not looked at.
    """
    calls = sum(old.calls for old in tally)
    if calls < minimum_calls:
        return False
    failures = sum(old.failures for old in tally)
    slow = sum(old.slow for old in tally)
    return bool(
        (failure_percent and failures * 100 >= failure_percent * calls)
        or (slow_percent and slow * 100 >= slow_percent * calls)
    )
