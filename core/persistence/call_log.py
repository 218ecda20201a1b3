"""The call log: written in batches, read by page, by time and by trace.

An id is made of its record's time (`core.model.call_record.record_id`), so every range of time is a range of ids
and the primary key serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, starmap
from typing import TYPE_CHECKING, Final, cast

import orjson
from sqlalchemy import Connection, RowMapping, Select, Table, func, or_, select, text

from core.errors import telling_errors
from core.model.answer import Source
from core.model.call_record import EPOCH, HEALTH_CHECK, SEQUENCE_BITS, Attempt, CallRecord, first_id_at
from core.model.call_row import CallBodies, CallMeasureRow, CallRow, TracedCall
from core.model.calling import CallClass, Safety
from core.model.decision import AdmissionSight, CacheSight, Decision, Turn, Why
from core.model.health import CircuitState
from core.model.message import Pairs
from core.model.overview import MinuteCount
from core.model.verdict import Verdict
from core.persistence.database import Database
from core.persistence.tables import integration_call_bodies as bodies
from core.persistence.tables import integration_call_logs as logs
from core.persistence.text import storable

if TYPE_CHECKING:
    import pandas as pd
    from psycopg import Cursor

_MOST_PARAMETERS: Final = 32_766
_ESCAPED_NUL: Final = b"\\u0000"
_MILLISECOND: Final = timedelta(milliseconds=1)
_IDS_A_MINUTE: Final = 60_000 << SEQUENCE_BITS
_MEASURES: Final = tuple(logs.c[name] for name in CallMeasureRow._fields)
# Spelled as the partial index spells it: SQLite uses the index for no other wording.
_FAILED: Final = text("NOT is_success")

_Row = tuple[object, ...]
_Json = str | float | Sequence["_Json"] | Mapping[str, "_Json"] | None


class CallLog:
    """The tables `integration_call_logs` and `integration_call_bodies`. Threads and processes may share them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, records: Sequence[CallRecord]) -> None:
        """Keep these records, all or none. A record whose id is there already is left as it is.

        Text that a database cannot hold is changed as `core.persistence.text.storable` says, and cut where it
        is longer than its column.
        """
        if not records:
            return
        if self._database.is_sqlite:
            self._insert(records)
            return
        from psycopg.errors import UniqueViolation

        try:
            self._copy(records, _copy_in)
        except UniqueViolation:
            self._copy(records, _copy_new)

    def latest(
        self,
        integration: str | None = None,
        limit: int = 50,
        before_id: int | None = None,
        *,
        only_failed: bool = False,
    ) -> list[CallRow]:
        """The newest calls, newest first. The next page begins before the id of the last row of this one."""
        query = select(logs).order_by(logs.c.id.desc()).limit(limit)
        if integration is not None:
            query = query.where(logs.c.integration_name == integration)
        if before_id is not None:
            query = query.where(logs.c.id < before_id)
        if only_failed:
            query = query.where(_FAILED)
        return self._rows(query)

    def between(
        self, start: datetime, end: datetime, after_id: int | None = None, limit: int = 10_000
    ) -> list[CallRow]:
        """The calls of `start` or later and before `end`, oldest first, at most `limit` of them.

        The next page comes after the id of the last row of this one.
        """
        return self._rows(_page(select(logs), start, end, after_id, limit))

    def measures(
        self, start: datetime, end: datetime, after_id: int | None = None, limit: int = 10_000
    ) -> list[CallMeasureRow]:
        """What is counted of the calls that `between` reads, at a fraction of its cost.

        A page of fewer than `limit` rows is the last.
        """
        query = _page(select(*_MEASURES), start, end, after_id, limit)
        with self._database.reading() as connection:
            return list(starmap(CallMeasureRow, connection.execute(query)))

    def by_minute(self, start: datetime, end: datetime) -> list[MinuteCount]:
        """What came of the calls of each minute and integration that had any, oldest first.

        Minutes are whole minutes of UTC; the first may be cut by `start`. What says nothing about the third party
        is not counted, as in `core.metrics.window`, and checks are not either.
        """
        minute = (logs.c.id // _IDS_A_MINUTE).label("minute")
        query = (
            _in_time(
                select(
                    logs.c.integration_name,
                    minute,
                    func.count().label("total"),
                    func.count().filter(_FAILED).label("failed"),
                    func.avg(logs.c.duration_ms).label("mean_ms"),
                ),
                start,
                end,
            )
            .where(logs.c.operation != HEALTH_CHECK)
            .where(or_(logs.c.error_type.is_(None), logs.c.error_type.in_(sorted(telling_errors()))))
            .group_by(logs.c.integration_name, minute)
            .order_by(minute, logs.c.integration_name)
        )
        with self._database.reading() as connection:
            return [_minute_count(row) for row in connection.execute(query).mappings()]

    def by_trace(self, trace_id: str) -> list[CallRow]:
        """Every call of one trace, oldest first."""
        return self._rows(select(logs).where(logs.c.trace_id == trace_id).order_by(logs.c.id))

    def trace(self, trace_id: str, after_id: int | None = None, limit: int = 1_000) -> list[TracedCall]:
        """Every call of one trace with all that is kept of it, oldest first, at most `limit` of them.

        The next page comes after the id of the last call of this one.
        """
        query = select(logs).where(logs.c.trace_id == trace_id).order_by(logs.c.id).limit(limit)
        if after_id is not None:
            query = query.where(logs.c.id > after_id)
        page = query.subquery()
        said = select(bodies).where(bodies.c.id.in_(select(page.c.id)))
        with self._database.reading() as connection:
            rows = [_call_row(row) for row in connection.execute(query).mappings()]
            kept = {row["id"]: _bodies(row) for row in connection.execute(said).mappings()}
        return [TracedCall(row, kept.get(row.id)) for row in rows]

    def decision_of(self, id: int) -> Decision | None:  # noqa: A002 -- the table's word.
        """What was decided about the call of that id, None when it is not kept, or not any more."""
        query = select(bodies.c.decision).where(bodies.c.id == id)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _decision(row)

    def bodies(self, id: int) -> CallBodies | None:  # noqa: A002 -- the table's word.
        """What was said in the call of that id, None when it is not kept, or not any more."""
        with self._database.reading() as connection:
            row = connection.execute(select(bodies).where(bodies.c.id == id)).mappings().one_or_none()
        return None if row is None else _bodies(row)

    def frame(
        self, since: datetime, until: datetime, integration: str | None = None, limit: int = 10_000
    ) -> pd.DataFrame:
        """The calls of `since` or later and before `until` as a table, newest first, at most `limit` of them.

        Its columns are those of `CallRow`, `created_at` in UTC; they have the same types when there is no row.
        """
        import pandas as pd

        query = _in_time(select(logs), since, until).order_by(logs.c.id.desc()).limit(limit)
        if integration is not None:
            query = query.where(logs.c.integration_name == integration)
        with self._database.reading() as connection:
            rows = [tuple(row) for row in connection.execute(query)]
        return pd.DataFrame.from_records(rows, columns=list(_FRAME_TYPES)).astype(_FRAME_TYPES)

    def _rows(self, query: Select[tuple[object, ...]]) -> list[CallRow]:
        with self._database.reading() as connection:
            return [_call_row(row) for row in connection.execute(query).mappings()]

    def _insert(self, records: Sequence[CallRecord]) -> None:
        with self._database.writing() as connection:
            _insert_new(connection, logs, [_log_values(record, _sqlite_time) for record in records])
            _insert_new(connection, bodies, [_body_values(record) for record in records])

    def _copy(
        self, records: Sequence[CallRecord], copy: Callable[[Cursor, Table, Iterable[_Row]], None]
    ) -> None:
        with (
            self._database.writing() as connection,
            cast("Cursor", connection.connection.cursor()) as cursor,
        ):
            copy(cursor, logs, (_log_values(record, _same) for record in records))
            copy(cursor, bodies, (_body_values(record) for record in records))


_FRAME_TYPES: Final = {
    "id": "int64",
    "created_at": "datetime64[us, UTC]",
    "integration_name": "str",
    "integration_type": "str",
    "operation": "str",
    "provider": "str",
    "request_method": "str",
    "request_url": "str",
    "response_status": "Int64",
    "duration_ms": "float64",
    "is_success": "bool",
    "source": "str",
    "is_from_cache": "bool",
    "is_mock": "bool",
    "error_type": "str",
    "error_message": "str",
    "user_id": "str",
    "trace_id": "str",
    "retry_count": "int64",
    "circuit_breaker_state": "str",
    "circuit_opened": "bool",
    "is_rate_limited": "bool",
    "limiter_wait_ms": "float64",
    "idempotency_key": "str",
}


def _minute_count(row: RowMapping) -> MinuteCount:
    return MinuteCount(
        integration=row["integration_name"],
        minute=EPOCH + timedelta(minutes=row["minute"]),
        total=row["total"],
        failed=row["failed"],
        mean_ms=float(row["mean_ms"]),
    )


def _in_time(query: Select[tuple[object, ...]], start: datetime, end: datetime) -> Select[tuple[object, ...]]:
    """Ids are as fine as a millisecond; within the first and the last one, the time itself decides."""
    return query.where(
        logs.c.id >= first_id_at(start),
        logs.c.id < first_id_at(end + _MILLISECOND),
        logs.c.created_at >= start,
        logs.c.created_at < end,
    )


def _page(
    query: Select[tuple[object, ...]], start: datetime, end: datetime, after_id: int | None, limit: int
) -> Select[tuple[object, ...]]:
    query = _in_time(query, start, end).order_by(logs.c.id).limit(limit)
    return query if after_id is None else query.where(logs.c.id > after_id)


# Writing. Rows are made in the order of the tables' columns.


def _insert_new(connection: Connection, table: Table, rows: Sequence[_Row]) -> None:
    """SQLite: one statement for many rows. After each step of a statement it lets other threads have the
    interpreter, and row by row that is as many waits as there are rows.
    """
    most = _MOST_PARAMETERS // len(table.columns)
    for first in range(0, len(rows), most):
        batch = rows[first : first + most]
        connection.exec_driver_sql(_insert_statement(table, len(batch)), tuple(chain.from_iterable(batch)))


def _insert_statement(table: Table, rows: int) -> str:
    row = f"({', '.join('?' * len(table.columns))})"
    return (
        f"INSERT INTO {table.name} ({', '.join(table.columns.keys())}) "  # noqa: S608 -- names of our own tables.
        f"VALUES {', '.join([row] * rows)} ON CONFLICT DO NOTHING"
    )


def _copy_in(cursor: Cursor, table: Table, rows: Iterable[_Row]) -> None:
    """PostgreSQL: rows of which none is there already."""
    with cursor.copy(f"COPY {table.name} ({', '.join(table.columns.keys())}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _copy_new(cursor: Cursor, table: Table, rows: Iterable[_Row]) -> None:
    """PostgreSQL: rows of which some are there already. COPY itself knows no ON CONFLICT."""
    names, incoming = ", ".join(table.columns.keys()), f"incoming_{table.name}"
    cursor.execute(f"CREATE TEMPORARY TABLE {incoming} (LIKE {table.name}) ON COMMIT DROP")
    with cursor.copy(f"COPY {incoming} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    cursor.execute(
        f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {incoming} ON CONFLICT DO NOTHING"  # noqa: S608 -- names of our own tables.
    )


def _same(time: datetime) -> object:
    return time


def _sqlite_time(time: datetime) -> object:
    """As SQLAlchemy writes it: UTC without saying so, always with microseconds."""
    return time.isoformat(" ", "microseconds").removesuffix("+00:00")


def _log_values(record: CallRecord, time: Callable[[datetime], object]) -> _Row:
    exchange = record.exchange
    return (
        record.id,
        time(record.created_at),
        storable(record.integration, 64),
        storable(record.integration_type, 16),
        storable(record.operation, 64),
        storable(record.provider, 64),
        storable(exchange.method, 8) if exchange else None,
        storable(exchange.url) if exchange else None,
        exchange.response_status if exchange else None,
        record.duration_ms,
        record.is_success,
        None if record.source is None else record.source.value,
        record.is_from_cache,
        record.is_mock,
        storable(record.error_type, 64),
        storable(record.error_message),
        storable(record.user_id, 128),
        storable(record.trace_id, 32),
        record.retry_count,
        record.circuit_state.value,
        record.circuit_opened,
        record.is_rate_limited,
        record.limiter_wait_ms,
        storable(record.idempotency_key),
    )


def _body_values(record: CallRecord) -> _Row:
    exchange = record.exchange
    return (
        record.id,
        _json(exchange.request_headers) if exchange else None,
        storable(exchange.request_body) if exchange else None,
        _json(exchange.response_headers) if exchange else None,
        storable(exchange.response_body) if exchange else None,
        _json([_attempt_document(attempt) for attempt in record.attempts]),
        None if record.decision is None else _json(_decision_document(record.decision)),
    )


def _attempt_document(attempt: Attempt) -> _Json:
    return {
        "provider": attempt.provider,
        "number": attempt.number,
        "started_ms": attempt.started_ms,
        "duration_ms": attempt.duration_ms,
        "verdict": attempt.verdict,
        "status": attempt.status,
        "detail": attempt.detail,
        "retry_after": attempt.retry_after,
        "may_have_arrived": attempt.may_have_arrived,
        "is_doubtful": attempt.is_doubtful,
        "pause_s": attempt.pause_s,
    }


def _decision_document(decision: Decision) -> _Json:
    return {
        "call_class": decision.call_class,
        "safety": decision.safety,
        "deadline_ms": decision.deadline_ms,
        "policy": decision.policy,
        "why": decision.why,
        "cache": decision.cache,
        "cache_age_ms": decision.cache_age_ms,
        "admissions": [_sight_document(seen) for seen in decision.admissions],
    }


def _sight_document(seen: AdmissionSight) -> _Json:
    return {
        "provider": seen.provider,
        "at_ms": seen.at_ms,
        "turn": seen.turn,
        "circuit": seen.circuit,
        "failures": seen.failures,
        "minute_left": seen.minute_left,
        "hour_left": seen.hour_left,
        "wait_ms": seen.wait_ms,
        "retry_after_ms": seen.retry_after_ms,
        "reason": seen.reason,
    }


def _json(document: _Json) -> str:
    """JSON that every database can hold: where it cannot hold some text, all of it is mended (`storable`)."""
    try:
        found = orjson.dumps(document)
    except TypeError:  # a lone surrogate
        found = None
    if found is None or _ESCAPED_NUL in found:
        found = orjson.dumps(_mended(document))
    return found.decode()


def _mended(document: _Json) -> _Json:
    if isinstance(document, str):
        return storable(document)
    if isinstance(document, Mapping):
        return {name: _mended(value) for name, value in document.items()}
    if isinstance(document, Sequence):
        return [_mended(value) for value in document]
    return document


# Reading.


def _call_row(row: RowMapping) -> CallRow:
    values = dict(row)
    values["source"] = None if row["source"] is None else Source(row["source"])
    values["circuit_breaker_state"] = CircuitState(row["circuit_breaker_state"])
    return CallRow(**values)


def _bodies(row: RowMapping) -> CallBodies:
    return CallBodies(
        id=row["id"],
        request_headers=_pairs(row["request_headers"]),
        request_body=row["request_body"],
        response_headers=_pairs(row["response_headers"]),
        response_body=row["response_body"],
        attempts=tuple(
            Attempt(**{**attempt, "verdict": Verdict(attempt["verdict"])}) for attempt in row["attempts"]
        ),
        decision=_decision(row),
    )


def _decision(row: RowMapping) -> Decision | None:
    stored = row["decision"]
    if stored is None:
        return None
    words = {
        "call_class": CallClass(stored["call_class"]),
        "safety": Safety(stored["safety"]),
        "why": Why(stored["why"]),
        "cache": CacheSight(stored["cache"]),
    }
    admissions = tuple(
        AdmissionSight(
            **{
                **seen,
                "turn": Turn(seen["turn"]),
                "circuit": None if seen["circuit"] is None else CircuitState(seen["circuit"]),
            }
        )
        for seen in stored["admissions"]
    )
    return Decision(**{**stored, **words, "admissions": admissions})


def _pairs(stored: list[list[str]] | None) -> Pairs:
    return tuple((name, value) for name, value in stored or [])
