"""What is told of a call: one line, at the level of its outcome, with the time of its end."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from core.model.answer import Source
from core.model.call_record import CallRecord
from core.telemetry.lines import tell
from tests.builders import call_record, failed_call
from tests.fakes import NOON
from tests.log_lines import integration_lines, log_lines


def told(record: CallRecord) -> list[tuple[str, str]]:
    """Level and event of each line about a call."""
    with integration_lines() as lines:
        tell(record)
    return [(line.levelname, line.getMessage()) for line in lines]


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (call_record(), ("INFO", "call.answered")),
        (call_record(source=Source.CACHE, exchange=None), ("INFO", "call.cached")),
        (call_record(source=Source.MOCK, is_mock=True), ("INFO", "call.answered")),
        (
            call_record(source=Source.STALE, is_success=False, error_type="CircuitOpen"),
            ("WARNING", "call.stood_in_for"),
        ),
        (call_record(source=None, error_type="NotFound"), ("INFO", "call.callers_mistake")),
        (failed_call(), ("ERROR", "call.failed")),
    ],
)
def test_each_outcome_is_told_at_its_own_level(record: CallRecord, line: tuple[str, str]) -> None:
    assert told(record) == [line]


def test_a_line_says_who_was_asked_what_came_of_it_and_whether_it_was_a_mock() -> None:
    """All that an operator looks for stands in one line, under the call's own trace id."""
    record = failed_call(is_mock=True)

    with integration_lines() as lines:
        tell(record)

    fields = vars(lines[0])
    assert lines[0].name == "bongsu.integration.address"
    assert (fields["integration"], fields["operation"], fields["provider"]) == ("address", "search", "juso")
    assert (fields["error_type"], fields["status"], fields["duration_ms"]) == ("AttemptTimedOut", 200, 42.5)
    assert (fields["trace_id"], fields["is_mock"]) == (record.trace_id, True)


def test_a_call_that_the_limiter_touched_has_a_line_of_its_own_after_its_outcome() -> None:
    """Held back is not refused; both are warnings."""
    held_back = call_record(limiter_wait_ms=12.34)
    refused = failed_call(error_type="RateLimited", is_rate_limited=True)

    assert told(held_back) == [("INFO", "call.answered"), ("WARNING", "limiter.held_back")]
    assert told(refused) == [("ERROR", "call.failed"), ("WARNING", "limiter.refused")]
    with integration_lines() as lines:
        tell(held_back)
    assert [vars(line).get("waited_ms") for line in lines] == [None, 12.3]


def test_a_line_bears_the_time_at_which_the_call_ended() -> None:
    """To the microsecond, in whatever form handlers look for it, and however much later it is written."""
    early = call_record(created_at=NOON + timedelta(microseconds=7), duration_ms=1_042.5)
    late = call_record(created_at=NOON + timedelta(minutes=1), duration_ms=0.0)

    with integration_lines() as lines:
        tell(early)
        tell(late)

    ended = NOON + timedelta(seconds=1, microseconds=42_507)
    assert [line.created for line in lines] == [ended.timestamp(), NOON.timestamp() + 60]
    assert [line.msecs for line in lines] == pytest.approx([42.507, 0.0], abs=0.001)
    assert lines[1].relativeCreated - lines[0].relativeCreated == pytest.approx(58_957.493, abs=0.01)


def test_the_written_line_bears_that_time_too() -> None:
    with log_lines() as lines:
        tell(call_record(limiter_wait_ms=1.0))

    assert [line["timestamp"] for line in lines.all()] == ["2026-03-02T12:00:00.042500Z"] * 2


def test_a_written_line_bears_the_trace_of_its_call_whoever_writes_it() -> None:
    record = call_record(trace_id="f" * 32)

    with log_lines() as lines:
        tell(record)

    assert [line["trace_id"] for line in lines.all()] == ["f" * 32]


def test_a_line_below_the_level_is_not_even_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def about(_record: CallRecord) -> dict[str, object]:
        raise AssertionError("It was made.")

    monkeypatch.setattr("core.telemetry.lines._about", about)

    with integration_lines() as lines:
        logging.getLogger("bongsu.integration").setLevel(logging.CRITICAL)
        tell(failed_call(limiter_wait_ms=5.0))

    assert lines == []


def test_each_integration_has_the_lines_of_its_own_level() -> None:
    """The same call is told of where the level lets it through, and where it does not it is silent."""
    quiet = logging.getLogger("bongsu.integration.sms")
    quiet.setLevel(logging.ERROR)
    try:
        with integration_lines() as lines:
            for integration in ("sms", "address"):
                tell(call_record(integration=integration, limiter_wait_ms=5.0))
                tell(failed_call(integration=integration))
    finally:
        quiet.setLevel(logging.NOTSET)

    assert [(line.name.rsplit(".", 1)[1], line.levelname) for line in lines] == [
        ("sms", "ERROR"),
        ("address", "INFO"),
        ("address", "WARNING"),
        ("address", "ERROR"),
    ]
