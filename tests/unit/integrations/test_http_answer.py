"""What is common to every provider over HTTP: status and headers, and JSON that may be anything."""

from __future__ import annotations

import pytest

from core.integrations.http_answer import heed_headers, judge_status, read_object
from core.model.message import ApiResponse
from core.model.verdict import Judgement, Verdict

DATE = ("Date", "Tue, 24 Nov 2026 10:00:00 GMT")
USED_UP = ("RateLimit", '"permin";r=0;t=23')


@pytest.mark.fault("CP-08")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 7.5 ", 7.5),
        ("-1", 0),
        ("1000000000", 3600),
        ("Tue, 24 Nov 2026 10:02:00 GMT", 120),
        ("Tue, 24 Nov 2026 12:00:00 GMT", 3600),
        ("Tue, 24 Nov 2026 09:59:00 GMT", 0),
        ("soon", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_held_to_an_hour_and_nonsense_is_none(
    status: int, value: str, seconds: float | None
) -> None:
    judgement = judge_status(ApiResponse(status, (DATE, ("retry-after", value)), b""))
    assert (judgement.retry_after, judgement.pause_s) == (seconds, seconds)


@pytest.mark.fault("CP-08")
def test_a_date_to_retry_after_says_nothing_without_the_date_of_the_answer() -> None:
    assert judge_status(ApiResponse(429, (("Retry-After", DATE[1]),), b"")).retry_after is None


@pytest.mark.parametrize("status", [200, 202, 301, 400, 401, 404])
def test_retry_after_says_nothing_where_nobody_is_asked_to_wait(status: int) -> None:
    judgement = judge_status(ApiResponse(status, (DATE, ("Retry-After", "7")), b""))
    assert (judgement.retry_after, judgement.pause_s) == (None, None)


@pytest.mark.parametrize(
    "verdict", [Verdict.OK, Verdict.NOT_FOUND, Verdict.REQUEST_REFUSED, Verdict.MALFORMED]
)
def test_a_limit_that_is_used_up_holds_everybody_back_after_a_good_answer_too(verdict: Verdict) -> None:
    heeded = heed_headers(Judgement(verdict, "well"), ApiResponse(200, (USED_UP,), b""))
    assert heeded == Judgement(verdict, "well", pause_s=23)


@pytest.mark.parametrize("status", [429, 503])
def test_a_limit_that_is_used_up_says_when_to_come_again_unless_retry_after_does(status: int) -> None:
    judgement = judge_status(ApiResponse(status, (USED_UP,), b""))
    assert (judgement.retry_after, judgement.pause_s) == (23, 23)
    judgement = judge_status(ApiResponse(status, (USED_UP, ("Retry-After", "40")), b""))
    assert (judgement.retry_after, judgement.pause_s) == (40, 40)


def test_what_the_provider_says_in_its_own_format_comes_first() -> None:
    own = Judgement(Verdict.THROTTLED, "slowly", retry_after=5, pause_s=6)
    assert heed_headers(own, ApiResponse(200, (USED_UP, ("Retry-After", "40")), b"")) == own


def test_an_answer_without_such_headers_is_judged_as_before() -> None:
    judgement = Judgement(Verdict.OK)
    assert heed_headers(judgement, ApiResponse(200, (DATE, ("Content-Type", "text/plain")), b"")) is judgement


@pytest.mark.parametrize(
    ("statuses", "is_certain"),
    [((401, 403, 407, 429), True), ((200, 301, 400, 404, 408, 409, 422, 500, 502, 503, 504), False)],
)
def test_only_who_is_turned_away_at_the_door_knows_that_nothing_was_accepted(
    statuses: tuple[int, ...], *, is_certain: bool
) -> None:
    assert {judge_status(ApiResponse(status, (), b"")).nothing_accepted for status in statuses} == {
        is_certain
    }
    assert heed_headers(
        Judgement(Verdict.THROTTLED, nothing_accepted=True), ApiResponse(200, (), b"")
    ).nothing_accepted


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((500, 502, 503, 504, 599, 408), Verdict.UNAVAILABLE),
        ((429,), Verdict.THROTTLED),
        ((401, 403, 407), Verdict.CREDENTIALS_REFUSED),
        ((400, 405, 409, 413, 422, 499), Verdict.REQUEST_REFUSED),
        ((100, 200, 204, 301, 302, 304, 404, 410, 0, -1, 600, 999), Verdict.MALFORMED),
    ],
)
def test_each_status_has_one_verdict(statuses: tuple[int, ...], verdict: Verdict) -> None:
    assert {judge_status(ApiResponse(status, (), b"")).verdict for status in statuses} == {verdict}


@pytest.mark.fault("CP-05")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a": 1} trailing',
        b"<html>maintenance</html>",
    ],
    ids=["empty", "null", "list", "NaN", "surrogate", "bytes", "open", "deep", "trailing", "html"],
)
def test_what_is_no_json_object_reads_as_none(body: bytes) -> None:
    assert read_object(ApiResponse(200, (), body)) is None


def test_a_byte_order_mark_before_the_json_does_not_matter() -> None:
    assert read_object(ApiResponse(200, (), b'\xef\xbb\xbf{"a": 1}')) == {"a": 1}
