"""Every process that shares a store is counted, for as long as it is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import StorageError
from core.state.memory import MemoryState
from core.state.presence import REGISTER, Presence
from core.state.sqlite import SqliteState
from tests.fakes import FakeClock
from tests.forked import in_child
from tests.shaky import ShakyState


def beaten(store: MemoryState, *presences: Presence) -> list[tuple[int, int]]:
    """After each of these has noted that it is there, twice: how many each counts, and its place."""
    for _ in range(2):
        for presence in presences:
            presence.beat(store)
    return [(presence.processes, presence.place) for presence in presences]


def test_a_process_that_never_reached_the_store_counts_itself() -> None:
    assert (Presence().processes, Presence().place) == (1, 0)


def test_every_process_is_counted_and_has_a_place_of_its_own(clock: FakeClock) -> None:
    found = beaten(MemoryState(clock), *(Presence() for _ in range(5)))

    assert [processes for processes, _ in found] == [5] * 5
    assert sorted(place for _, place in found) == list(range(5))


def test_a_process_that_is_gone_is_counted_for_half_a_minute_and_two_looks_more(clock: FakeClock) -> None:
    store, stays, goes = MemoryState(clock), Presence(), Presence()
    beaten(store, stays, goes)

    counted = []
    for _ in range(7):
        clock.advance(10)
        stays.beat(store)
        counted.append(stays.processes)

    assert counted == [2, 2, 2, 2, 1, 1, 1]


def test_a_note_that_was_lost_because_two_wrote_at_once_lowers_no_count(clock: FakeClock) -> None:
    store, one, other = MemoryState(clock), Presence(), Presence()
    beaten(store, one, other)
    store.delete(REGISTER)

    one.beat(store)

    assert one.processes == 2


def test_the_register_ends_by_itself(clock: FakeClock) -> None:
    store = MemoryState(clock)
    Presence().beat(store)
    clock.advance(30)

    assert store.read(REGISTER) is None


@pytest.mark.parametrize("register", [b"", b"not one", b"[]", b'{"a": "b"}', b'{"a": null}'])
def test_what_is_no_register_counts_as_an_empty_one(clock: FakeClock, register: bytes) -> None:
    store = MemoryState(clock)
    store.write(REGISTER, register, 60)
    presence = Presence()

    presence.beat(store)

    assert presence.processes == 1


def test_a_store_that_is_away_leaves_the_count_as_it_was(clock: FakeClock) -> None:
    store, one, other = ShakyState(clock), Presence(), Presence()
    beaten(store, one, other)
    store.is_away = True

    with pytest.raises(StorageError):
        one.beat(store)

    assert one.processes == 2


def test_a_forked_child_is_a_process_of_its_own(tmp_path: Path, clock: FakeClock) -> None:
    store, presence = SqliteState(tmp_path / "state.db", clock), Presence()
    presence.beat(store)
    assert in_child(lambda: presence.beat(store))

    presence.beat(store)

    assert presence.processes == 2
    store.close()
