"""When a provider wants to be asked again, as the headers of its answer say.

    Retry-After: 30                                 seconds, or a date: RFC 9110, section 10.2.3
    RateLimit: "permin";r=0;t=23                    r left, more in t seconds: draft-ietf-httpapi-ratelimit-headers-10
    RateLimit: limit=10, remaining=0, reset=23      the same in draft 07
    RateLimit-Remaining: 0, RateLimit-Reset: 23     the same in the drafts before
    X-RateLimit-Remaining, X-Rate-Limit-Reset, …    the custom that the drafts come from

A reset of a thousand million or more is a time since 1970, in seconds or milliseconds, and anything less a delay. What
is malformed is ignored, as the draft demands. So is RateLimit-Policy, as the draft allows: its window does not say
when there is more. What a cache has kept for a while (Age) says nothing about the limit now.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import NamedTuple

from core.model.message import Pairs
from core.policies.retry import LONGEST_RETRY_AFTER_S

_FAMILIES = (
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
)
_NAMES = frozenset({"retry-after", "ratelimit", "age"}.union(*_FAMILIES))
_FIRST_EPOCH_S = 1e9  # in 2001; as a delay, thirty years.
_FIRST_EPOCH_MS = 1e12
_LONGEST_FIELD = 4096
_LONGEST_DATE = 64

_SECONDS = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_COUNT = re.compile(r"[0-9]{1,15}")
_STRING = r'"(?:[^"\\]|\\.)*+"'
_ITEM = re.compile(
    rf"\s*+(?:{_STRING}|[a-z*][^\s;,=\"]*+)"
    rf"(?P<parameters>(?:\s*+;\s*+[a-z*][a-z0-9_.*-]*+(?:=(?:{_STRING}|[^\s;,\"]*+))?+)*+)\s*+(?:,(?=\s*+\S)|\Z)",
    re.ASCII | re.IGNORECASE,
)
_PARAMETER = re.compile(
    rf";\s*+([a-z*][a-z0-9_.*-]*+)(?:=({_STRING}|[^\s;,\"]*+))?+", re.ASCII | re.IGNORECASE
)
_MEMBER = re.compile(r"(?:\A|,)\s*+(remaining|reset)=([0-9]{1,15})\s*+(?=[,;]|\Z)", re.ASCII)


class RateHint(NamedTuple):
    """What the headers say; None for what they do not say. Times are seconds from now, from 0 to an hour.

    `remaining` requests may still go before `reset_s` has passed. Of several limits it is the one that holds longest.
    """

    retry_after_s: float | None = None
    remaining: int | None = None
    reset_s: float | None = None


def pause_s(hint: RateHint) -> float | None:
    """How long everybody should hold back, in seconds from 0 to an hour; None when there is no reason to.

    A Retry-After takes precedence over a limit that is used up.
    """
    if hint.retry_after_s is not None:
        return _held(hint.retry_after_s)
    is_used_up = hint.remaining is not None and hint.remaining <= 0
    return _held(hint.reset_s) if is_used_up and hint.reset_s is not None else None


def rate_fields(headers: Pairs) -> Mapping[str, str]:
    """The headers that say something about it, by lower-case name. Most answers have none."""
    fields: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        if key in _NAMES:
            is_list = key == "ratelimit" and key in fields
            fields[key] = f"{fields[key]}, {value}" if is_list else fields.get(key, value)
    return fields


def read_hint(fields: Mapping[str, str], now: datetime | None) -> RateHint:
    """What these fields say at `now`, an aware time; without one, dates and times since 1970 say nothing."""
    retry_after_s = _retry_after_s(fields.get("retry-after", ""), now)
    limit = None if _is_old(fields.get("age", "")) else _limit(fields, now)
    return RateHint(retry_after_s, limit.remaining, limit.reset_s) if limit else RateHint(retry_after_s)


@lru_cache(maxsize=32)  # a busy provider says the same time in many answers.
def http_date(text: str) -> datetime | None:
    """The time that a date in a header names, aware; None when it names none."""
    if len(text) > _LONGEST_DATE:
        return None
    try:
        parsed = parsedate_to_datetime(text)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError, TypeError, IndexError):  # whatever the parser trips over.
        return None


class _Limit(NamedTuple):
    remaining: int
    reset_s: float | None


def _retry_after_s(text: str, now: datetime | None) -> float | None:
    value = text.strip()
    if _SECONDS.fullmatch(value):
        return _held(float(value))
    until = http_date(value) if value else None
    return _held((until - now).total_seconds()) if until and now else None


def _limit(fields: Mapping[str, str], now: datetime | None) -> _Limit | None:
    """By the newest way of saying it that makes sense."""
    limits = list(_structured(fields.get("ratelimit", "")))
    if limits:
        return _tightest(limits)
    for remaining_name, reset_name in _FAMILIES:
        remaining = fields.get(remaining_name, "").strip()
        if _COUNT.fullmatch(remaining):
            return _Limit(int(remaining), _reset_s(fields.get(reset_name, ""), now))
    return None


def _structured(field: str) -> Iterator[_Limit]:
    """The limits of a RateLimit field of draft 10, or the one of draft 07; none when it is neither."""
    if len(field) > _LONGEST_FIELD:
        return
    items = _items(field)
    if items is None:
        items = [dict(_MEMBER.findall(field))]
    for item in items:
        remaining, reset = item.get("remaining", ""), item.get("reset")
        is_whole = reset is None or _COUNT.fullmatch(reset)
        if _COUNT.fullmatch(remaining) and is_whole:
            yield _Limit(int(remaining), None if reset is None else _held(float(reset)))


def _items(field: str) -> list[dict[str, str]] | None:
    """The items of a structured list, their parameters under the older names; None when it is no such list."""
    items: list[dict[str, str]] = []
    position = 0
    while position < len(field):
        match = _ITEM.match(field, position)
        if match is None:
            return None
        parameters = dict(_PARAMETER.findall(match["parameters"]))
        named = {"remaining": parameters.get("r"), "reset": parameters.get("t")}
        items.append({name: value for name, value in named.items() if value is not None})
        position = match.end()
    return items


def _tightest(limits: list[_Limit]) -> _Limit:
    used_up = [limit for limit in limits if not limit.remaining]
    if used_up:
        return max(used_up, key=lambda limit: limit.reset_s or 0.0)
    return min(limits, key=lambda limit: limit.remaining)


def _reset_s(text: str, now: datetime | None) -> float | None:
    value = text.strip()
    if not _SECONDS.fullmatch(value):
        return None
    number = float(value)
    if number < _FIRST_EPOCH_S:
        return _held(number)
    epoch_s = number if number < _FIRST_EPOCH_MS else number / 1000
    return None if now is None else _held(epoch_s - now.timestamp())


def _is_old(age: str) -> bool:
    return bool(_COUNT.fullmatch(age.strip())) and int(age) > 0


def _held(seconds: float) -> float:
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_S)
