"""The file that the processes of one machine share: how it begins, whose turn it is, and what it never becomes."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from core.clock import SystemClock
from core.errors import StorageError
from core.model.calling import LONGEST_HISTORY, LimitMode
from core.policies.admission import AdmissionPolicy, Ask, Granted, RefusedByCircuit, Settlement
from core.policies.circuit_breaker import BreakerPolicy
from core.policies.rate_limit import LimitPolicy
from core.state.base import Ended, FetchedElsewhere, Opening, Release, Settle, Wanted
from core.state.sqlite import SqliteState, _Errand
from tests.conformance.stores import CIRCUIT, KEY, SECOND, to_keep
from tests.conformance.workers import admitted
from tests.fakes import FakeChance, FakeClock
from tests.waiting import until

BREAKER = AdmissionPolicy(limits=None)
FREE = AdmissionPolicy(None, None, None)
FRAGILE = AdmissionPolicy(BreakerPolicy(failure_threshold=1), None)


class ActingClock(FakeClock):
    """A clock during whose first sleep something happens."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act

    def sleep(self, seconds: float) -> None:
        if not self.slept:
            self._act()
        super().sleep(seconds)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is, or will be."""
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path, clock: FakeClock) -> Iterator[SqliteState]:
    """A store in a new file."""
    opened = SqliteState(path, clock)
    yield opened
    opened.close()


@pytest.fixture
def other(path: Path, store: SqliteState) -> Iterator[sqlite3.Connection]:
    """Another program that has the store's file open."""
    store.peek(CIRCUIT)
    with closing(
        sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    ) as connection:
        yield connection


def tables(path: Path) -> set[str]:
    """The tables in a file."""
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@contextmanager
def another_thread_in(store: SqliteState) -> Iterator[None]:
    """Another thread uses the file meanwhile."""
    is_in, may_go = threading.Event(), threading.Event()

    def use(_connection: sqlite3.Connection) -> None:
        is_in.set()
        may_go.wait(30)

    thread = threading.Thread(target=store._file.look, args=(use,))
    thread.start()
    try:
        assert is_in.wait(5)
        yield
    finally:
        may_go.set()
        thread.join()


class InterruptedLock:
    """The file's lock, which an interrupt meets at the very moment when it was taken, before anybody notes that."""

    def __init__(self, store: SqliteState) -> None:
        self._lock = store._file._lock

    def acquire(self, *, blocking: bool = True, timeout: float = -1) -> bool:
        self._lock.acquire(blocking=blocking, timeout=timeout)
        raise KeyboardInterrupt

    def release(self) -> None:
        self._lock.release()


class TestTheFile:
    def test_a_store_opened_again_knows_what_it_knew(self, path: Path, clock: FakeClock) -> None:
        first = SqliteState(path, clock)
        first.settle(CIRCUIT, FRAGILE, Ended(Granted(0), Settlement.ILL))
        first.later(to_keep(KEY, "one", b"v", 30, 60))
        first.close()

        second = SqliteState(path, clock)

        assert second.open(CIRCUIT, FRAGILE, Ask()).outcome == RefusedByCircuit(60 * SECOND)
        assert second.read(KEY) == b"v"
        second.close()

    @pytest.mark.fault("BR-03")
    @pytest.mark.parametrize("seconds", [3600, -3600, 86_400, -86_400])
    def test_setting_the_machines_clock_neither_shortens_nor_lengthens_an_opening(
        self, store: SqliteState, clock: FakeClock, seconds: float
    ) -> None:
        store.settle(CIRCUIT, FRAGILE, Ended(Granted(0), Settlement.ILL))

        clock.set_back(seconds)

        assert store.open(CIRCUIT, FRAGILE, Ask()).outcome == RefusedByCircuit(60 * SECOND)

    @pytest.mark.parametrize(("seconds", "is_kept"), [(60, True), (61, False), (30 * 86_400, False)])
    def test_a_value_whose_age_nobody_knows_since_the_clock_was_set_back_is_none(
        self, store: SqliteState, clock: FakeClock, seconds: float, is_kept: bool
    ) -> None:
        store.write(KEY, b"v", 3600, 60)

        clock.set_back(seconds)

        assert store.read(KEY) == (b"v" if is_kept else None)
        opening = store.open(CIRCUIT, FREE, Ask(), Wanted(KEY, "one", SECOND))
        assert opening.kept == (b"v" if is_kept else None)
        assert (opening.outcome is None) is is_kept

    def test_the_file_is_for_its_owner_alone(self, store: SqliteState, path: Path) -> None:
        store.write(KEY, b"v", 60)

        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}

    def test_a_damaged_file_is_reported_with_its_cure_and_used_once_it_is_gone(
        self, store: SqliteState, path: Path
    ) -> None:
        path.write_bytes(b"this is not a database" * 100)
        with pytest.raises(StorageError, match="delete it"):
            admitted(store, BREAKER)

        path.unlink()

        assert admitted(store, BREAKER) is not None

    def test_a_file_that_another_process_is_just_making_is_waited_for(self, path: Path) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("CREATE TABLE unfinished (a)")
        other.execute("BEGIN EXCLUSIVE")
        clock = ActingClock(other.rollback)
        store = SqliteState(path, clock)

        assert admitted(store, BREAKER) is not None
        assert clock.slept == [0.01]
        store.close()
        other.close()

    def test_a_folder_that_is_missing_is_reported(self, tmp_path: Path, clock: FakeClock) -> None:
        with pytest.raises(StorageError, match="No such file"):
            SqliteState(tmp_path / "missing" / "state.db", clock).read(KEY)

    def test_a_file_of_an_earlier_version_is_emptied_and_begun_anew(
        self, store: SqliteState, path: Path
    ) -> None:
        with closing(sqlite3.connect(path)) as old:
            old.execute("CREATE TABLE circuits (circuit TEXT PRIMARY KEY, failures INTEGER)")
            old.execute("CREATE TABLE forgotten (a)")
            old.execute("INSERT INTO circuits VALUES ('address.juso', 3)")
            old.commit()

        assert admitted(store, BREAKER) is not None
        assert tables(path) == {"circuits", "history", "leases", "entries"}

    def test_a_file_of_a_later_version_is_left_alone(self, store: SqliteState, path: Path) -> None:
        with closing(sqlite3.connect(path)) as later:
            later.execute("CREATE TABLE tomorrow (a)")
            later.execute("PRAGMA user_version = 1000")

        with pytest.raises(StorageError, match="newer version"):
            admitted(store, BREAKER)
        assert tables(path) == {"tomorrow"}

    def test_a_line_that_is_none_is_a_provider_that_nothing_is_known_of(
        self, store: SqliteState, other: sqlite3.Connection
    ) -> None:
        other.execute("INSERT INTO circuits VALUES (?, ?)", (CIRCUIT, "one two three"))

        assert admitted(store, FRAGILE) is not None

    def test_what_another_process_wrote_a_moment_ago_is_known(self, path: Path, store: SqliteState) -> None:
        store.settle(CIRCUIT, FRAGILE, Ended(Granted(0), Settlement.ILL))
        elsewhere = SqliteState(path, FakeClock())
        elsewhere.settle(CIRCUIT, FRAGILE, Ended(Granted(1), Settlement.WELL))

        assert admitted(store, FRAGILE) is not None
        elsewhere.close()


class TestTurns:
    def test_who_has_to_wait_polls_by_chance_and_goes_on_when_it_is_his_turn(
        self, path: Path, other: sqlite3.Connection
    ) -> None:
        other.execute("BEGIN IMMEDIATE")
        clock = ActingClock(other.rollback)
        store = SqliteState(path, clock, chance=FakeChance([0.25]))

        assert admitted(store, BREAKER) is not None
        assert clock.slept == [pytest.approx(0.00003)]
        store.close()

    def test_nobody_waits_for_ever(
        self, store: SqliteState, clock: FakeClock, other: sqlite3.Connection
    ) -> None:
        other.execute("BEGIN IMMEDIATE")
        began = clock.monotonic()

        with pytest.raises(StorageError, match="not let go of"):
            admitted(store, BREAKER)

        assert 0.5 <= clock.monotonic() - began < 0.51
        other.rollback()
        assert admitted(store, BREAKER) is not None

    def test_what_changes_nothing_waits_for_nobody(
        self, store: SqliteState, clock: FakeClock, other: sqlite3.Connection
    ) -> None:
        wanted = Wanted(KEY, "one", SECOND)
        store.write(KEY, b"v", 60, 60)
        store.settle(CIRCUIT, FRAGILE, Ended(Granted(0), Settlement.ILL))
        store.open(CIRCUIT, FREE, Ask(), wanted._replace(key="address:search:2"))
        store.open(CIRCUIT, FRAGILE, Ask())
        other.execute("BEGIN IMMEDIATE")

        assert store.open(CIRCUIT, FREE, Ask(), wanted).outcome is None
        assert isinstance(store.open(CIRCUIT, FRAGILE, Ask()).outcome, RefusedByCircuit)
        others = Wanted("address:search:2", "other", SECOND)
        assert store.open(CIRCUIT, FREE, Ask(), others).outcome == FetchedElsewhere(SECOND)
        assert (store.read(KEY), clock.slept) == (b"v", [])
        other.rollback()

    def test_a_circuit_that_was_refused_is_granted_as_soon_as_it_may(
        self, store: SqliteState, clock: FakeClock
    ) -> None:
        store.settle(CIRCUIT, FRAGILE, Ended(Granted(0), Settlement.ILL))
        assert admitted(store, FRAGILE) is None
        clock.advance(60)

        granted = admitted(store, FRAGILE)

        assert granted is not None
        assert granted.is_probe
        assert admitted(store, FRAGILE) is None

    def test_an_event_loop_goes_on_while_a_call_waits_for_its_turn(
        self, path: Path, other: sqlite3.Connection
    ) -> None:
        """The lock is given back by the loop itself, which it could not do if it was held up."""
        store = SqliteState(path, SystemClock(), patience_s=60)
        store.peek(CIRCUIT)
        other.execute("BEGIN IMMEDIATE")

        async def call() -> object:
            waiting = asyncio.create_task(store.aopen(CIRCUIT, BREAKER, Ask()))
            await asyncio.sleep(0)
            other.rollback()
            return (await waiting).outcome

        assert isinstance(asyncio.run(call()), Granted)
        store.close()

    def test_what_is_granted_to_a_task_that_was_cancelled_meanwhile_is_given_back(
        self, path: Path, other: sqlite3.Connection
    ) -> None:
        store = SqliteState(path, SystemClock(), patience_s=60)
        quick = AdmissionPolicy(BreakerPolicy(failure_threshold=1, recovery_us=1), None, None)
        store.settle(CIRCUIT, quick, Ended(Granted(0), Settlement.ILL))
        other.execute("BEGIN IMMEDIATE")

        async def call() -> None:
            waiting = asyncio.create_task(store.aopen(CIRCUIT, quick, Ask(), Wanted(KEY, "one", 60 * SECOND)))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            other.rollback()

        asyncio.run(call())

        def is_probe_of_another() -> bool:
            outcome = store.open(CIRCUIT, quick, Ask(), Wanted(KEY, "other", SECOND)).outcome
            return isinstance(outcome, Granted) and outcome.is_probe

        until(is_probe_of_another, what="what was granted to come back")
        store.close()

    def test_a_thread_that_does_not_let_go_is_not_waited_for_for_ever(self, path: Path) -> None:
        store = SqliteState(path, SystemClock(), patience_s=0.01)
        admitted(store, BREAKER)

        with another_thread_in(store), pytest.raises(StorageError, match="another thread"):
            admitted(store, BREAKER)

        assert admitted(store, BREAKER) is not None
        store.close()

    def test_an_event_loop_does_not_wait_for_a_thread_either(self, path: Path) -> None:
        store = SqliteState(path, SystemClock(), patience_s=60)
        store.peek(CIRCUIT)

        async def call() -> bool:
            with another_thread_in(store):
                opening = asyncio.create_task(store.aopen(CIRCUIT, FRAGILE, Ask()))
                ended = Ended(Granted(0), Settlement.ILL)
                settling = asyncio.create_task(store.asettle("address.kakao", FRAGILE, ended))
                await asyncio.sleep(0)
                assert not opening.done()
            return isinstance((await opening).outcome, Granted) and (await settling).opened

        assert asyncio.run(call())
        store.close()

    def test_an_interrupt_leaves_the_file_to_the_next(
        self, store: SqliteState, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.peek(CIRCUIT)
        with monkeypatch.context() as interrupted:
            interrupted.setattr(store._file, "_lock", InterruptedLock(store))
            with pytest.raises(KeyboardInterrupt):
                store.peek(CIRCUIT)

        with another_thread_in(store):
            pass

    def test_a_file_that_is_locked_at_its_first_use_is_not_waited_for_any_longer_than_later(
        self, path: Path, clock: FakeClock
    ) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("CREATE TABLE unfinished (a)")
            other.execute("BEGIN EXCLUSIVE")
            store = SqliteState(path, clock)
            began = clock.monotonic()

            with pytest.raises(StorageError, match="not let go of"):
                admitted(store, BREAKER)
            assert 0.5 <= clock.monotonic() - began < 0.52
            with pytest.raises(StorageError, match="not let go of"):
                asyncio.run(store.aopen(CIRCUIT, BREAKER, Ask()))
            assert 1.0 <= clock.monotonic() - began < 1.04

    def test_what_is_granted_to_a_coroutine_that_was_closed_meanwhile_is_given_back(
        self, path: Path, other: sqlite3.Connection
    ) -> None:
        store = SqliteState(path, SystemClock(), patience_s=60)
        store.peek(CIRCUIT)
        other.execute("BEGIN IMMEDIATE")

        async def call() -> None:
            waiting = store.aopen(CIRCUIT, FREE, Ask(), Wanted(KEY, "one", 60 * SECOND))
            waiting.send(None)
            waiting.close()
            other.rollback()

        asyncio.run(call())

        # `asyncio.run` has waited for the thread: what that was granted is given back, or never will be.
        store.flush()
        assert isinstance(store.open(CIRCUIT, FREE, Ask(), Wanted(KEY, "other", 1)).outcome, Granted)
        store.close()

    def test_a_task_that_is_cancelled_when_the_answer_is_just_there_gives_back_what_was_granted(
        self, store: SqliteState
    ) -> None:
        question = Wanted(KEY, "one", 60 * SECOND)
        given_back: list[Opening] = []
        errand = _Errand(lambda: store.open(CIRCUIT, FREE, Ask(), question), given_back.append)
        opening = errand.run()

        errand.abandon()

        assert given_back == [opening]


class TestSize:
    def test_kept_values_are_bounded_in_number_and_size(self, path: Path, clock: FakeClock) -> None:
        store = SqliteState(path, clock, max_entries=100, max_bytes=50_000)
        for number in range(400):
            store.write(f"small:{number}", b"v", 1000 + number)
        kept = sum(store.read(f"small:{number}") is not None for number in range(400))
        assert 100 <= kept < 100 + 64

        for number in range(400):
            store.write(f"large:{number}", b"v" * 1000, 5000 + number)

        assert sum(store.read(f"large:{number}") is not None for number in range(400)) <= 50 + 64
        assert store.read("large:399") is not None
        store.close()

    def test_values_whose_time_is_over_leave_the_file(
        self, store: SqliteState, clock: FakeClock, other: sqlite3.Connection
    ) -> None:
        for number in range(30):
            store.write(f"old:{number}", b"v", 10)
        clock.advance(10)

        store.write("new:1", b"v", 10)
        store.write("new:2", b"v", 10)

        assert other.execute("SELECT count(*) FROM entries").fetchone() == (2,)

    def test_leases_of_the_dead_leave_the_file_and_its_log_does_not_grow(
        self, path: Path, store: SqliteState, clock: FakeClock, other: sqlite3.Connection
    ) -> None:
        for number in range(50):
            store.open(CIRCUIT, FREE, Ask(), Wanted(f"address:search:{number}", "the dead", SECOND))
        clock.advance(61)
        for _ in range(3000):
            store.settle(CIRCUIT, FRAGILE, Ended(Granted(0), Settlement.WELL))
        store.flush()

        assert other.execute("SELECT count(*) FROM leases").fetchone() == (0,)
        assert path.with_name("state.db-wal").stat().st_size < 4 * 1024 * 1024

    def test_a_log_that_a_reader_kept_from_ending_begins_again_once_the_reader_is_gone(
        self, path: Path, other: sqlite3.Connection
    ) -> None:
        store = SqliteState(path, SystemClock(), patience_s=60)
        log = path.with_name("state.db-wal")

        def change_often() -> None:
            for number in range(1000):
                store.write(f"address:search:{number % 10}", b"v" * 20_000, 60)
            store.flush()

        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM entries").fetchone()
        change_often()
        assert log.stat().st_size > 10 * 1024 * 1024
        other.execute("COMMIT")
        change_often()
        grown = log.stat().st_size

        change_often()

        assert log.stat().st_size < 1.4 * grown
        store.close()

    def test_a_log_that_cannot_be_brought_back_is_reported(self, store: SqliteState, path: Path) -> None:
        path.write_bytes(b"this is not a database" * 100)

        with pytest.raises(StorageError, match="delete it"):
            store._file.bring_back_the_log()

    def test_more_circuits_than_are_remembered_are_known_all_the_same(self, store: SqliteState) -> None:
        for number in range(1100):
            store.settle(f"address.{number}", FRAGILE, Ended(Granted(0), Settlement.ILL))

        for number in range(1100):
            assert store.peek(f"address.{number}").state.breaker.opened_at is not None

    def test_the_mode_exact_remembers_so_many_calls_and_no_more(
        self, path: Path, clock: FakeClock, other: sqlite3.Connection
    ) -> None:
        # Its own thread brings the log back meanwhile, which takes real time, and the clock's patience none.
        store = SqliteState(path, clock, patience_s=3600)
        limits = LimitPolicy(
            LONGEST_HISTORY, LONGEST_HISTORY, mode=LimitMode.EXACT, max_wait_us=0, reserved_percent=0
        )
        policy = AdmissionPolicy(None, limits)
        for _ in range(2):
            assert all(admitted(store, policy) is not None for _ in range(LONGEST_HISTORY))
            assert admitted(store, policy) is None
            clock.advance(3600)

        assert other.execute("SELECT count(*) FROM history").fetchone() == (LONGEST_HISTORY,)
        store.close()


class TestWhatIsToldLater:
    def test_a_batch_is_one_transaction(self, store: SqliteState, other: sqlite3.Connection) -> None:
        """Seen by another connection, nothing or all of it is there."""
        (before,) = other.execute("PRAGMA data_version").fetchone()

        for number in range(20):
            store.later(to_keep(f"address:search:{number}", "one", b"v", 60, 60))
        store.flush()

        assert other.execute("SELECT count(*) FROM entries").fetchone() == (20,)
        assert other.execute("PRAGMA data_version").fetchone() != (before,)

    def test_what_cannot_be_done_is_dropped_and_hurts_nobody(
        self, store: SqliteState, other: sqlite3.Connection
    ) -> None:
        store.open(CIRCUIT, FREE, Ask(), Wanted(KEY, "one", SECOND))
        other.execute("BEGIN IMMEDIATE")
        store.later(Release(KEY, "one"))
        store.later(Settle(CIRCUIT, FRAGILE, Ended(Granted(0), Settlement.ILL)))

        store.flush()

        other.rollback()
        assert admitted(store, FRAGILE) is not None
        store.later(to_keep(KEY, "one", b"v", 60, 60))
        store.flush()
        assert store.read(KEY) == b"v"

    def test_threads_take_turns_without_losing_anything(self, path: Path) -> None:
        store = SqliteState(path, SystemClock(), patience_s=60)
        policy = AdmissionPolicy(BreakerPolicy(failure_threshold=10_000), None, None)

        def fail() -> None:
            for _ in range(20):
                store.settle(CIRCUIT, policy, Ended(Granted(0), Settlement.ILL))
                store.later(Settle(CIRCUIT, policy, Ended(Granted(0), Settlement.ILL)))

        threads = [threading.Thread(target=fail) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.flush()

        assert store.peek(CIRCUIT).state.breaker.failures == 400
        store.close()
