"""The store of one process stays small, and what is used least gives way."""

from __future__ import annotations

from core.policies.admission import AdmissionPolicy, ProviderState
from core.state.memory import MemoryState
from tests.fakes import FakeClock


def test_the_value_read_least_recently_gives_way(clock: FakeClock) -> None:
    store = MemoryState(clock, max_entries=2)
    store.write("a", b"1", 60)
    store.write("b", b"2", 60)
    store.read("a")

    store.write("c", b"3", 60)

    assert [store.read(key) for key in "abc"] == [b"1", None, b"3"]


def test_values_together_stay_within_their_size(clock: FakeClock) -> None:
    store = MemoryState(clock, max_bytes=10)
    for key in "abc":
        store.write(key, b"1234", 60)
    assert [store.read(key) for key in "abc"] == [None, b"1234", b"1234"]

    store.write("b", b"12", 60)
    store.write("d", b"1234", 60)

    assert [store.read(key) for key in "bcd"] == [b"12", b"1234", b"1234"]


def test_a_value_larger_than_the_whole_store_is_not_kept(clock: FakeClock) -> None:
    store = MemoryState(clock, max_bytes=10)

    store.write("a", b"x" * 11, 60)

    assert store.read("a") is None


def test_the_circuit_used_least_recently_gives_way(clock: FakeClock) -> None:
    store = MemoryState(clock, max_circuits=2)
    for circuit in ("a", "b", "a", "c"):
        store.admit(circuit, AdmissionPolicy(), 0)

    known = [circuit for circuit in ("a", "b", "c") if store.peek(circuit).state != ProviderState()]

    assert known == ["a", "c"]
