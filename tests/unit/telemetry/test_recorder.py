"""The recorder: nothing that was put is lost, told or stored twice, and a call never pays for its record."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DatabaseUnreachable
from core.model.call_record import CallRecord
from core.telemetry.recorder import Recorder
from tests.builders import Ended, call_record
from tests.fakes import NOON, FakeClock
from tests.waiting import until

PATIENCE = 20.0
"""Seconds after which something that has to come at once is taken for missing."""


class Shelf:
    """A sink that keeps what it is given, and that can be made to fail, or to wait before it stores."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.batches: list[int] = []
        self.error: Exception | None = None
        self.refused: set[int] = set()
        self.asked = threading.Event()
        self.may_store = threading.Event()
        self.may_store.set()

    def __call__(self, records: Sequence[CallRecord]) -> None:
        self.asked.set()
        assert self.may_store.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        if self.refused & {record.id for record in records}:
            raise ValueError("a record that cannot be stored")
        self.batches.append(len(records))
        self.ids += [record.id for record in records]


class Teller:
    """Notes what it is to tell of, and in which thread."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.threads: set[str] = set()

    def __call__(self, record: CallRecord) -> None:
        self.ids.append(record.id)
        self.threads.add(threading.current_thread().name)


class Unrecordable:
    """A call of which no record can be made."""

    held_bytes = 1

    def record(self) -> CallRecord:
        raise ValueError("a secret")


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def teller() -> Teller:
    return Teller()


@pytest.fixture
def recorder(shelf: Shelf, teller: Teller, clock: FakeClock) -> Iterator[Recorder]:
    recorder = Recorder(shelf, clock, tell=teller, capacity=100, most_bytes=1_000_000, batch=10)
    yield recorder
    shelf.error = None
    shelf.may_store.set()
    recorder.close()


def put(recorder: Recorder, count: int, size: int = 1) -> list[int]:
    records = [call_record() for _ in range(count)]
    for record in records:
        recorder.put(Ended(record, size))
    return [record.id for record in records]


def test_no_thread_runs_before_the_first_record(recorder: Recorder) -> None:
    """Neither importing nor making a recorder starts a thread."""
    before = recorder._thread

    put(recorder, 1)

    assert before is None
    assert recorder._thread is not None
    assert recorder._thread.daemon


def test_after_a_flush_everything_put_before_is_stored(recorder: Recorder, shelf: Shelf) -> None:
    """Whoever writes and flushes can read it: in order, once each, in batches that are not larger than agreed."""
    ids = put(recorder, 95)

    assert recorder.flush(PATIENCE)

    assert shelf.ids == ids
    assert max(shelf.batches) <= 10
    assert recorder.stats.written == 95


def test_after_a_flush_everything_put_before_is_told_of(recorder: Recorder, teller: Teller) -> None:
    """Each call once and in order, by the recorder's thread and not by the caller's."""
    ids = put(recorder, 95)

    assert recorder.flush(PATIENCE)

    assert teller.ids == ids
    assert teller.threads == {"bongsu-recorder"}


def test_nothing_is_made_of_a_call_on_the_callers_thread(shelf: Shelf, clock: FakeClock) -> None:
    """The record, and with it the redaction, is the work of the recorder's thread."""
    threads = []

    class Watched(Ended):
        def record(self) -> CallRecord:
            threads.append(threading.current_thread().name)
            return self.made

    recorder = Recorder(shelf, clock, tell=Teller())
    recorder.put(Watched(call_record()))
    assert recorder.flush(PATIENCE)
    recorder.close()

    assert threads == ["bongsu-recorder"]


def test_a_flush_of_nothing_returns_at_once(recorder: Recorder) -> None:
    assert recorder.flush(PATIENCE)
    assert recorder.stats.waiting == 0


def test_records_are_stored_without_being_asked_for(recorder: Recorder, shelf: Shelf) -> None:
    """Nobody needs to flush: the thread looks by itself."""
    put(recorder, 1)

    assert shelf.asked.wait(PATIENCE)


def test_many_threads_lose_nothing_and_repeat_nothing(shelf: Shelf, clock: FakeClock) -> None:
    recorder = Recorder(shelf, clock, tell=Teller())

    with ThreadPoolExecutor(8) as pool:
        ids = [id_ for part in pool.map(lambda _: put(recorder, 500), range(8)) for id_ in part]

    assert recorder.flush(PATIENCE)
    assert sorted(shelf.ids) == sorted(ids)
    recorder.close()


def test_putting_does_not_wait_for_a_sink_that_hangs(recorder: Recorder, shelf: Shelf) -> None:
    """While the sink does not return, records are taken all the same, and a flush says that they are not stored."""
    shelf.may_store.clear()

    ids = put(recorder, 50)

    assert not recorder.flush(0.01)
    assert recorder.stats.waiting >= 50
    shelf.may_store.set()
    assert recorder.flush(PATIENCE)
    assert shelf.ids == ids


def test_a_failing_sink_gets_the_same_records_again(recorder: Recorder, shelf: Shelf) -> None:
    """What could not be stored is kept in order, the reason is told, and success forgets it."""
    shelf.error = OSError("disk is full\nand more")
    ids = put(recorder, 25)
    assert not recorder.flush(0.3)
    assert recorder.stats.last_error == "OSError: disk is full"

    shelf.error = None

    assert recorder.flush(PATIENCE)
    assert shelf.ids == ids
    after = recorder.stats
    assert (after.dropped, after.last_error or "") == (0, "")


@given(bad=st.sets(st.integers(0, 24)))
def test_a_record_that_cannot_be_stored_holds_up_no_other(bad: set[int]) -> None:
    """It is left out and counted; all others are stored, once each and in order, however they lie between."""
    shelf = Shelf()
    recorder = Recorder(shelf, FakeClock(NOON), tell=Teller(), batch=10)
    shelf.may_store.clear()
    ids = put(recorder, 25)
    shelf.refused = {ids[place] for place in bad}
    shelf.may_store.set()

    assert recorder.flush(PATIENCE)

    assert shelf.ids == [id_ for place, id_ in enumerate(ids) if place not in bad]
    stats = recorder.stats
    assert (stats.written, stats.refused, stats.dropped, stats.waiting) == (25 - len(bad), len(bad), 0, 0)
    recorder.close()


def test_a_refused_record_is_told_of_by_its_id(
    recorder: Recorder, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a minute, with how many there were; why is in the line, what was in the record is not."""
    shelf.may_store.clear()
    ids = put(recorder, 3)
    shelf.refused = set(ids[1:])
    shelf.may_store.set()
    assert recorder.flush(PATIENCE)

    [line] = caplog.records
    assert line.getMessage() == "recorder.refused"
    assert (line.__dict__["id"], line.__dict__["refused"]) == (ids[1], 1)
    assert line.__dict__["error"] == "ValueError: a record that cannot be stored"


@pytest.mark.parametrize("error", [DatabaseUnreachable("sqlite://", "locked"), OSError("disk is full")])
def test_while_nothing_can_be_stored_no_record_is_refused(
    recorder: Recorder, shelf: Shelf, error: Exception
) -> None:
    """Also when that comes between, while the record that cannot be stored is looked for."""
    shelf.error = error
    ids = put(recorder, 12)
    assert not recorder.flush(0.3)
    assert recorder.stats.refused == 0
    shelf.refused = {ids[4]}
    shelf.error = None

    assert recorder.flush(PATIENCE)

    assert shelf.ids == ids[:4] + ids[5:]
    assert recorder.stats.refused == 1


def test_while_nothing_can_be_stored_calls_are_told_of_all_the_same(
    recorder: Recorder, shelf: Shelf, teller: Teller
) -> None:
    """When the database is away the log is all that operators have: each call is in it at once, and only once."""
    shelf.error = OSError("locked")
    ids = put(recorder, 15)
    assert not recorder.flush(0.3)
    ids += put(recorder, 40)

    until(lambda: len(teller.ids) == 55, what="the lines of the calls")
    shelf.error = None
    assert recorder.flush(PATIENCE)

    assert teller.ids == ids
    assert shelf.ids == ids


@given(bad=st.sets(st.integers(0, 24)))
def test_a_call_that_no_record_can_be_made_of_holds_up_no_other(bad: set[int]) -> None:
    """It is left out and counted; all others are told of and stored, once each and in order."""
    shelf, teller = Shelf(), Teller()
    recorder = Recorder(shelf, FakeClock(NOON), tell=teller, batch=10)
    ids = []
    for place in range(25):
        if place in bad:
            recorder.put(Unrecordable())
        else:
            ids += put(recorder, 1)

    assert recorder.flush(PATIENCE)

    assert shelf.ids == teller.ids == ids
    stats = recorder.stats
    assert (stats.written, stats.refused, stats.dropped, stats.waiting) == (25 - len(bad), len(bad), 0, 0)
    recorder.close()


def test_a_call_without_a_record_is_complained_of_once_a_minute_and_never_quoted(
    recorder: Recorder, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The text may quote what was about to be redacted; the place where it was raised is enough to find it."""
    for _ in range(3):
        recorder.put(Unrecordable())
    assert recorder.flush(PATIENCE)
    clock.advance(60)
    recorder.put(Unrecordable())
    assert recorder.flush(PATIENCE)

    assert [line.getMessage() for line in caplog.records] == ["recorder.no_record"] * 2
    assert str(caplog.records[0].__dict__["error"]).startswith("ValueError in Unrecordable.record, line ")
    assert [line.__dict__["refused"] for line in caplog.records] == [1, 4]


def test_a_log_that_cannot_be_written_costs_no_row(
    shelf: Shelf, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is complained of once a minute, by the call's id."""

    def fail(_record: CallRecord) -> None:
        raise RuntimeError("a secret")

    recorder = Recorder(shelf, clock, tell=fail)
    ids = put(recorder, 3)
    assert recorder.flush(PATIENCE)
    recorder.close()

    assert shelf.ids == ids
    [line] = caplog.records
    assert line.getMessage() == "recorder.untold"
    assert line.__dict__["id"] == ids[0]
    assert "a secret" not in str(line.__dict__)


@pytest.mark.fault("LW-01")
@pytest.mark.fault("LW-08")
def test_when_there_is_no_room_the_oldest_record_goes_and_is_counted(
    recorder: Recorder, shelf: Shelf
) -> None:
    """Ten times the load that is kept leaves the newest records, a bounded queue, and a true count."""
    shelf.error = OSError("locked")
    ids = put(recorder, 1_000)

    assert not recorder.flush(0.3)
    assert recorder.stats.waiting <= 100 + 10
    shelf.error = None
    assert recorder.flush(PATIENCE)

    stats = recorder.stats
    assert stats.written + stats.dropped == 1_000
    assert stats.dropped >= 1_000 - 110
    assert shelf.ids == ids[-len(shelf.ids) :]


@pytest.mark.fault("LW-08")
def test_what_waits_holds_no_more_memory_than_is_allowed(recorder: Recorder, shelf: Shelf) -> None:
    """A few large answers fill the queue as many small ones do: the oldest goes, whatever it waits for."""
    shelf.may_store.clear()
    first = put(recorder, 1)
    assert shelf.asked.wait(PATIENCE)

    ids = put(recorder, 40, size=100_000)
    assert recorder.stats.waiting == 1 + 10
    assert recorder.stats.dropped == 30
    shelf.may_store.set()
    assert recorder.flush(PATIENCE)

    assert shelf.ids == first + ids[-10:]
    assert recorder.stats.dropped == 30


def test_memory_that_is_given_back_is_there_for_others(recorder: Recorder, shelf: Shelf) -> None:
    """However much has passed through, nothing is dropped while what waits is within its bound."""
    ids = []
    for _ in range(20):
        ids += put(recorder, 9, size=100_000)
        assert recorder.flush(PATIENCE)

    assert shelf.ids == ids
    assert recorder.stats.dropped == 0


def test_nothing_counts_as_held_once_nothing_waits(shelf: Shelf, clock: FakeClock) -> None:
    """Whatever threads add and take away at the same time, an idle recorder is empty to the last byte."""
    recorder = Recorder(shelf, clock, tell=Teller())

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda _: put(recorder, 200, size=1_000), range(8)):
            pass
    assert recorder.flush(PATIENCE)

    until(lambda: (recorder._queued_bytes, recorder._made_bytes) == (0, 0), what="nothing to be held")
    recorder.close()


def test_what_could_not_be_stored_still_counts_as_memory_held(recorder: Recorder, shelf: Shelf) -> None:
    """A record that was made, and waits for the sink, gives way to newer ones like any other."""
    shelf.error = OSError("locked")
    put(recorder, 8, size=100_000)
    assert not recorder.flush(0.3)

    ids = put(recorder, 9, size=100_000)
    assert not recorder.flush(0.3)
    assert recorder.stats.dropped == 7
    shelf.error = None
    assert recorder.flush(PATIENCE)

    assert shelf.ids[1:] == ids


def test_a_call_larger_than_all_that_may_be_held_is_dropped_alone(recorder: Recorder, shelf: Shelf) -> None:
    shelf.may_store.clear()
    first = put(recorder, 1)
    assert shelf.asked.wait(PATIENCE)

    put(recorder, 1, size=1_000_001)
    ids = put(recorder, 2)
    shelf.may_store.set()
    assert recorder.flush(PATIENCE)

    assert shelf.ids == first + ids
    assert recorder.stats.dropped == 1


def test_a_call_that_ends_while_another_is_dropped_is_kept(clock: FakeClock) -> None:
    """What is dropped may end a call itself, in the same thread: a generator that is thrown away, say."""
    shelf = Shelf()
    recorder = Recorder(shelf, clock, tell=Teller(), capacity=2)
    last = call_record()

    class Chained(Ended):
        def __del__(self) -> None:
            recorder.put(Ended(last))

    shelf.may_store.clear()
    put(recorder, 1)
    assert shelf.asked.wait(PATIENCE)
    recorder.put(Chained(call_record()))

    newest = put(recorder, 2)
    shelf.may_store.set()
    assert recorder.flush(PATIENCE)

    assert shelf.ids[1:] == [newest[1], last.id]
    assert recorder.stats.dropped == 2
    recorder.close()


def test_a_flush_ends_also_when_what_it_waited_for_was_dropped(recorder: Recorder, shelf: Shelf) -> None:
    """The mark of a flush that falls out of a full queue is not forgotten."""
    shelf.may_store.clear()
    put(recorder, 1)
    assert shelf.asked.wait(PATIENCE)
    with ThreadPoolExecutor(1) as pool:
        put(recorder, 5)
        flushed = pool.submit(recorder.flush, PATIENCE)
        until(lambda: len(recorder._queue) == 6, what="the mark")
        put(recorder, 500)
        shelf.may_store.set()

        assert flushed.result(PATIENCE)


def test_a_failing_sink_is_complained_of_once_a_minute(
    shelf: Shelf, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it is tried: the first failure is told at once, the next one a minute later."""
    recorder = Recorder(shelf, clock, tell=Teller())
    shelf.error = OSError("locked")
    put(recorder, 1)

    for _ in range(3):
        assert not recorder.flush(0.2)
    assert [record.getMessage() for record in caplog.records] == ["recorder.failing"]
    clock.advance(60)
    assert not recorder.flush(0.2)
    assert len(caplog.records) == 2
    shelf.error = None
    recorder.close()


def test_closing_stores_what_is_waiting(recorder: Recorder, shelf: Shelf) -> None:
    ids = put(recorder, 73)

    recorder.close()

    assert shelf.ids == ids
    assert recorder.stats.waiting == 0


def test_closing_gives_up_on_a_sink_that_fails_and_says_how_much_was_lost(
    recorder: Recorder, shelf: Shelf
) -> None:
    shelf.error = OSError("gone")
    put(recorder, 30)

    recorder.close(timeout_s=0.1)

    assert recorder.stats.dropped + recorder.stats.waiting >= 30
    assert recorder.stats.written == 0


def test_what_is_put_after_closing_is_counted_as_dropped(recorder: Recorder, shelf: Shelf) -> None:
    put(recorder, 1)
    recorder.close()

    put(recorder, 3)

    assert recorder.stats.dropped == 3
    assert len(shelf.ids) == 1


PROGRAM = """
import os, sys
from pathlib import Path
from core.clock import SystemClock
from core.telemetry.recorder import Recorder
from tests.builders import Ended, call_record

path = Path(sys.argv[1])

def sink(records):
    with path.open("a") as file:
        file.writelines(f"{os.getpid()} {record.id}\\n" for record in records)

def tell(record):
    print(f"told {record.id}", file=sys.stderr)

recorder = Recorder(sink, SystemClock(), tell=tell)

def put(count):
    for _ in range(count):
        recorder.put(Ended(call_record()))
"""
ROOT = Path(__file__).parents[3]


def run(program: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + program, str(path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )


def stored(path: Path) -> list[tuple[int, int]]:
    return [(int(pid), int(id_)) for pid, id_ in (line.split() for line in path.read_text().splitlines())]


@pytest.mark.fault("LW-02")
@pytest.mark.parametrize(
    ("ending", "code"),
    [("", 0), ("sys.exit(3)", 3), ("raise RuntimeError('lifespan')", 1)],
    ids=["end of the program", "sys.exit", "an exception"],
)
def test_a_process_that_ends_stores_what_is_waiting(ending: str, code: int, tmp_path: Path) -> None:
    """However a program ends by itself, 1,000 calls that were put a moment ago are told of and stored."""
    done = run(f"put(1000)\n{ending}", tmp_path / "stored")

    assert done.returncode == code, done.stderr
    assert len(set(stored(tmp_path / "stored"))) == 1_000
    assert done.stderr.count("told ") == 1_000


@pytest.mark.fault("LW-07")
def test_a_forked_child_records_by_itself_and_repeats_nothing(tmp_path: Path) -> None:
    """The child has a thread of its own, stores what it puts, and leaves the parent's queue to the parent."""
    done = run(
        """
put(300)
child = os.fork()
if child == 0:
    put(200)
    sys.exit(0 if recorder.flush(20) else 9)
put(100)
assert os.waitpid(child, 0)[1] == 0
assert recorder.flush(20)
print(os.getpid())
""",
        tmp_path / "stored",
    )

    assert done.returncode == 0, done.stderr
    rows = stored(tmp_path / "stored")
    by_parent = [row for row in rows if row[0] == int(done.stdout)]
    assert (len(by_parent), len(rows) - len(by_parent)) == (400, 200)
    assert len({id_ for _, id_ in rows}) == 600
