"""Spans of time as people write them: `15m`, `1h`, `7d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST: Final = timedelta(days=400)


def span(text: str) -> timedelta:
    """The span that `text` names: a whole number and one of s, m, h, d.

    Raises `ValueError` for anything else, and for a span of nothing or of more than 400 days.
    """
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if match is None:
        raise ValueError(f"{text!r} is not a span of time; write it like 15m, 1h or 7d.")
    length = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if not timedelta(0) < length <= _LONGEST:
        raise ValueError(f"{text!r} is not between a second and {_LONGEST.days} days.")
    return length
