"""Attempts counted in slices of time: which of them still count, and what share of them is too much."""

from __future__ import annotations

import pytest

from core.policies.tally import SLICES, Slice, Tally, counted, reaches

WINDOW = 1000
"""So a slice is 100 µs long."""


def test_an_attempt_is_counted_in_the_slice_in_which_it_ended() -> None:
    tally = counted((), WINDOW, 5099, is_failure=False, is_slow=False)
    tally = counted(tally, WINDOW, 5099, is_failure=True, is_slow=False)
    tally = counted(tally, WINDOW, 5099, is_failure=False, is_slow=True)

    assert tally == (Slice(50, 3, 1, 1),)
    assert counted(tally, WINDOW, 5100, is_failure=True, is_slow=True) == (*tally, Slice(51, 1, 1, 1))


@pytest.mark.parametrize(("now", "is_kept"), [(5999, True), (6000, False)])
def test_a_slice_falls_out_as_a_whole_when_the_window_has_passed_it(now: int, is_kept: bool) -> None:
    tally = counted((Slice(50, 7, 7, 7),), WINDOW, now, is_failure=False, is_slow=False)

    assert tally == ((Slice(50, 7, 7, 7),) if is_kept else ()) + (Slice(now // 100, 1, 0, 0),)


def test_never_more_slices_than_a_window_has_are_kept_and_they_are_in_order() -> None:
    tally: Tally = ()
    for now in range(0, 10_000, 50):
        tally = counted(tally, WINDOW, now, is_failure=False, is_slow=False)

    assert tally == tuple(Slice(number, 2, 0, 0) for number in range(90, 100))
    assert len(tally) == SLICES


def test_what_was_counted_before_the_clock_was_set_back_is_dropped() -> None:
    before = (Slice(48, 1, 1, 1), Slice(50, 2, 2, 2), Slice(51, 4, 4, 4), Slice(60, 8, 8, 8))

    tally = counted(before, WINDOW, 5000, is_failure=False, is_slow=False)

    assert tally == (Slice(48, 1, 1, 1), Slice(50, 3, 2, 2))


@pytest.mark.parametrize(("window", "number"), [(1, 5000), (9, 5000), (10, 5000), (19, 5000), (20, 2500)])
def test_a_slice_of_a_tiny_window_is_a_microsecond_at_least(window: int, number: int) -> None:
    assert counted((), window, 5000, is_failure=False, is_slow=False) == (Slice(number, 1, 0, 0),)


TALLY = (Slice(1, 6, 1, 2), Slice(2, 4, 2, 4))
"""Ten attempts, of which three failed and six were slow."""


@pytest.mark.parametrize(
    ("minimum", "failed", "slow", "is_reached"),
    [
        (10, 30, 0, True),
        (10, 31, 0, False),
        (11, 30, 0, False),
        (10, 0, 60, True),
        (10, 0, 61, False),
        (11, 0, 60, False),
        (1, 31, 61, False),
        (1, 31, 60, True),
        (1, 30, 61, True),
        (1, 0, 0, False),
    ],
)
def test_a_share_is_too_large_exactly_from_its_percentage_on_and_not_before_enough_calls(
    minimum: int, failed: int, slow: int, is_reached: bool
) -> None:
    assert reaches(TALLY, minimum, failed, slow) is is_reached


def test_a_share_that_is_missed_by_a_hair_is_not_reached() -> None:
    """100 of 201 are 49.75 %."""
    assert not reaches((Slice(1, 201, 100, 0),), 1, 50, 50)
    assert not reaches((Slice(1, 201, 0, 100),), 1, 50, 50)
    assert reaches((Slice(1, 201, 0, 101),), 1, 50, 50)


def test_a_percentage_of_nothing_is_not_looked_at_even_when_nothing_failed() -> None:
    assert not reaches((Slice(1, 5, 0, 0),), 1, 0, 0)
    assert not reaches((Slice(1, 5, 0, 0),), 1, 1, 1)
