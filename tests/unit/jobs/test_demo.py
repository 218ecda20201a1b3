"""Demo traffic has a daily rhythm, and asks for what a mock can answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.demo import USER, calls_per_minute, keep_quiet, keyword

MIDNIGHT_IN_SEOUL = datetime(2026, 3, 1, 15, tzinfo=UTC)


def test_the_demo_is_busiest_in_the_korean_afternoon() -> None:
    by_hour = [calls_per_minute(MIDNIGHT_IN_SEOUL + timedelta(hours=hour)) for hour in range(24)]

    assert by_hour.index(max(by_hour)) == 16
    assert by_hour.index(min(by_hour)) == 4


@given(at=st.datetimes(timezones=st.just(UTC)))
def test_the_demo_never_calls_more_often_than_the_default_limit_allows(at: datetime) -> None:
    assert 0 < calls_per_minute(at) < 55


@given(first=st.floats(0, 0.999), second=st.floats(0, 0.999), third=st.floats(0, 0.999))
def test_every_demo_keyword_is_a_road_and_a_number(first: float, second: float, third: float) -> None:
    draws = iter([first, second, third])

    road, number = keyword(lambda: next(draws)).split()

    assert road.endswith(("로", "길"))
    assert 1 <= int(number) <= 900


@pytest.fixture
def lines_of() -> Iterator[logging.Logger]:
    """The logger of an integration that no other test uses, kept quiet."""
    logger = logging.getLogger("bongsu.integration.quiet")
    keep_quiet(["quiet"])
    yield logger
    logger.filters.clear()
    logger.setLevel(logging.NOTSET)


def test_demo_calls_are_told_at_debug_level_alone(
    lines_of: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """Failed ones too, which a demo has many of; the calls of others keep their levels."""
    for level in (logging.INFO, logging.DEBUG):
        lines_of.setLevel(level)
        lines_of.error("call.failed", extra={"user_id": USER})
        lines_of.info("call.answered", extra={"user_id": "kim"})
        lines_of.error("limiter.refused")

    assert [(line.levelname, line.message) for line in caplog.records] == [
        ("INFO", "call.answered"),
        ("ERROR", "limiter.refused"),
        ("DEBUG", "call.failed"),
        ("INFO", "call.answered"),
        ("ERROR", "limiter.refused"),
    ]
