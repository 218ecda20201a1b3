"""What agreeing on an attempt costs: open and settle in each store, beside the least that each could do."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import redis

from benchmarks.measure import Case, Measured, Scale, interleaved
from benchmarks.report import Report, compared
from core.clock import SystemClock
from core.policies.admission import AdmissionPolicy, Ask, Granted, Settlement
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.rate_limit import LimitPolicy
from core.state.base import Ended, StateStore, Wanted
from core.state.guarded import GuardedState
from core.state.memory import MemoryState
from core.state.redis import RedisState
from core.state.sqlite import SqliteState
from tests import servers

_CIRCUIT: Final = "address.juso"
_POLICY: Final = AdmissionPolicy(
    breaker=BreakerPolicy(), limits=LimitPolicy(per_minute=1_000_000_000, per_hour=10_000_000_000)
)
_ANSWER: Final = b"{" + b"x" * 1022 + b"}"
_FLOORS: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS floor (name TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR REPLACE INTO floor VALUES ('address.juso', 0);
"""
_UPDATE: Final = "UPDATE floor SET count = count + 1 WHERE name = 'address.juso'"
_SELECT: Final = "SELECT count FROM floor WHERE name = 'address.juso'"


def measure(scale: Scale) -> Report:
    """Every table of the subject."""
    with tempfile.TemporaryDirectory() as folder, _redis(Path(folder)) as url:
        with redis.Redis.from_url(url) as server:
            version = str(server.info("server")["redis_version"])
        memory = interleaved("state, memory", _memory_cases(scale), scale.rounds, scale.within_s / 3)
        files = _sqlite(Path(folder), scale)
        network = _over_redis(url, scale)
    return Report(
        subject="state",
        title="What agreeing on an attempt costs",
        question="Each attempt asks the store whether it may go, and tells it how it ended. What is that to pay?",
        tables=(
            compared("In the memory of one process:", memory, _BARE_CALL),
            compared("In a SQLite file:", files, _ONE_UPDATE),
            compared("In Redis over loopback:", network, _PING),
        ),
        how=(
            f"Up to {scale.rounds} rounds of {scale.calls * _MORE} operations each (a pair counts as one), all cases "
            "of a table in turn within a round, after one for warming up; medians of the rounds. One circuit, one "
            "thread, no competition, limits that are never met."
        ),
        notes=(
            (
                "Open always writes, since it takes tokens. Settle of an attempt that went well writes nothing when "
                "nothing is owed (a call does not even ask then), and one that failed writes. Ill and well in turn "
                "writes every time and opens no circuit."
            ),
            (
                "The floor of SQLite is one UPDATE that is a transaction by itself; the second is what a decision "
                "needs at the least (begin, read, write, commit). Both are in WAL mode with synchronous = NORMAL, as "
                "the store's own file."
            ),
            "The floor of Redis is PING on the same kind of connection. The CPU column is this process's part.",
            "Guarded is what the product uses: a store with a stand-in for when it fails.",
        ),
        servers=(f"Redis {version}",),
    )


_BARE_CALL: Final = "bare function call"
_ONE_UPDATE: Final = "one UPDATE"
_PING: Final = "PING"
_MORE: Final = 4


def _nothing(_number: int) -> None:
    """The least that a call can be."""


def _memory_cases(scale: Scale) -> list[Case]:
    clock = SystemClock()
    plain = MemoryState(clock)
    guarded = GuardedState(MemoryState(clock), MemoryState(clock), clock)
    return [
        Case(_BARE_CALL, _nothing, scale.calls * _MORE),
        *_cases("", plain, scale),
        *_cases("guarded: ", guarded, scale)[:1],
    ]


def _sqlite(folder: Path, scale: Scale) -> Mapping[str, Measured]:
    clock = SystemClock()
    with (
        closing(SqliteState(folder / "state.db", clock)) as plain,
        closing(SqliteState(folder / "guarded.db", clock)) as primary,
        closing(sqlite3.connect(folder / "floor.db", isolation_level=None)) as bare,
    ):
        bare.executescript(_FLOORS)
        cases = [
            Case(_ONE_UPDATE, lambda _: bare.execute(_UPDATE), scale.calls * _MORE),
            Case("begin, SELECT, UPDATE, commit", lambda _: _decide(bare), scale.calls * _MORE),
            *_cases("", plain, scale),
            *_cases("guarded: ", GuardedState(primary, MemoryState(clock), clock), scale)[:1],
        ]
        return interleaved("state, SQLite", cases, scale.rounds, scale.within_s)


def _decide(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_SELECT).fetchone()
    connection.execute(_UPDATE)
    connection.execute("COMMIT")


def _over_redis(url: str, scale: Scale) -> Mapping[str, Measured]:
    clock = SystemClock()
    with (
        closing(RedisState(url)) as plain,
        closing(RedisState(url)) as primary,
        redis.Redis.from_url(url) as bare,
    ):
        cases = [
            Case(_PING, lambda _: bare.ping(), scale.calls * _MORE),
            *_cases("", plain, scale),
            *_cases("guarded: ", GuardedState(primary, MemoryState(clock), clock), scale)[:1],
        ]
        return interleaved("state, Redis", cases, scale.rounds, scale.within_s)


def _cases(prefix: str, store: StateStore, scale: Scale) -> list[Case]:
    """What is measured of every store. The pair comes first."""
    calls = scale.calls * _MORE
    store.write("kept", _ANSWER, 3600)
    return [
        Case(f"{prefix}open and settle, well", lambda _: _pair(store, Settlement.WELL), calls),
        Case("open and settle, ill and well in turn", lambda number: _pair(store, _in_turn(number)), calls),
        Case("open, no answer is kept", lambda _: store.open(f"{_CIRCUIT}.open", _POLICY, _ASK), calls),
        Case("open, and take the lease of an answer", lambda number: _open_for(store, number), calls),
        Case("settle, well", lambda _: store.settle(_CIRCUIT, _POLICY, _well()), calls),
        Case("peek", lambda _: store.peek(_CIRCUIT), calls),
        Case("read 1 KiB", lambda _: store.read("kept"), calls),
        Case("write 1 KiB", lambda number: store.write(f"key {number % 1000}", _ANSWER, 3600), calls),
    ]


_ASK: Final = Ask()
_LEASE_US: Final = 1


def _in_turn(number: int) -> Settlement:
    return Settlement.WELL if number % 2 else Settlement.ILL


def _well() -> Ended:
    return Ended(Granted(0), Settlement.WELL)


def _open_for(store: StateStore, number: int) -> None:
    wanted = Wanted(f"address:{number % 1000}", f"{number}", _LEASE_US)
    store.open(f"{_CIRCUIT}.open", _POLICY, _ASK, wanted)


def _pair(store: StateStore, settlement: Settlement) -> None:
    granted = store.open(_CIRCUIT, _POLICY, _ASK).outcome
    if not isinstance(granted, Granted):
        raise TypeError(f"an attempt was refused in the middle of a measurement: {granted}")
    store.settle(_CIRCUIT, _POLICY, Ended(granted, settlement))


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """An empty database of a Redis that is here already, or is started for this."""
    try:
        with servers.redis_database(servers.redis_address(folder)) as url:
            yield url
    finally:
        servers.release(folder)
