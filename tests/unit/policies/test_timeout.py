"""How the time of a call is shared out: to attempts, and to the providers that come after one another."""

from __future__ import annotations

import pytest

from core.policies.timeout import attempt_timeout, fair_time, is_telling, route_deadline


@pytest.mark.parametrize(("deadline", "routes", "fair"), [(60, 1, 30), (60, 2, 30), (60, 3, 20), (10, 1, 10)])
def test_the_fair_time_of_an_attempt_leaves_as_much_for_every_provider(
    deadline: float, routes: int, fair: float
) -> None:
    assert fair_time(30, deadline, routes) == fair


@pytest.mark.parametrize(("routes_after", "deadline"), [(0, 160), (1, 140), (2, 120)])
def test_a_provider_has_to_be_done_while_those_after_it_still_have_their_time(
    routes_after: int, deadline: float
) -> None:
    assert route_deadline(160, 20, routes_after) == deadline


@pytest.mark.parametrize(
    ("now", "timeout"), [(100, 30), (130, 30), (130.5, 29.5), (159.5, 0.5), (160, None), (161, None)]
)
def test_an_attempt_never_goes_beyond_the_deadline_and_none_starts_after_it(
    now: float, timeout: float | None
) -> None:
    assert attempt_timeout(30, 160, now) == timeout


@pytest.mark.parametrize(("timeout", "tells"), [(10, True), (5, True), (4.99, False)])
def test_an_attempt_that_had_less_than_half_of_its_fair_time_tells_nothing(
    timeout: float, tells: bool
) -> None:
    assert is_telling(timeout, 10) is tells
