"""What headers say about the next request: every way of saying it, and nonsense that must do no harm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.message import Pairs
from core.policies.rate_headers import RateHint, http_date, pause_s, rate_fields, read_hint

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
EPOCH = int(NOW.timestamp())

NAMES = st.sampled_from(
    [
        "Retry-After",
        "RateLimit",
        "RateLimit-Policy",
        "RateLimit-Remaining",
        "RateLimit-Reset",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
        "X-Rate-Limit-Remaining",
        "X-Rate-Limit-Reset",
        "Age",
    ]
)
NUMBERS = st.one_of(
    st.integers(-(10**40), 10**40).map(str),
    st.floats().map(str),
    st.sampled_from(["0", "1", "-0", "1.5", "9" * 400, "٣", "²", "1_000", "0x10", "1e9"]),
)
DATES = st.datetimes(timezones=st.just(UTC)).map(lambda date: date.strftime("%a, %d %b %Y %H:%M:%S GMT"))
FIELDS = st.lists(
    st.sampled_from(
        ['"a"', "a", ";", ",", "r", "t", "=", "0", "1", "99", " ", "remaining", "reset", "-", '"', "\\"]
    )
).map("".join)
VALUES = st.one_of(st.text(max_size=50), NUMBERS, DATES, FIELDS)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=6).map(tuple)
CLOCKS = st.one_of(st.none(), st.datetimes(timezones=st.just(UTC)))


def hint(*headers: tuple[str, str], now: datetime | None = NOW) -> RateHint:
    """What these headers say."""
    return read_hint(rate_fields(headers), now)


@pytest.mark.fault("CP-08")
@given(headers=HEADERS, now=CLOCKS)
def test_no_header_makes_anything_raise_or_leave_its_bounds(headers: Pairs, now: datetime | None) -> None:
    found = read_hint(rate_fields(headers), now)
    assert found.remaining is None or found.remaining >= 0
    for seconds in (found.retry_after_s, found.reset_s, pause_s(found)):
        assert seconds is None or 0 <= seconds <= 3600


@given(
    found=st.builds(
        RateHint,
        retry_after_s=st.none() | st.floats(),
        remaining=st.none() | st.integers(),
        reset_s=st.none() | st.floats(),
    )
)
def test_a_pause_is_never_negative_and_never_above_an_hour(found: RateHint) -> None:
    pause = pause_s(found)
    assert pause is None or 0 <= pause <= 3600


@pytest.mark.fault("CP-08")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("7.5", 7.5),
        (" 7 ", 7),
        ("-1", 0),
        ("3600", 3600),
        ("3601", 3600),
        ("1000000000", 3600),
        ("9" * 30, 3600),
        ("Tue, 24 Nov 2026 10:02:00 GMT", 120),
        ("Tuesday, 24-Nov-26 10:02:00 GMT", 120),
        ("Tue Nov 24 10:02:00 2026", 120),
        ("Tue, 24 Nov 2026 12:00:00 GMT", 3600),
        ("Tue, 24 Nov 2026 09:59:00 GMT", 0),
        ("1e9", None),
        ("soon", None),
        ("", None),
        ("NaN", None),
        ("inf", None),
        ("٣", None),
        ("Tue, 99 Nov 2026 10:02:00 GMT", None),
        (f"Tue, 24 Nov 2026 10:02:00 GMT ({'x' * 40})", None),
        ("9" * 31, None),
    ],
)
def test_retry_after_is_a_delay_or_a_date(value: str, seconds: float | None) -> None:
    assert hint(("retry-AFTER", value)) == RateHint(retry_after_s=seconds)
    assert pause_s(hint(("Retry-After", value))) == seconds


def test_a_date_says_nothing_to_who_does_not_know_the_time() -> None:
    assert hint(("Retry-After", "Tue, 24 Nov 2026 10:02:00 GMT"), now=None) == RateHint()
    assert hint(("Retry-After", "7"), now=None) == RateHint(7)


@pytest.mark.parametrize(
    ("value", "remaining", "reset"),
    [
        ('"permin";r=20;t=23', 20, 23),
        ('"default";r=999;pk=:dHJpYWwxMjEzMjM=:', 999, None),
        ('"permin";r=0;t=23, "perhour";r=400;t=1200', 0, 23),
        ('"permin";r=0;t=23,"perhour";r=0;t=1200', 0, 1200),
        ('"permin";r=0, "perhour";r=0;t=1200', 0, 1200),
        ('"permin";r=3;t=23, "perhour";r=2;t=1200', 2, 1200),
        ('"a \\"quoted\\", name; r=0";r=5;t=6;x="; r=0, y"', 5, 6),
        ("default;r=50;t=30", 50, 30),
        ('"a" ; r=1 ; t=2', 1, 2),
        ('"a";t=2;r=1;flag;other=x', 1, 2),
        ('"a";r=9;r=1', 1, None),
        ('"a";r=0;t=999999999999999', 0, 3600),
        ('"a";r=-1;t=5, "b";r=7;t=8', 7, 8),
        ("limit=100, remaining=0, reset=23", 0, 23),
        ("limit=100;w=60,remaining=4", 4, None),
    ],
)
def test_the_fields_of_the_drafts_are_read(value: str, remaining: int, reset: float | None) -> None:
    assert hint(("RateLimit", value)) == RateHint(None, remaining, reset)


@pytest.mark.parametrize(
    "value",
    [
        "",
        '"a"',
        '"a";t=5',
        '"a";r=-1',
        '"a";r=1.5',
        '"a";r="1"',
        '"a";r=0;t=soon',
        '"a";r=9999999999999999',
        '"a;r=0;t=5',
        '"a";r=0;t=5,',
        ',"a";r=0;t=5',
        '"a";r=0;t=5 "b"',
        "limit=100, remaining=-1, reset=23",
        "limit=100, reset=23",
        "remaining=0x, reset=23",
        '"a";r=0;t=5' + " " * 5000,
    ],
)
def test_a_malformed_field_is_ignored_and_an_older_one_is_read(value: str) -> None:
    assert hint(("RateLimit", value)) == RateHint()
    older = hint(("RateLimit", value), ("RateLimit-Remaining", "3"), ("RateLimit-Reset", "4"))
    assert older == RateHint(None, 3, 4)


def test_a_field_that_comes_in_two_lines_is_one_list() -> None:
    assert hint(("RateLimit", '"a";r=5;t=6'), ("ratelimit", '"b";r=0;t=7')) == RateHint(None, 0, 7)


def test_of_a_field_that_is_no_list_the_first_counts() -> None:
    assert hint(("Retry-After", "4"), ("retry-after", "5")) == RateHint(4)


@pytest.mark.parametrize("prefix", ["RateLimit", "X-RateLimit", "X-Rate-Limit", "x-ratelimit"])
@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("23", 23),
        (" 23.5 ", 23.5),
        ("-4", 0),
        ("999999999", 3600),
        ("1000000000", 0),
        ("999999999999", 3600),
        ("1000000000000", 0),
        ("100000", 3600),
        (str(EPOCH + 23), 23),
        (f"{EPOCH + 23}.5", 23.5),
        (str(EPOCH - 1), 0),
        (str(EPOCH + 100_000), 3600),
        (f"{EPOCH + 23}000", 23),
        ("", None),
        ("2026-11-24T10:00:23Z", None),
    ],
)
def test_the_older_fields_name_a_delay_or_a_time(prefix: str, reset: str, seconds: float | None) -> None:
    headers = ((f"{prefix}-Limit", "10"), (f"{prefix}-Remaining", " 0 "), (f"{prefix}-Reset", reset))
    assert hint(*headers) == RateHint(None, 0, seconds)
    assert pause_s(hint(*headers)) == seconds


def test_a_time_since_1970_says_nothing_to_who_does_not_know_the_time() -> None:
    headers = (("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", str(EPOCH + 23)))
    assert hint(*headers, now=None) == RateHint(None, 0, None)


@pytest.mark.parametrize("remaining", ["-1", "unlimited", "1.0", "", "9" * 16])
def test_a_count_that_is_none_is_ignored_and_an_older_custom_is_read(remaining: str) -> None:
    headers = (("RateLimit-Remaining", remaining), ("RateLimit-Reset", "5"))
    assert hint(*headers) == RateHint()
    assert hint(*headers, ("X-RateLimit-Remaining", "8"), ("X-RateLimit-Reset", "9")) == RateHint(None, 8, 9)


def test_the_newest_way_of_saying_it_counts_and_ways_are_not_mixed() -> None:
    newest, middle, oldest = (
        ("RateLimit", '"a";r=1'),
        ("RateLimit-Remaining", "2"),
        ("X-Rate-Limit-Remaining", "3"),
    )
    reset = ("X-Rate-Limit-Reset", "30")
    assert hint(oldest, reset, middle, newest) == RateHint(None, 1, None)
    assert hint(oldest, reset, middle) == RateHint(None, 2, None)
    assert hint(oldest, reset) == RateHint(None, 3, 30)


def test_a_limit_out_of_a_cache_is_ignored_but_a_retry_after_is_not() -> None:
    limit = ("RateLimit", '"a";r=0;t=23')
    assert hint(limit, ("Age", "1"), ("Retry-After", "4")) == RateHint(4)
    assert hint(limit, ("Age", "0")) == hint(limit, ("Age", "old")) == RateHint(None, 0, 23)


@pytest.mark.parametrize(
    ("found", "pause"),
    [
        (RateHint(), None),
        (RateHint(retry_after_s=0, remaining=0, reset_s=60), 0),
        (RateHint(retry_after_s=7, remaining=0, reset_s=60), 7),
        (RateHint(remaining=0, reset_s=60), 60),
        (RateHint(remaining=1, reset_s=60), None),
        (RateHint(remaining=0), None),
        (RateHint(reset_s=60), None),
        (RateHint(remaining=0, reset_s=7200), 3600),
    ],
)
def test_retry_after_comes_first_and_a_limit_holds_only_when_it_is_used_up(
    found: RateHint, pause: float | None
) -> None:
    assert pause_s(found) == pause


def test_an_answer_without_such_headers_says_nothing() -> None:
    assert rate_fields((("Content-Type", "text/plain"), ("Date", "Tue, 24 Nov 2026 10:00:00 GMT"))) == {}
    assert read_hint({}, NOW) == RateHint()


@given(date=st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 -- the zone comes beside them.
def test_a_date_is_read_to_the_second(date: datetime) -> None:
    whole = date.replace(microsecond=0)
    assert http_date(whole.strftime("%a, %d %b %Y %H:%M:%S GMT")) == whole
    assert hint(
        ("Retry-After", (NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT"))
    ) == RateHint(90)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "piece", ['"', '"a";', '"a";r=0,', ";r", ",", "remaining=", "a;r=0;t=5 ", '\\"', '"\\']
)
@pytest.mark.parametrize("length", [4000, 1_000_000])
def test_a_long_field_takes_no_time(piece: str, length: int) -> None:
    """It would, if a pattern tried all the ways in which it does not match."""
    text = piece * (length // len(piece))
    for name in ("Retry-After", "RateLimit", "X-RateLimit-Remaining", "Age"):
        assert pause_s(hint((name, text))) is None


def test_a_retry_after_and_a_limit_are_both_read() -> None:
    assert hint(("Retry-After", "7"), ("RateLimit", '"a";r=3;t=5')) == RateHint(7.0, 3, 5.0)


def test_a_field_may_be_as_long_as_the_limit_and_no_longer() -> None:
    field = '"a";r=3;t=5;x="'.ljust(4095, "x") + '"'

    assert hint(("RateLimit", field)) == RateHint(None, 3, 5.0)
    assert hint(("RateLimit", field.replace("xx", "xxx", 1))) == RateHint()


def test_of_limits_that_are_used_up_one_that_names_its_end_counts() -> None:
    assert hint(("RateLimit", '"a";r=0, "b";r=0;t=1')) == RateHint(None, 0, 1.0)


def test_of_limits_that_leave_as_much_the_first_counts_whether_it_names_an_end_or_not() -> None:
    assert hint(("RateLimit", '"a";r=4, "b";r=4;t=1')) == RateHint(None, 4)
    assert hint(("RateLimit", '"a";r=4;t=9, "b";r=4;t=1')) == RateHint(None, 4, 9.0)
