"""An operator's word over a circuit breaker: for a while, for a reason, by a name."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class OverrideMode(StrEnum):
    """What holds instead of the breaker's own decision.

    `FORCED_OPEN` refuses every attempt. `FORCED_CLOSED` lets every attempt through and counts nothing. `SHADOW` lets
    every attempt through and counts as ever, so that one sees what the breaker would have done.
    """

    FORCED_OPEN = "forced_open"
    FORCED_CLOSED = "forced_closed"
    SHADOW = "shadow"


class Override(NamedTuple):
    """One such word. What nobody takes back ends by itself, at `until`.

    It holds from `since`, so that one that lies in the future (the clock was set back) does not hold. Times are
    microseconds of the store's clock.
    """

    mode: OverrideMode
    until: int
    by: str
    reason: str
    since: int = 0
