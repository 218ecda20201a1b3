"""What is common to every provider over HTTP: the status, Retry-After, and JSON that may be anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.integrations.http_answer import judge_status, read_object, retry_after_seconds
from core.model.message import ApiResponse
from core.model.verdict import Verdict

DATE = ("Date", "Tue, 24 Nov 2026 10:00:00 GMT")


@pytest.mark.fault("CP-08")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("7.5", 7.5),
        (" 7 ", 7),
        ("-1", 0),
        ("1000000000", 3600),
        ("9" * 30, 3600),
        ("Tue, 24 Nov 2026 10:02:00 GMT", 120),
        ("Tue, 24 Nov 2026 12:00:00 GMT", 3600),
        ("Tue, 24 Nov 2026 09:59:00 GMT", 0),
        ("1e9", None),
        ("soon", None),
        ("", None),
        ("NaN", None),
        ("inf", None),
        ("٣", None),
        ("Tue, 99 Nov 2026 10:02:00 GMT", None),
        ("9" * 31, None),
    ],
)
def test_retry_after_is_held_to_an_hour_and_nonsense_is_none(value: str, seconds: float | None) -> None:
    response = ApiResponse(429, (DATE, ("retry-after", value)), b"")
    assert retry_after_seconds(response) == seconds
    assert judge_status(response).retry_after == seconds


@pytest.mark.fault("CP-08")
def test_a_date_to_retry_after_says_nothing_without_the_date_of_the_answer() -> None:
    assert retry_after_seconds(ApiResponse(429, (("Retry-After", DATE[1]),), b"")) is None


@pytest.mark.fault("CP-08")
@given(value=st.text(), date=st.text())
def test_no_text_makes_retry_after_raise_or_leave_its_bounds(value: str, date: str) -> None:
    seconds = retry_after_seconds(ApiResponse(503, (("Retry-After", value), ("Date", date)), b""))
    assert seconds is None or 0 <= seconds <= 3600


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
