"""The store of one process stays small, and nothing that is told it can deadlock it or be missed."""

from __future__ import annotations

from contextlib import suppress
from threading import Lock

import pytest

from core.policies.admission import AdmissionPolicy, Ask, Granted, ProviderState, Settlement
from core.policies.circuit_breaker import BreakerPolicy, CircuitBreaker
from core.state.base import Ended, FetchedElsewhere, Keep, Release, Settle, Wanted
from core.state.memory import MemoryState
from tests.fakes import FakeClock
from tests.forked import in_child

CIRCUIT = "address.juso"
FREE = AdmissionPolicy(None, None, None)
FRAGILE = AdmissionPolicy(BreakerPolicy(failure_threshold=1), None, None)


def kept(key: str, value: bytes | None, size: int | None = None) -> Keep:
    """An answer to keep for a minute."""
    return Keep(key, "one", lambda: value, len(value or b"") if size is None else size, 60, 60)


class TestSize:
    def test_the_value_read_least_recently_gives_way(self, clock: FakeClock) -> None:
        store = MemoryState(clock, max_entries=2)
        store.write("a", b"1", 60)
        store.write("b", b"2", 60)
        store.read("a")

        store.write("c", b"3", 60)

        assert [store.read(key) for key in "abc"] == [b"1", None, b"3"]

    def test_values_together_stay_within_their_size(self, clock: FakeClock) -> None:
        store = MemoryState(clock, max_bytes=10)
        for key in "abc":
            store.write(key, b"1234", 60)
        assert [store.read(key) for key in "abc"] == [None, b"1234", b"1234"]

        store.write("b", b"12", 60)
        store.write("d", b"1234", 60)

        assert [store.read(key) for key in "bcd"] == [b"12", b"1234", b"1234"]

    def test_a_value_larger_than_the_whole_store_is_not_kept(self, clock: FakeClock) -> None:
        store = MemoryState(clock, max_bytes=10)

        store.write("a", b"x" * 11, 60)

        assert store.read("a") is None

    def test_the_circuit_used_least_recently_gives_way(self, clock: FakeClock) -> None:
        store = MemoryState(clock, max_circuits=2)
        for circuit in ("a", "b", "a", "c"):
            store.open(circuit, AdmissionPolicy(), Ask())

        known = [circuit for circuit in ("a", "b", "c") if store.peek(circuit).state != ProviderState()]

        assert known == ["a", "c"]

    def test_of_too_many_leases_the_oldest_is_forgotten(self, clock: FakeClock) -> None:
        store = MemoryState(clock, max_entries=2)
        for key in ("a", "b", "a", "c"):
            store.open(CIRCUIT, FREE, Ask(), Wanted(key, f"who wants {key}", 1_000_000))

        outcomes = [store.open(CIRCUIT, FREE, Ask(), Wanted(key, "other", 1)).outcome for key in "ac"]

        assert outcomes == [FetchedElsewhere(1_000_000)] * 2
        assert isinstance(store.open(CIRCUIT, FREE, Ask(), Wanted("b", "other", 1)).outcome, Granted)


class TestAnswersNotYetPacked:
    def test_an_answer_is_packed_when_it_is_first_read_and_only_once(self, clock: FakeClock) -> None:
        store = MemoryState(clock)
        packed: list[bytes] = []

        def pack() -> bytes:
            packed.append(b"v")
            return b"v"

        store.later(Keep("a", "one", pack, 1, 60, 60))
        assert packed == []

        assert [store.read("a"), store.read("a")] == [b"v", b"v"]
        assert packed == [b"v"]

    def test_an_answer_that_cannot_be_packed_is_none(self, clock: FakeClock) -> None:
        store = MemoryState(clock)
        store.later(kept("a", None))

        assert store.read("a") is None
        assert isinstance(store.open(CIRCUIT, FREE, Ask(), Wanted("a", "one", 1)).outcome, Granted)


class TestWhatIsToldInsideTheLock:
    """As the garbage collector does, when it ends an abandoned call on the thread that is just in there."""

    def test_it_neither_deadlocks_nor_is_missed(self, clock: FakeClock) -> None:
        store = MemoryState(clock)
        store.open(CIRCUIT, FREE, Ask(), Wanted("a", "one", 1_000_000))
        with store._lock:
            store.later(Settle(CIRCUIT, FRAGILE, Ended(Granted(0), Settlement.ILL)))
            store.later(kept("b", b"v"))
            store.later(Release("a", "one"))

        assert store.peek(CIRCUIT).state.breaker.opened_at is not None
        assert store.read("b") == b"v"
        assert isinstance(store.open("other", FREE, Ask(), Wanted("a", "other", 1)).outcome, Granted)

    @pytest.mark.parametrize("ask", ["open", "settle", "peek", "read", "delete", "delete_pattern"])
    def test_whoever_asks_next_finds_it_done(self, clock: FakeClock, ask: str) -> None:
        store = MemoryState(clock)
        with store._lock:
            store.later(kept("a", b"v"))
        asked = {
            "open": lambda: store.open(CIRCUIT, FREE, Ask(), Wanted("a", "one", 1)).kept == b"v",
            "settle": lambda: bool(store.settle(CIRCUIT, FREE, Ended(Granted(0), Settlement.WELL))),
            "peek": lambda: bool(store.peek(CIRCUIT)),
            "read": lambda: store.read("a") == b"v",
            "delete": lambda: store.delete("a"),
            "delete_pattern": lambda: store.delete_pattern("*") == 1,
        }

        assert asked[ask]()
        assert not store._late

    def test_it_counts_as_of_the_time_when_it_was_told(self, clock: FakeClock) -> None:
        store = MemoryState(clock)
        told_at = store.peek(CIRCUIT).now
        with store._lock:
            store.later(Settle(CIRCUIT, FRAGILE, Ended(Granted(0), Settlement.ILL)))
        clock.advance(10)

        assert store.peek(CIRCUIT).state.breaker.opened_at == told_at


class InterruptedLock:
    """A lock that an interrupt meets at the very moment when it was taken by a call, before anybody notes that."""

    def __init__(self) -> None:
        self._lock = Lock()

    def acquire(self, *, blocking: bool = True) -> bool:
        self._lock.acquire(blocking=blocking)
        raise KeyboardInterrupt

    def locked(self) -> bool:
        return self._lock.locked()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_an_interrupt_leaves_the_lock_free_and_what_was_told_is_done(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt comes between two calls and never between `with` and its lock."""
    store = MemoryState(clock)
    lock = InterruptedLock()
    monkeypatch.setattr(store, "_lock", lock)

    with suppress(KeyboardInterrupt):
        store.later(kept("a", b"v"))

    assert not lock.locked()
    assert store.read("a") == b"v"


def test_a_forked_child_goes_on_with_what_was_known_and_waits_for_nobody_in_the_parent(
    clock: FakeClock,
) -> None:
    store = MemoryState(clock, max_bytes=3)
    store.settle(CIRCUIT, FRAGILE, Ended(Granted(0), Settlement.ILL))
    store.open("other", FREE, Ask(), Wanted("a", "the parent's", 1_000_000))

    def go_on() -> None:
        assert store.peek(CIRCUIT).state.breaker.opened_at is not None
        assert isinstance(store.open("other", FREE, Ask(), Wanted("a", "mine", 1)).outcome, Granted)
        store.write("b", b"123", 60)
        assert store.read("b") == b"123"

    with store._lock:
        # Another thread is in the middle of a change.
        store._bytes += 3
        assert in_child(go_on)
        store._bytes -= 3
    assert store.open("other", FREE, Ask(), Wanted("a", "another", 1)).outcome == FetchedElsewhere(1_000_000)


def test_what_was_learnt_elsewhere_takes_the_place_of_what_is_known(clock: FakeClock) -> None:
    store = MemoryState(clock)
    store.settle(CIRCUIT, FRAGILE, Ended(Granted(0), Settlement.ILL))
    learnt = ProviderState(CircuitBreaker(generation=7), retry_debt=500)

    store.assume(CIRCUIT, learnt)

    assert store.peek(CIRCUIT).state == learnt
