"""What is put behind is done in order, soon, and by a thread that neither blocks callers nor outlives its use."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.errors import StorageError
from core.settings import environment_for_child
from core.state.behind import Behind
from tests.fakes import FakeClock
from tests.forked import in_child
from tests.waiting import until

ROOT = Path(__file__).parents[3]


class Sink:
    """Takes batches, as slowly and as unwillingly as a test wants it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.is_broken = False
        self.is_busy = threading.Event()

    def __call__(self, batch: Sequence[int]) -> None:
        self.is_busy.set()
        self.may_go_on.wait(30)
        if self.is_broken:
            raise StorageError("broken")
        self.batches.append(list(batch))

    @property
    def done(self) -> list[int]:
        """Everything, in the order it came."""
        return [number for batch in self.batches for number in batch]


@pytest.fixture
def sink() -> Sink:
    """Where everything ends up."""
    return Sink()


@pytest.fixture
def behind(sink: Sink, clock: FakeClock) -> Iterator[Behind[int]]:
    """A queue with room for a thousand."""
    queue = Behind(sink, capacity=1000, name="bongsu-test", clock=clock)
    yield queue
    sink.may_go_on.set()
    queue.close()


def threads_of_ours() -> int:
    """How many queues have a thread."""
    return sum(thread.name == "bongsu-test" for thread in threading.enumerate())


def test_what_is_put_is_done_without_being_asked_for(behind: Behind[int], sink: Sink) -> None:
    behind.put(1)

    until(lambda: sink.done == [1], what="the end of the queue")
    assert behind.waiting == 0


def test_everything_is_done_once_and_in_order_in_batches_of_two_hundred_at_the_most(
    behind: Behind[int], sink: Sink
) -> None:
    sink.may_go_on.clear()
    for number in range(1000):
        behind.put(number)
    sink.may_go_on.set()

    assert behind.flush()

    assert sink.done == list(range(1000))
    assert max(map(len, sink.batches)) <= 200
    assert (behind.waiting, behind.dropped) == (0, 0)


def test_what_comes_together_is_one_batch(behind: Behind[int], sink: Sink) -> None:
    for number in range(50):
        behind.put(number)
    behind.flush()

    assert len(sink.batches) <= 3


def test_without_anything_to_do_there_is_no_thread(behind: Behind[int]) -> None:
    before = threads_of_ours()

    assert behind.flush()

    assert threads_of_ours() == before == 0


def test_several_threads_lose_nothing(behind: Behind[int], sink: Sink) -> None:
    def put() -> None:
        for number in range(100):
            behind.put(number)

    threads = [threading.Thread(target=put) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    behind.flush()

    assert sorted(sink.done) == sorted(list(range(100)) * 10)
    assert threads_of_ours() == 1


def test_what_there_is_no_room_for_is_dropped_and_counted(behind: Behind[int], sink: Sink) -> None:
    sink.may_go_on.clear()
    behind.put(-1)
    sink.is_busy.wait(30)
    for number in range(1010):
        behind.put(number)
    assert behind.dropped == 10
    assert behind.waiting == 1001

    sink.may_go_on.set()
    behind.flush()

    assert sink.done == [-1, *range(1000)]


def test_a_batch_that_cannot_be_stored_is_dropped_and_the_log_hears_of_it_once_a_minute(
    behind: Behind[int], sink: Sink, clock: FakeClock
) -> None:
    sink.is_broken = True
    with capture_logs() as logs:
        for number in range(5):
            behind.put(number)
            behind.flush()
        clock.advance(60)
        behind.put(5)
        behind.flush()
    sink.is_broken = False
    behind.put(6)
    behind.flush()

    assert (behind.dropped, sink.done) == (6, [6])
    assert [entry["event"] for entry in logs] == ["state_words_dropped"] * 2
    assert (logs[0]["queue"], logs[0]["reason"]) == ("bongsu-test", "broken")


def test_a_flush_waits_for_what_is_in_hand_but_not_for_ever(behind: Behind[int], sink: Sink) -> None:
    sink.may_go_on.clear()
    behind.put(1)
    sink.is_busy.wait(30)

    assert not behind.flush(0.01)
    sink.may_go_on.set()
    assert behind.flush()
    assert sink.done == [1]


def test_after_the_end_everything_is_done_and_nothing_more_is_taken(behind: Behind[int], sink: Sink) -> None:
    for number in range(300):
        behind.put(number)

    behind.close()
    behind.put(300)

    assert (sink.done, behind.dropped) == (list(range(300)), 1)
    assert threads_of_ours() == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_ours_ends_the_thread_and_the_next_word_starts_another(clock: FakeClock) -> None:
    done: list[int] = []

    def apply(batch: Sequence[int]) -> None:
        if batch[0] == 0:
            raise ZeroDivisionError
        done.extend(batch)

    behind = Behind(apply, name="bongsu-test", clock=clock)
    behind.put(0)
    behind.flush()
    until(lambda: threads_of_ours() == 0, what="the end of the thread")

    behind.put(1)
    behind.flush()

    assert (done, behind.dropped) == ([1], 1)
    behind.close()


def test_a_word_may_be_put_by_a_thread_that_is_just_putting_one(behind: Behind[int], sink: Sink) -> None:
    """The garbage collector may end an abandoned call anywhere, and the end of a call is put here, too."""
    with behind._lock:
        behind.put(1)
    behind.flush()

    assert sink.done == [1]


def test_a_forked_child_begins_empty_and_has_a_thread_of_its_own(behind: Behind[int], sink: Sink) -> None:
    sink.may_go_on.clear()
    behind.put(1)
    sink.is_busy.wait(30)
    behind.put(2)

    def put_and_flush() -> None:
        sink.may_go_on.set()
        behind.put(3)
        behind.flush(30)
        assert (sink.done, behind.waiting) == ([3], 0)

    assert in_child(put_and_flush)
    sink.may_go_on.set()
    behind.flush()
    assert sink.done == [1, 2]


def test_what_was_put_before_the_program_ends_is_done() -> None:
    code = (
        "from core.state.behind import Behind\n"
        "behind = Behind(lambda batch: print(*batch, flush=True))\n"
        "for number in range(3): behind.put(number)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env=environment_for_child(PYTHONPATH=str(ROOT)),
    )

    assert said.stdout.split() == [b"0", b"1", b"2"]


def test_while_the_machine_gives_out_no_threads_words_wait_and_nobody_is_told_they_are_done(
    behind: Behind[int], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as without_threads:
        without_threads.setattr(threading.Thread, "start", refuse)
        behind.put(1)
        assert not behind.flush()
        assert behind.waiting == 1

    behind.put(2)
    assert behind.flush()
    assert sink.done == [1, 2]
