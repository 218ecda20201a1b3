"""What every provider over HTTP needs to judge an answer: its JSON, its status, its Retry-After and RateLimit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import orjson

from core.model.address import tidy
from core.model.message import ApiResponse
from core.model.verdict import Judgement, Verdict
from core.policies.rate_headers import http_date, pause_s, rate_fields, read_hint

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
_WAITING = frozenset({Verdict.THROTTLED, Verdict.UNAVAILABLE})
_TURNED_AWAY = frozenset({401, 403, 407, 429})
"""Given at the door, before a request is looked at. Of 503 that is not certain: a gateway gives it as well."""


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
    return heed_headers(Judgement(verdict, detail), response)


def heed_headers(judgement: Judgement, response: ApiResponse) -> Judgement:
    """`judgement` with what status and headers say besides: when to come again, and whether nothing was accepted.

    What the provider has said in its own format comes first. Retry-After counts only where the verdict is one that a
    provider can name a time for; a limit that is used up, always. Dates are measured from the answer's own
    Date header, so that no clock is needed and a wrong clock does no harm.
    """
    told = _told(judgement.verdict, rate_fields(response.headers), response)
    turned_away = judgement.nothing_accepted or response.status in _TURNED_AWAY
    if told is None and turned_away is judgement.nothing_accepted:
        return judgement
    waits = judgement.retry_after is None and judgement.verdict in _WAITING
    return replace(
        judgement,
        retry_after=told if waits else judgement.retry_after,
        pause_s=told if judgement.pause_s is None else judgement.pause_s,
        nothing_accepted=turned_away,
    )


def _told(verdict: Verdict, fields: Mapping[str, str], response: ApiResponse) -> float | None:
    if not fields:
        return None
    hint = read_hint(fields, http_date(response.header("Date") or ""))
    return pause_s(hint if verdict in _WAITING else hint._replace(retry_after_s=None))
