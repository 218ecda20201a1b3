"""The way out that leads nowhere: delays are kept, errors come at their rate, and spells are the same for all.

What a caller meets is the same whether it blocks or is on an event loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.message import ApiRequest, ApiResponse
from core.model.verdict import Verdict
from core.transports.base import TransportFault
from core.transports.mock import Conditions, DemoWeather, FairWeather, FixedWeather, MockTransport, Weather
from tests.fakes import FakeChance, FakeClock

REQUEST = ApiRequest("GET", "https://provider.invalid/")
WELL = ApiResponse(200, (), b"well")
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- the zone comes beside them.


Ask = Callable[[MockTransport, float], ApiResponse]


def ask_blocking(transport: MockTransport, timeout_s: float) -> ApiResponse:
    """As a caller that blocks."""
    return transport.send(REQUEST, timeout_s)


def ask_on_a_loop(transport: MockTransport, timeout_s: float) -> ApiResponse:
    """As a caller on an event loop."""
    return asyncio.run(transport.asend(REQUEST, timeout_s))


both_ways = pytest.mark.parametrize("ask", [ask_blocking, ask_on_a_loop], ids=["send", "asend"])


def mock(weather: Weather, clock: FakeClock) -> MockTransport:
    """A mock that always imitates the same answer."""
    return MockTransport(lambda _request: WELL, weather, clock, FakeChance())


@both_ways
def test_in_fair_weather_the_answer_is_the_imitation_at_once(clock: FakeClock, ask: Ask) -> None:
    assert ask(mock(FairWeather(), clock), 5) is WELL
    assert clock.monotonic() == FakeClock().monotonic()


@pytest.mark.property(45)
@both_ways
@given(delay=st.floats(0, 100), timeout=st.floats(0.001, 100))
def test_a_simulated_delay_is_kept_and_ends_at_the_timeout(ask: Ask, delay: float, timeout: float) -> None:
    clock = FakeClock()
    begun = clock.monotonic()
    try:
        answer: object = ask(mock(FixedWeather(delay_seconds=delay), clock), timeout)
    except TransportFault as met:
        answer = met.verdict
    assert answer is (WELL if delay < timeout else Verdict.TIMED_OUT)
    assert clock.monotonic() - begun == pytest.approx(min(delay, timeout))


@pytest.mark.property(45)
@given(rate=st.floats(0, 1), seed=st.integers(0, 1_000_000))
def test_simulated_errors_come_at_the_configured_rate(rate: float, seed: int) -> None:
    drawn = random.Random(seed)
    weather = FixedWeather(error_rate=rate)
    troubles = [weather.at(FakeClock().now(), drawn.random).trouble for _ in range(2_000)]
    failures = [trouble for trouble in troubles if trouble is not None]
    assert len(failures) / 2_000 == pytest.approx(rate, abs=0.06)
    assert all(isinstance(trouble, ApiResponse) and trouble.status == 503 for trouble in failures)


@both_ways
def test_a_fault_in_the_weather_is_raised(clock: FakeClock, ask: Ask) -> None:
    fault = TransportFault(Verdict.DISCONNECTED, "cut", may_have_arrived=True)

    class Storm:
        def at(self, now: datetime, chance: object) -> Conditions:
            return Conditions(0.1, fault)

    with pytest.raises(TransportFault) as raised:
        ask(mock(Storm(), clock), 5)
    assert raised.value is fault


@given(moment=MOMENTS)
def test_juso_is_ill_for_100_seconds_of_every_six_minutes(moment: datetime) -> None:
    start = moment.replace(minute=moment.minute // 6 * 6, second=0, microsecond=0)
    seconds = [start + timedelta(seconds=second) for second in range(360)]
    ill = [second for second in seconds if DemoWeather("juso").is_ill(second)]
    assert len(ill) == 100
    assert ill[-1] - ill[0] == timedelta(seconds=99)
    assert not any(DemoWeather("kakao").is_ill(second) for second in ill)


@both_ways
def test_in_a_spell_the_answer_is_out_of_service(clock: FakeClock, ask: Ask) -> None:
    while not DemoWeather("juso").is_ill(clock.now()):
        clock.advance(10)
    assert ask(mock(DemoWeather("juso"), clock), 5).status == 503
    assert ask(mock(DemoWeather("kakao"), clock), 5) is WELL


def test_while_one_waits_on_a_loop_the_others_go_on(clock: FakeClock) -> None:
    async def ask_twice() -> list[str]:
        order: list[str] = []

        async def ask(name: str, seconds: float) -> None:
            order.append(f"{name} asks")
            await mock(FixedWeather(delay_seconds=seconds), clock).asend(REQUEST, 5)
            order.append(f"{name} is answered")

        await asyncio.gather(ask("one", 1.0), ask("two", 1.0))
        return order

    assert asyncio.run(ask_twice()) == ["one asks", "two asks", "one is answered", "two is answered"]


@given(moment=MOMENTS, drawn=st.floats(0, 1, exclude_max=True))
def test_the_latency_of_a_demonstration_stays_between_40_ms_and_2_s(moment: datetime, drawn: float) -> None:
    assert 0.04 <= DemoWeather("kakao").at(moment, FakeChance([drawn])).delay_seconds <= 2


def test_the_afternoon_in_seoul_is_slower_than_the_night() -> None:
    afternoon, night = datetime(2026, 3, 2, 5, tzinfo=UTC), datetime(2026, 3, 2, 17, tzinfo=UTC)
    weather, chance = DemoWeather("kakao"), FakeChance([0.5])
    assert weather.at(afternoon, chance).delay_seconds > 2 * weather.at(night, chance).delay_seconds - 0.04
