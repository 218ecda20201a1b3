"""What every provider over HTTP needs to judge an answer: its JSON, its status, its Retry-After."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import cast

import orjson

from core.model.address import tidy
from core.model.message import ApiResponse
from core.model.verdict import Judgement, Verdict

MAX_RETRY_AFTER_SECONDS = 3600.0

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_DETAIL = 200
_BY_CLASS = {4: Verdict.REQUEST_REFUSED, 5: Verdict.UNAVAILABLE}
_BY_STATUS = {
    401: Verdict.CREDENTIALS_REFUSED,
    403: Verdict.CREDENTIALS_REFUSED,
    404: Verdict.MALFORMED,
    407: Verdict.CREDENTIALS_REFUSED,
    408: Verdict.UNAVAILABLE,
    410: Verdict.MALFORMED,
    429: Verdict.THROTTLED,
}
_DELTA = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?", re.ASCII)


def read_object(response: ApiResponse) -> Mapping[str, object] | None:
    """The JSON object in the body, or None when the body is anything else (NaN and lone surrogates included)."""
    try:
        return as_object(orjson.loads(response.body.removeprefix(_BYTE_ORDER_MARK)))
    except orjson.JSONDecodeError:
        return None


def as_object(value: object) -> Mapping[str, object] | None:
    """`value` if it is a JSON object, else None."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else None


def as_objects(value: object) -> tuple[Mapping[str, object], ...] | None:
    """`value` if it is a JSON array of objects, else None."""
    if not isinstance(value, list):
        return None
    objects = tuple(as_object(entry) for entry in cast("list[object]", value))
    known = tuple(entry for entry in objects if entry is not None)
    return known if len(known) == len(objects) else None


def text_of(entry: Mapping[str, object], name: str) -> str | None:
    """The tidied text under `name`: "" when it is null or missing, None when it is not a text."""
    value = entry.get(name)
    if value is None:
        return ""
    return tidy(value) if isinstance(value, str) else None


def count_of(entry: Mapping[str, object], name: str) -> int | None:
    """The count under `name`, whether it comes as a number or as a text; None when it is neither, or negative."""
    value = entry.get(name)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
        return int(value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return cast("int", value) if is_count else None


def detail_of(code: str, message: object) -> str:
    """A provider's code and its own words, in one short line."""
    words = message if isinstance(message, str) else ""
    return tidy(f"{code[:_MAX_DETAIL]} {words[:_MAX_DETAIL]}")[:_MAX_DETAIL]


def judge_status(response: ApiResponse) -> Judgement:
    """What the HTTP status alone says. A success (2xx) is MALFORMED here: nobody understood its body.

    So are redirects, which are never followed, and "not found": the endpoint is fixed, so it must have moved.
    """
    status = response.status
    verdict = _BY_STATUS.get(status) or _BY_CLASS.get(status // 100, Verdict.MALFORMED)
    unread = verdict is Verdict.MALFORMED
    detail = f"HTTP {status} without an answer in the provider's format" if unread else f"HTTP {status}"
    return Judgement(verdict, detail, retry_after_if_told(verdict, response))


def retry_after_if_told(verdict: Verdict, response: ApiResponse) -> float | None:
    """Retry-After in seconds, where the verdict is one that a provider can name a time for."""
    waits = verdict in {Verdict.THROTTLED, Verdict.UNAVAILABLE}
    return retry_after_seconds(response) if waits else None


def retry_after_seconds(response: ApiResponse) -> float | None:
    """Retry-After in seconds, held to 0..3600; None when it is missing or makes no sense.

    A date is measured from the answer's own Date header, so that no clock is needed and a wrong clock does no harm.
    """
    value = (response.header("Retry-After") or "").strip()
    if _DELTA.fullmatch(value):
        return _held(float(value))
    until, since = _http_date(value), _http_date(response.header("Date") or "")
    return None if until is None or since is None else _held((until - since).total_seconds())


def _held(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _http_date(value: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError, TypeError, IndexError):  # whatever the parser trips over.
        return None
