"""The call log keeps every call once and gives it back by page, by time and by trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import timedelta
from inspect import signature

import pytest
from hypothesis import HealthCheck as HypothesisCheck
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from core.errors import DatabaseUnreachable
from core.model.answer import Source
from core.model.call_record import Attempt, CallRecord, Exchange, record_id
from core.model.call_row import CallMeasureRow, CallRow
from core.model.calling import CallClass, Safety
from core.model.decision import AdmissionSight, CacheSight, Decision, Turn, Why
from core.model.health import CircuitState
from core.model.overview import MinuteCount
from core.model.verdict import Verdict
from core.persistence.call_log import CallLog
from core.persistence.database import Database
from core.persistence.tables import integration_call_bodies, integration_call_logs, metadata
from core.persistence.text import storable
from tests.builders import attempt, call_record, decision, exchange, failed_call
from tests.fakes import NOON

_SECOND = timedelta(seconds=1)

_texts = st.text(st.characters(exclude_categories=()), max_size=80)
_pairs = st.lists(st.tuples(_texts, _texts), max_size=3).map(tuple)
_amounts = st.floats(0, 1e9)
_exchanges = st.builds(
    Exchange,
    method=st.sampled_from(["GET", "POST", "SMTP"]),
    url=_texts,
    request_headers=_pairs,
    request_body=st.none() | _texts,
    response_status=st.none() | st.integers(100, 599),
    response_headers=_pairs,
    response_body=st.none() | _texts,
)
_attempts = st.lists(
    st.builds(
        Attempt,
        provider=_texts,
        number=st.integers(1, 4),
        started_ms=_amounts,
        duration_ms=_amounts,
        verdict=st.sampled_from(Verdict),
        status=st.none() | st.integers(100, 599),
        detail=_texts,
        retry_after=st.none() | _amounts,
        may_have_arrived=st.booleans(),
        pause_s=_amounts,
    ),
    max_size=4,
).map(tuple)
_decisions = st.builds(
    Decision,
    call_class=st.sampled_from(CallClass),
    safety=st.sampled_from(Safety),
    deadline_ms=_amounts,
    policy=_texts,
    why=st.sampled_from(Why),
    cache=st.sampled_from(CacheSight),
    cache_age_ms=st.none() | _amounts,
    admissions=st.lists(
        st.builds(
            AdmissionSight,
            provider=_texts,
            at_ms=_amounts,
            turn=st.sampled_from(Turn),
            circuit=st.none() | st.sampled_from(CircuitState),
            failures=st.none() | st.integers(0, 100),
            minute_left=st.none() | st.integers(0, 10_000),
            hour_left=st.none() | st.integers(0, 10_000),
            wait_ms=_amounts,
            retry_after_ms=st.none() | _amounts,
            reason=st.none() | _texts,
        ),
        max_size=3,
    ).map(tuple),
)
_records = st.builds(
    CallRecord,
    id=st.integers(0, 2**63 - 1),
    created_at=st.datetimes().map(lambda naive: naive.replace(tzinfo=NOON.tzinfo)),
    integration=_texts,
    integration_type=st.sampled_from(["api", "smtp", "sms", "webhook"]),
    operation=_texts,
    provider=st.none() | _texts,
    exchange=st.none() | _exchanges,
    duration_ms=_amounts,
    is_success=st.booleans(),
    source=st.none() | st.sampled_from(Source),
    error_type=st.none() | _texts,
    error_message=st.none() | _texts,
    trace_id=st.uuids().map(lambda uuid: uuid.hex),
    user_id=st.none() | _texts,
    attempts=_attempts,
    circuit_state=st.sampled_from(CircuitState),
    circuit_opened=st.booleans(),
    limiter_wait_ms=_amounts,
    is_rate_limited=st.booleans(),
    is_mock=st.booleans(),
    idempotency_key=st.none() | _texts,
    decision=st.none() | _decisions,
)


def _ids(rows: Sequence[CallRow | CallMeasureRow | CallRecord]) -> list[int]:
    return [row.id for row in rows]


def _series(count: int) -> list[CallRecord]:
    """Calls a second apart, oldest first."""
    return [
        call_record(id=record_id(NOON + n * _SECOND, n), created_at=NOON + n * _SECOND) for n in range(count)
    ]


def test_a_call_comes_back_as_it_was_recorded(database: Database) -> None:
    log = CallLog(database)
    record = failed_call(
        user_id="u-1",
        limiter_wait_ms=3.5,
        is_rate_limited=True,
        circuit_opened=True,
        attempts=(attempt(), attempt()._replace(number=2, may_have_arrived=False, retry_after=2.5)),
        idempotency_key="key-1",
        decision=decision(),
    )

    log.append([record])

    [row] = log.latest()
    said = log.bodies(record.id)
    assert record.exchange is not None
    assert said is not None
    assert row == CallRow(
        id=record.id,
        created_at=NOON,
        integration_name="address",
        integration_type="api",
        operation="search",
        provider="juso",
        request_method="GET",
        request_url=record.exchange.url,
        response_status=200,
        duration_ms=42.5,
        is_success=False,
        source=None,
        is_from_cache=False,
        is_mock=False,
        error_type="AttemptTimedOut",
        error_message=record.error_message,
        user_id="u-1",
        trace_id=record.trace_id,
        retry_count=1,
        circuit_breaker_state=CircuitState.CLOSED,
        circuit_opened=True,
        is_rate_limited=True,
        limiter_wait_ms=3.5,
        idempotency_key="key-1",
    )
    assert said.request_headers == record.exchange.request_headers
    assert said.response_headers == record.exchange.response_headers
    assert said.response_body == record.exchange.response_body
    assert said.attempts == record.attempts
    assert said.decision == record.decision
    assert log.decision_of(record.id) == record.decision


def test_what_was_decided_comes_back_as_what_it_is_and_not_as_words(database: Database) -> None:
    """Words of an enumeration are members of it again, at every depth."""
    log = CallLog(database)
    record = call_record(decision=decision())
    log.append([record])

    found = log.decision_of(record.id)

    assert found is not None
    assert [type(word) for word in (found.call_class, found.safety, found.why, found.cache)] == [
        CallClass,
        Safety,
        Why,
        CacheSight,
    ]
    assert type(found.admissions) is tuple
    assert [(type(seen.turn), type(seen.circuit)) for seen in found.admissions] == [(Turn, CircuitState)] * 2


def test_no_field_of_an_attempt_or_a_decision_is_forgotten(sqlite_database: Database) -> None:
    """What is added to the record later is stored from then on, or this fails."""
    log = CallLog(sqlite_database)
    record = call_record(decision=decision())
    log.append([record])

    with sqlite_database.reading() as connection:
        [row] = connection.execute(integration_call_bodies.select()).mappings()

    assert list(row["attempts"][0]) == list(signature(Attempt).parameters)
    assert list(row["decision"]) == list(signature(Decision).parameters)
    assert list(row["decision"]["admissions"][0]) == list(signature(AdmissionSight).parameters)


def test_a_decision_that_was_never_kept_is_none(database: Database) -> None:
    """Neither that of a call without one, nor that of a call that nobody made."""
    log = CallLog(database)
    record = call_record()
    log.append([record])

    assert log.decision_of(record.id) is None
    assert log.decision_of(record.id + 1) is None


@pytest.mark.fault("LW-04")
# One fixture serves all examples: each example empties or replaces what it reads.
@settings(suppress_health_check=[HypothesisCheck.function_scoped_fixture], max_examples=40)
@given(records=st.lists(_records, max_size=6, unique_by=lambda record: record.id))
def test_whatever_a_record_holds_both_databases_keep_the_same_of_it(
    sqlite_database: Database, postgres_database: Database, records: list[CallRecord]
) -> None:
    """NUL, lone surrogates and overlong names included: the rows and what was said are equal on both."""
    kept = []
    for database in (sqlite_database, postgres_database):
        with database.writing() as connection:
            for table in (integration_call_bodies, integration_call_logs):
                connection.execute(table.delete())
        log = CallLog(database)
        log.append(records)
        kept.append(([*log.latest(limit=10)], [log.bodies(record.id) for record in records]))

    assert kept[0] == kept[1]
    assert _ids(kept[0][0]) == sorted(_ids(records), reverse=True)
    for record, said in zip(records, kept[0][1], strict=True):
        assert said is not None
        assert said.response_body == storable(record.exchange.response_body if record.exchange else None)
        assert said.attempts == tuple(
            attempt._replace(provider=storable(attempt.provider), detail=storable(attempt.detail))
            for attempt in record.attempts
        )
        assert (said.decision is None) == (record.decision is None)
        if said.decision and record.decision:
            assert said.decision == replace(
                record.decision,
                policy=storable(record.decision.policy),
                admissions=tuple(
                    replace(seen, provider=storable(seen.provider), reason=storable(seen.reason))
                    for seen in record.decision.admissions
                ),
            )


@pytest.mark.property(23)
# One fixture serves all examples: each example empties or replaces what it reads.
@settings(suppress_health_check=[HypothesisCheck.function_scoped_fixture], max_examples=40)
@given(record=_records)
def test_each_row_holds_all_required_fields(sqlite_database: Database, record: CallRecord) -> None:
    """Provider, endpoint, duration, status, source, error and trace of any call can be read from its row."""
    log = CallLog(sqlite_database)
    with sqlite_database.writing() as connection:
        connection.execute(integration_call_bodies.delete())
        connection.execute(integration_call_logs.delete())

    log.append([record])

    [row] = log.latest()
    said = log.bodies(record.id)
    asked = record.exchange
    assert said is not None
    assert (row.id, row.created_at, row.duration_ms) == (record.id, record.created_at, record.duration_ms)
    assert (row.is_success, row.source, row.is_mock) == (record.is_success, record.source, record.is_mock)
    assert (row.trace_id, row.retry_count) == (record.trace_id, record.retry_count)
    assert row.is_from_cache == record.is_from_cache
    assert row.circuit_breaker_state == record.circuit_state
    assert row.provider == storable(record.provider, 64)
    assert row.integration_name == storable(record.integration, 64)
    assert row.error_message == storable(record.error_message)
    assert row.request_method == (asked.method if asked else None)
    assert row.request_url == (storable(asked.url) if asked else None)
    assert row.response_status == (asked.response_status if asked else None)
    assert said.request_body == (storable(asked.request_body) if asked else None)
    assert len(said.request_headers) == (len(asked.request_headers) if asked else 0)
    assert len(said.response_headers) == (len(asked.response_headers) if asked else 0)
    assert len(said.attempts) == len(record.attempts)


def test_appending_the_same_calls_again_changes_nothing(database: Database) -> None:
    log = CallLog(database)
    records = _series(3)
    log.append(records)

    log.append([replace(records[1], duration_ms=9_999.0), *_series(5)[2:]])

    rows = log.latest()
    assert _ids(rows) == _ids(_series(5))[::-1]
    assert {row.duration_ms for row in rows} == {42.5}
    assert all(log.bodies(row.id) for row in rows)


def test_a_batch_may_name_the_same_call_twice(database: Database) -> None:
    log = CallLog(database)
    [record] = _series(1)

    log.append([record, record])

    assert _ids(log.latest()) == [record.id]


def test_appending_nothing_writes_nothing(database: Database) -> None:
    CallLog(database).append([])

    assert CallLog(database).latest() == []


@pytest.mark.parametrize("count", [1, 1_365, 1_366, 3_000])
def test_a_batch_of_any_size_is_kept_whole(database: Database, count: int) -> None:
    """Also beyond what one statement may carry: 32,766 parameters."""
    log = CallLog(database)

    log.append(_series(count))
    log.append(_series(count))  # all duplicates: on PostgreSQL this is the path beside COPY

    assert len(log.between(NOON, NOON + timedelta(hours=1))) == count


def test_a_batch_is_kept_whole_or_not_at_all(database: Database) -> None:
    """When the second table refuses, the first holds nothing either, and the reason reaches the caller."""
    log = CallLog(database)
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE integration_call_bodies RENAME TO hidden"))
    try:
        with pytest.raises(Exception, match="integration_call_bodies"):
            log.append(_series(3))
    finally:
        with database.writing() as connection:
            connection.execute(text("ALTER TABLE hidden RENAME TO integration_call_bodies"))

    assert log.latest() == []


@pytest.mark.fault("LW-01")
def test_a_database_that_does_not_answer_is_a_storage_error() -> None:
    with pytest.raises(DatabaseUnreachable, match="cannot be reached"):
        CallLog(Database.at("postgresql+psycopg://nobody@127.0.0.1:9/none")).append(_series(1))


@pytest.mark.fault("LW-01")
def test_a_connection_that_ends_while_it_rests_is_replaced(postgres_database: Database) -> None:
    """The server ends every connection of ours; the next batch is written all the same."""
    log = CallLog(postgres_database)
    log.append(_series(1))
    other = Database.at(postgres_database.engine.url.render_as_string(hide_password=False))
    with other.writing() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.close()

    log.append(_series(2))

    assert len(log.latest()) == 2


def test_pages_of_the_latest_calls_join_without_gap_or_overlap(database: Database) -> None:
    log = CallLog(database)
    records = _series(25)
    log.append(records)

    seen: list[int] = []
    before: int | None = None
    while page := log.latest(limit=10, before_id=before):
        seen += _ids(page)
        before = page[-1].id

    assert seen == _ids(records)[::-1]


def test_the_latest_calls_can_be_those_of_one_integration_or_failed_ones_alone(database: Database) -> None:
    log = CallLog(database)
    fine, failed = call_record(), failed_call()
    elsewhere = failed_call(integration="sms")
    log.append([fine, failed, elsewhere])

    assert _ids(log.latest("sms")) == [elsewhere.id]
    assert set(_ids(log.latest(only_failed=True))) == {failed.id, elsewhere.id}
    assert _ids(log.latest("address", only_failed=True)) == [failed.id]


def test_failed_calls_are_found_by_their_own_index(sqlite_database: Database) -> None:
    """SQLite uses a partial index only for the very words of its condition."""
    with sqlite_database.reading() as connection:
        plan = connection.execute(
            text(
                "EXPLAIN QUERY PLAN SELECT * FROM integration_call_logs "
                "WHERE integration_name = 'sms' AND NOT is_success ORDER BY id DESC LIMIT 50"
            )
        ).all()

    assert "ix_integration_call_logs_failures" in str(plan)


def test_a_range_of_time_holds_its_start_and_not_its_end(database: Database) -> None:
    log = CallLog(database)
    records = _series(5)
    log.append(records)

    rows = log.between(records[1].created_at, records[3].created_at)

    assert _ids(rows) == _ids(records[1:3])


# One fixture serves all examples: each example empties or replaces what it reads.
@settings(suppress_health_check=[HypothesisCheck.function_scoped_fixture], max_examples=40)
@given(
    offsets=st.lists(st.integers(0, 5_000), max_size=12),
    start=st.integers(0, 5_000),
    length=st.integers(0, 5_000),
)
def test_a_range_of_time_is_exact_to_the_microsecond(
    sqlite_database: Database, offsets: list[int], start: int, length: int
) -> None:
    log = CallLog(sqlite_database)
    with sqlite_database.writing() as connection:
        connection.execute(integration_call_logs.delete())
        connection.execute(integration_call_bodies.delete())
    times = [NOON + timedelta(microseconds=offset) for offset in offsets]
    log.append([call_record(created_at=at, id=record_id(at, n)) for n, at in enumerate(times)])
    since = NOON + timedelta(microseconds=start)
    until = since + timedelta(microseconds=length)

    found = [row.created_at for row in log.between(since, until)]

    assert sorted(found) == sorted(at for at in times if since <= at < until)


@pytest.mark.parametrize("read", [CallLog.between, CallLog.measures])
def test_pages_of_a_range_join_without_gap_or_overlap(
    database: Database, read: Callable[..., Sequence[CallRow | CallMeasureRow]]
) -> None:
    log = CallLog(database)
    records = _series(25)
    log.append(records)
    end = NOON + timedelta(minutes=1)

    seen: list[int] = []
    after: int | None = None
    while page := read(log, NOON, end, after_id=after, limit=10):
        seen += _ids(page)
        after = page[-1].id

    assert seen == _ids(records)


def test_what_is_counted_of_a_call_is_what_its_row_says(database: Database) -> None:
    """The narrow read gives the same calls in the same order, and of each column the same value and type."""
    log = CallLog(database)
    usual, stale, failed = _series(3)
    log.append(
        [
            replace(failed, is_success=False, error_type="RateLimited", source=None, is_rate_limited=True),
            replace(stale, source=Source.STALE, limiter_wait_ms=2.5, circuit_opened=True, is_mock=True),
            usual,
        ]
    )
    until = failed.created_at

    rows, measures = log.between(NOON, until + _SECOND), log.measures(NOON, until + _SECOND)

    wide = [tuple(getattr(row, name) for name in CallMeasureRow._fields) for row in rows]
    assert measures == wide
    assert all(type(measure.is_success) is bool for measure in measures)
    assert _ids(log.measures(NOON, until)) == _ids([usual, stale])


def test_the_calls_of_one_trace_are_found_by_it(database: Database) -> None:
    log = CallLog(database)
    first, second = _series(2)
    log.append([first, replace(second, trace_id="f" * 32)])

    assert _ids(log.by_trace(first.trace_id)) == [first.id]


def test_a_trace_is_all_that_is_kept_of_its_calls_oldest_first(database: Database) -> None:
    """Rows, what was said, attempts and decisions; of a call whose bodies are gone, its row."""
    log = CallLog(database)
    first, other, second, third = _series(4)
    records = [replace(first, decision=decision()), replace(other, trace_id="f" * 32), second, third]
    log.append(records[::-1])
    with database.writing() as connection:
        connection.execute(integration_call_bodies.delete().where(integration_call_bodies.c.id == second.id))

    traced = log.trace(first.trace_id)

    assert [call.row for call in traced] == log.by_trace(first.trace_id)
    assert [call.bodies for call in traced] == [log.bodies(first.id), None, log.bodies(third.id)]
    assert traced[0].bodies is not None
    assert (traced[0].bodies.decision, traced[0].bodies.attempts) == (decision(), first.attempts)
    assert log.trace("0" * 32) == []


def test_a_trace_costs_two_queries_however_many_calls_it_has(database: Database) -> None:
    log = CallLog(database)
    records = _series(300)
    log.append(records)

    with _statements(database) as sent:
        traced = log.trace(records[0].trace_id)

    assert _ids([call.row for call in traced]) == _ids(records)
    assert all(call.bodies for call in traced)
    assert len(sent) == 2


@contextmanager
def _statements(database: Database) -> Iterator[list[str]]:
    """What is sent to the database meanwhile, without the beginnings of transactions."""
    sent: list[str] = []

    def note(*told: object) -> None:
        if not str(told[2]).startswith("BEGIN"):
            sent.append(str(told[2]))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def test_pages_of_a_trace_join_without_gap_or_overlap(database: Database) -> None:
    """A job may make thousands of calls under one trace; what was said in all of them need not fit into memory."""
    log = CallLog(database)
    records = _series(25)
    log.append(records)

    seen: list[int] = []
    after: int | None = None
    while page := log.trace(records[0].trace_id, after_id=after, limit=10):
        assert len(page) <= 10
        assert all(call.bodies and call.bodies.id == call.row.id for call in page)
        seen += [call.row.id for call in page]
        after = page[-1].row.id

    assert seen == _ids(records)


def test_bodies_that_were_never_kept_are_none(database: Database) -> None:
    assert CallLog(database).bodies(1) is None


def test_a_frame_is_newest_first_and_knows_its_zone(database: Database) -> None:
    log = CallLog(database)
    records = _series(4)
    log.append(records)

    frame = log.frame(NOON, NOON + timedelta(minutes=1), "address", limit=3)

    assert frame["id"].tolist() == _ids(records)[:0:-1]
    assert str(frame["created_at"].dt.tz) == "UTC"
    assert frame["created_at"].iloc[0] == records[-1].created_at
    assert frame["response_status"].tolist() == [200, 200, 200]
    assert log.frame(NOON, NOON + timedelta(minutes=1), "sms").empty


def test_a_frame_has_the_same_columns_and_types_with_and_without_rows(database: Database) -> None:
    log = CallLog(database)
    empty = log.frame(NOON, NOON + timedelta(minutes=1))
    log.append([failed_call(exchange=None, provider=None), call_record(exchange=exchange())])

    full = log.frame(NOON, NOON + timedelta(minutes=1))

    assert list(empty.columns) == [field.name for field in fields(CallRow)]
    assert full.dtypes.to_dict() == empty.dtypes.to_dict()
    assert full["response_status"].isna().sum() == 1


def test_a_row_has_the_columns_of_its_table_in_their_order() -> None:
    assert [column.name for column in metadata.tables["integration_call_logs"].columns] == [
        field.name for field in fields(CallRow)
    ]


def test_calls_are_counted_by_the_minute_of_their_start(database: Database) -> None:
    """A minute that had no call is not there, and a mistake of the caller's own is not counted."""
    call_log = CallLog(database)
    call_log.append(
        [
            call_record(created_at=NOON, duration_ms=10),
            call_record(created_at=NOON + timedelta(seconds=59.9), duration_ms=30, is_success=False),
            call_record(created_at=NOON + timedelta(minutes=2), duration_ms=7, integration="sms"),
            call_record(created_at=NOON + timedelta(minutes=2), error_type="InvalidRequest"),
            call_record(created_at=NOON + timedelta(minutes=9)),
        ]
    )

    counts = call_log.by_minute(NOON, NOON + timedelta(minutes=5))

    assert counts == [
        MinuteCount("address", NOON, total=2, failed=1, mean_ms=20),
        MinuteCount("sms", NOON + timedelta(minutes=2), total=1, failed=0, mean_ms=7),
    ]
