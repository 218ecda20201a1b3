"""What keeping and reading calls costs: batches beside raw rows, the recorder, aggregation, and one page."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from statistics import quantiles
from time import perf_counter_ns
from typing import Final

import psycopg
from psycopg.types.json import set_json_loads
from sqlalchemy import Engine, event, text

from benchmarks import parties
from benchmarks.measure import Case, Measured, Scale, announce, interleaved, progress
from benchmarks.parties import Canned
from benchmarks.report import Report, Table, compared, duration, ratio
from core.clock import SystemClock
from core.config.environment import load
from core.integrations.address import AddressIntegration
from core.metrics.window import WINDOW_MINUTES, aggregate
from core.model.call_record import CallRecord, EndedCall, Exchange, first_id_at, record_id
from core.overview import Overviews
from core.persistence import schema
from core.persistence.call_log import CallLog
from core.persistence.database import Database
from core.persistence.health import HealthStore
from core.persistence.metrics import MetricsStore
from core.state.memory import MemoryState
from core.telemetry.collector import MetricsCollector
from core.telemetry.recorder import Recorder
from tests import servers
from tests.builders import call_record, decision
from tests.fakes import NOON, FakeClock

_BATCH: Final = 500
_TABLES: Final = ("integration_call_logs", "integration_call_bodies")
_MOST_PARAMETERS: Final = 32_766
_HOUR: Final = timedelta(hours=1)
_PUTS: Final = 200
_FEW_ROUNDS: Final = 3
_SMALL: Final = 20

Row = tuple[object, ...]
"""One row as the driver takes it, the id first."""


def measure(scale: Scale) -> Report:
    """Every table of the subject."""
    with tempfile.TemporaryDirectory() as folder, _postgres(Path(folder)) as url:
        with psycopg.connect(_plain(url)) as connection:
            version = connection.info.parameter_status("server_version") or "?"
        address = f"sqlite:///{folder}/bongsu.db"
        with _database(address) as small, _database(url) as large:
            writing = (
                compared(
                    f"A batch of {_BATCH} calls into SQLite, time a call:",
                    _into_sqlite(small, Path(folder, "bongsu.db"), scale),
                    _RAW_INSERT,
                ),
                compared(
                    f"A batch of {_BATCH} calls into PostgreSQL, time a call:",
                    _into_postgres(large, _plain(url), scale),
                    _RAW_COPY,
                ),
            )
            recorder = _recorder(CallLog(small), scale)
            reading = (*_reading("SQLite", small, scale), *_reading("PostgreSQL", large, scale))
    return Report(
        subject="storage",
        title="What keeping and reading calls costs",
        question="How fast are calls stored, what does a caller feel of it, and what does one page cost?",
        tables=(*writing, recorder, *reading),
        how=(
            f"Up to {scale.rounds} rounds, all cases of a table in turn within a round, after one for warming up; "
            "medians of the rounds. Raw means the driver alone, on a connection of its own to the same tables with "
            "the same settings, given rows that were read back from them and only need a new id. Every stored "
            "call has ten addresses in its answer. Queries are counted as statements sent, without begin and commit."
        ),
        notes=(
            (
                "A batch is one transaction over both tables. Raw rows are ready-made: the difference is the making "
                "of rows out of records (JSON, text that a database can hold, enumerations) and SQLAlchemy."
            ),
            (
                "A PostgreSQL that was started for this runs with fsync off, and one that was here may not: compare "
                "within a table, not between SQLite and PostgreSQL."
            ),
            (
                "The recorder's figures include reading the timer twice, as the floor's do. While a batch is stored, "
                "a caller's thread now and then waits for the interpreter: that is the tail."
            ),
            (
                f"A page is `Overviews.all` over an hour with {scale.rows:,} calls in it, half a window after the newest "
                "stored window began. Aggregated means that the job has run; not aggregated is what a page costs when "
                "the job has not run for an hour."
            ),
        ),
        servers=(f"PostgreSQL {version.split()[0]}",),
    )


# Writing.

_RAW_INSERT: Final = "raw multi-row INSERT"
_RAW_COPY: Final = "raw COPY"


class _Batches:
    """Records to append and the same as ready-made rows, with new ids for each batch."""

    def __init__(self) -> None:
        self._made = 0
        self._templates = _records(_BATCH)
        self._rows: Mapping[str, Sequence[Row]] = {}
        self.records: Sequence[CallRecord] = ()
        self.rows: Mapping[str, Sequence[Row]] = {}

    def learn(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Take these for the rows of a batch."""
        self._rows = rows

    def renew(self) -> None:
        """Make the next batch. Its calls follow those of the last, as they do in life."""
        first = first_id_at(NOON - timedelta(days=1)) + self._made * _BATCH
        self._made += 1
        self.records = [replace(record, id=first + place) for place, record in enumerate(self._templates)]
        self.rows = {
            table: [(first + place, *one[1:]) for place, one in enumerate(rows)]
            for table, rows in self._rows.items()
        }


def _into_sqlite(database: Database, path: Path, scale: Scale) -> Mapping[str, Measured]:
    log, batches = CallLog(database), _Batches()
    batches.renew()
    log.append(batches.records)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.executescript(
            "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 10000;"
        )
        batches.learn({table: raw.execute(f"SELECT * FROM {table}").fetchall() for table in _TABLES})  # noqa: S608 -- our own tables.
        cases = [
            _batch(_RAW_INSERT, lambda _: _insert(raw, batches.rows), batches),
            _batch("CallLog.append", lambda _: log.append(batches.records), batches),
            _batch("raw executemany", lambda _: _execute_many(raw, batches.rows), batches),
        ]
        return interleaved("storage, SQLite", cases, scale.rounds, scale.within_s / 2)


def _into_postgres(database: Database, url: str, scale: Scale) -> Mapping[str, Measured]:
    log, batches = CallLog(database), _Batches()
    batches.renew()
    log.append(batches.records)
    with psycopg.connect(url, options="-c timezone=UTC") as raw:
        set_json_loads(_as_text, raw)
        batches.learn({table: _all(raw, table) for table in _TABLES})
        raw.commit()
        cases = [
            _batch(_RAW_COPY, lambda _: _copy(raw, batches.rows), batches),
            _batch("CallLog.append", lambda _: log.append(batches.records), batches),
            _batch("raw executemany", lambda _: _execute_many_postgres(raw, batches.rows), batches),
        ]
        return interleaved("storage, PostgreSQL", cases, scale.rounds, scale.within_s / 2)


def _batch(name: str, run: Callable[[int], object], batches: _Batches) -> Case:
    return Case(name, run, units=_BATCH, before=batches.renew)


def _as_text(document: str | bytes) -> str:
    return document if isinstance(document, str) else document.decode()


def _all(connection: psycopg.Connection[Row], table: str) -> Sequence[Row]:
    return connection.execute(f"SELECT * FROM {table}".encode()).fetchall()  # noqa: S608 -- our own tables.


def _insert(connection: sqlite3.Connection, batch: Mapping[str, Sequence[Row]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for table, rows in batch.items():
        most = _MOST_PARAMETERS // len(rows[0])
        for first in range(0, len(rows), most):
            some = rows[first : first + most]
            values = ", ".join([f"({', '.join('?' * len(rows[0]))})"] * len(some))
            connection.execute(f"INSERT INTO {table} VALUES {values}", tuple(chain.from_iterable(some)))  # noqa: S608 -- our own tables.
    connection.execute("COMMIT")


def _execute_many(connection: sqlite3.Connection, batch: Mapping[str, Sequence[Row]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for table, rows in batch.items():
        connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)  # noqa: S608 -- our own tables.
    connection.execute("COMMIT")


def _copy(connection: psycopg.Connection[Row], batch: Mapping[str, Sequence[Row]]) -> None:
    with connection.cursor() as cursor:
        for table, rows in batch.items():
            with cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy:
                for one in rows:
                    copy.write_row(one)
    connection.commit()


def _execute_many_postgres(connection: psycopg.Connection[Row], batch: Mapping[str, Sequence[Row]]) -> None:
    with connection.cursor() as cursor:
        for table, rows in batch.items():
            places = ", ".join(["%s"] * len(rows[0]))
            cursor.executemany(f"INSERT INTO {table} VALUES ({places})".encode(), rows)  # noqa: S608 -- our own tables.
    connection.commit()


# The recorder.


def _recorder(log: CallLog, scale: Scale) -> Table:
    """What a caller waits for, put by put: in bursts, with time between them to store what came."""
    announce("storage, recorder")
    bursts = scale.calls
    kept: deque[EndedCall] = deque()
    idle = Recorder(_forget, SystemClock(), tell=_say_nothing)
    storing = Recorder(log.append, SystemClock(), tell=_say_nothing)
    times: dict[str, list[int]] = {_APPEND: [], _PUT_IDLE: [], _PUT_STORING: []}
    records = _records(_PUTS)
    day = NOON - timedelta(days=2)
    for burst in range(bursts):
        progress(f"storage, recorder: burst {burst} of {bursts}")
        first = first_id_at(day) + burst * _PUTS
        fresh = [_Ended(replace(record, id=first + place)) for place, record in enumerate(records)]
        times[_APPEND] += _timed(kept.append, fresh)
        times[_PUT_IDLE] += _timed(idle.put, fresh)
        times[_PUT_STORING] += _timed(storing.put, fresh)
        # A second helping, while the first is being stored.
        threading.Event().wait(_LET_IT_BEGIN_S)
        more = [_Ended(replace(record, id=first + place + _FAR)) for place, record in enumerate(records)]
        times[_PUT_STORING] += _timed(storing.put, more)
        storing.flush()
    idle.close()
    storing.close()
    floor = _percentile(times[_APPEND], 50)
    return Table(
        f"One `Recorder.put` on the caller's thread, {_PUTS} in a row:",
        ("case", f"× {_APPEND}, p50", "p50", "p99", "longest"),
        tuple(
            (
                name,
                ratio(_percentile(taken, 50) / floor),
                duration(_percentile(taken, 50)),
                duration(_percentile(taken, 99)),
                duration(max(taken)),
            )
            for name, taken in times.items()
        ),
    )


_APPEND: Final = "deque.append"
_PUT_IDLE: Final = "put, nothing is stored"
_PUT_STORING: Final = "put, stored in SQLite meanwhile"
_LET_IT_BEGIN_S: Final = 0.055
_FAR: Final = 1 << 40


def _forget(_records: Sequence[CallRecord]) -> None:
    """A sink that keeps nothing."""


def _say_nothing(_record: CallRecord) -> None:
    """Tells of no call."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """A call that has ended, its record ready-made."""

    made: CallRecord
    held_bytes: int = 0

    def record(self) -> CallRecord:
        return self.made


def _timed(put: Callable[[EndedCall], object], calls: Sequence[EndedCall]) -> list[int]:
    times = []
    for call in calls:
        begin = perf_counter_ns()
        put(call)
        times.append(perf_counter_ns() - begin)
    return times


def _percentile(times: Sequence[int], number: int) -> float:
    return quantiles(times, n=100)[number - 1]


# Reading.


def _reading(name: str, database: Database, scale: Scale) -> tuple[Table, Table]:
    """Aggregation of one window, and one page, with `scale.rows` calls in the last hour."""
    clock = FakeClock(NOON + timedelta(minutes=WINDOW_MINUTES / 2))
    log, metrics = CallLog(database), MetricsStore(database)
    _fill(name, database, log, clock.now(), scale.rows)
    collector = MetricsCollector(_Unasked(), reader=log, writer=metrics, clock=clock)
    return (
        _window_table(name, database, log, metrics, scale),
        _page_table(name, database, collector, clock, scale),
    )


class _Unasked:
    """A recorder that is not needed here."""

    def put(self, ended: EndedCall) -> None:
        """Forget it."""


def _fill(name: str, database: Database, log: CallLog, end: datetime, rows: int) -> None:
    """Calls all through the last hour, and nothing else."""
    announce(f"storage, {name}: {rows:,} rows")
    with database.writing() as connection:
        for table in _TABLES:
            connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 -- our own tables.
    templates = _records(_BATCH)
    for first in range(0, rows, _BATCH):
        progress(f"storage, {name}: {first:,} of {rows:,} rows")
        log.append(
            [
                _at(template, end - _HOUR * (1 - (first + place) / rows), first + place)
                for place, template in enumerate(templates[: rows - first])
            ]
        )
    if not database.is_sqlite:
        with database.writing() as connection:
            connection.execute(text("ANALYZE"))


def _at(record: CallRecord, time: datetime, number: int) -> CallRecord:
    return replace(record, id=record_id(time, number), created_at=time)


def _window_table(name: str, database: Database, log: CallLog, metrics: MetricsStore, scale: Scale) -> Table:
    """The last whole window: read its calls and count them."""
    end = NOON
    start = end - timedelta(minutes=WINDOW_MINUTES)
    calls = log.measures(start, end, limit=scale.rows)
    select = text(
        "SELECT integration_name, operation, duration_ms, is_success, source, is_mock, error_type, retry_count, "
        "circuit_opened, is_rate_limited, limiter_wait_ms, created_at FROM integration_call_logs "
        "WHERE id >= :first AND id < :last"
    )
    counted = text(
        "SELECT integration_name, operation, count(*), sum(duration_ms), max(duration_ms) "
        "FROM integration_call_logs WHERE id >= :first AND id < :last GROUP BY integration_name, operation"
    )
    span = {"first": first_id_at(start), "last": first_id_at(end)}

    def ask(query: object) -> object:
        with database.reading() as connection:
            return connection.execute(query, span).fetchall()  # type: ignore[call-overload]

    windows = aggregate(calls, updated_at=end)
    cases = [
        Case(_SELECTED, lambda _: ask(select)),
        Case("the database's own GROUP BY, no percentiles", lambda _: ask(counted)),
        Case("CallLog.measures", lambda _: log.measures(start, end, limit=scale.rows)),
        Case("CallLog.between", lambda _: log.between(start, end, limit=scale.rows)),
        Case("aggregate, rows at hand", lambda _: aggregate(calls, updated_at=end)),
        Case("keep the windows", lambda _: metrics.upsert(windows)),
    ]
    measured = interleaved(f"storage, {name}, one window", cases, scale.rounds // 2, scale.within_s / 4)
    return compared(
        f"One window of {WINDOW_MINUTES} minutes with {len(calls):,} calls, in {name}:", measured, _SELECTED
    )


_SELECTED: Final = "raw SELECT of what is counted"


def _page_table(
    name: str, database: Database, collector: MetricsCollector, clock: FakeClock, scale: Scale
) -> Table:
    integration = parties.address(Canned(parties.juso_answer()), parties.client())
    overviews = Overviews(
        call_log=CallLog(database),
        metrics=MetricsStore(database),
        health=HealthStore(database, clock),
        state=MemoryState(clock),
        clock=clock,
        flush=lambda: True,
    )
    one = Case("one SELECT 1", lambda _: _one(database), _SMALL)
    minutes = Case(
        "calls by the minute, half an hour of them",
        lambda _: CallLog(database).by_minute(clock.now() - _HOUR / 2, clock.now()),
    )
    page = Case("page, not aggregated", lambda _: _page(overviews, integration))
    label, seconds = f"storage, {name}, page", scale.within_s / 4
    with database.writing() as connection:
        connection.execute(text("DELETE FROM integration_metrics"))
    late = dict(interleaved(label, [one, minutes, page], min(_FEW_ROUNDS, scale.rounds), seconds))
    sent = {page.name: _queries(database.engine, lambda: _page(overviews, integration))}
    collector.aggregate_metrics()
    usual = replace(page, name="page, aggregated")
    found = dict(interleaved(label, [one, minutes, usual], scale.rounds // 2, seconds))
    sent[usual.name] = _queries(database.engine, lambda: _page(overviews, integration))
    found[page.name] = late[page.name]
    table = compared(f"One page over an hour with {scale.rows:,} calls, in {name}:", found, "one SELECT 1")
    return Table(
        table.title,
        (*table.head, "queries"),
        tuple((*cells, str(sent.get(cells[0], 1))) for cells in table.rows),
    )


def _page(overviews: Overviews, integration: AddressIntegration) -> object:
    return overviews.all({"address": integration}, load({}).integrations, _HOUR)


def _one(database: Database) -> object:
    with database.reading() as connection:
        return connection.execute(text("SELECT 1")).scalar_one()


def _queries(engine: Engine, run: Callable[[], object]) -> int:
    """How many statements `run` sends."""
    sent: list[str] = []

    def note(*told: object) -> None:
        sent.append(str(told[2]))

    event.listen(engine, "before_cursor_execute", note)
    try:
        run()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return len([statement for statement in sent if not statement.startswith("BEGIN")])


# Things to work with.


def _records(count: int) -> list[CallRecord]:
    """Calls with an answer of the usual size; one in twenty failed."""
    answer = parties.juso_answer()
    said = Exchange(
        method="GET",
        url="https://business.juso.go.kr/addrlink/addrLinkApi.do?confmKey=***&keyword=%ED%85%8C&currentPage=1",
        request_headers=(),
        request_body=None,
        response_status=answer.status,
        response_headers=answer.headers,
        response_body=answer.body.decode(),
    )
    return [
        call_record(
            exchange=said,
            operation="search_address",
            duration_ms=5.0 + (number * 37) % 500,
            is_success=bool(number % 20),
            trace_id=f"{number:032x}",
            error_type=None if number % 20 else "ProviderUnavailable",
            decision=decision(),
        )
        for number in range(count)
    ]


@contextmanager
def _database(address: str) -> Iterator[Database]:
    """A database at the newest revision."""
    database = Database.at(address)
    try:
        schema.upgrade(database)
        yield database
    finally:
        database.close()


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    """A new database of a PostgreSQL that is here already, or is started for this."""
    try:
        with servers.postgres_database(servers.postgres_address(folder)) as url:
            yield url
    finally:
        servers.release(folder)


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")
