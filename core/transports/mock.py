"""The way out that leads nowhere: answers are imitated in the process, under weather of our choosing."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from core.clock import Chance, Clock
from core.model.message import ApiRequest, ApiResponse
from core.model.verdict import Verdict
from core.transports.base import TransportFault

_OUT_OF_SERVICE = ApiResponse(503, (("Content-Type", "text/plain"),), b"Service Unavailable")


class Conditions(NamedTuple):
    """What one request meets: a delay in seconds, then a fault or an answer of illness, or (None) no trouble."""

    delay_seconds: float
    trouble: TransportFault | ApiResponse | None = None


class Weather(Protocol):
    """How well an imitated provider is, by the time."""

    def at(self, now: datetime, chance: Chance) -> Conditions:
        """The conditions that a request meets at `now`."""


class FairWeather:
    """Every request is answered at once."""

    def at(self, now: datetime, chance: Chance) -> Conditions:  # noqa: ARG002 -- the signature of every weather.
        return Conditions(0.0)


@dataclass(frozen=True, slots=True)
class FixedWeather:
    """A share of `error_rate` (0 to 1) of the requests meets an HTTP 503; each waits `delay_seconds` first."""

    error_rate: float = 0.0
    delay_seconds: float = 0.0

    def at(self, now: datetime, chance: Chance) -> Conditions:  # noqa: ARG002 -- the same at any time.
        return Conditions(self.delay_seconds, _OUT_OF_SERVICE if chance() < self.error_rate else None)


@dataclass(frozen=True, slots=True)
class DemoWeather:
    """Weather worth looking at: latency that breathes with the Korean working day, and spells of illness.

    The provider named juso is ill for 100 seconds somewhere in every six minutes; the others never are. So whoever
    begins to watch sees a spell begin within 11 minutes. When it falls depends on the wall time alone, so that every
    process sees the same spell.
    """

    provider: str

    def at(self, now: datetime, chance: Chance) -> Conditions:
        trouble = _OUT_OF_SERVICE if self.is_ill(now) else None
        return Conditions(_latency_seconds(now, chance()), trouble)

    def is_ill(self, now: datetime) -> bool:
        """Whether `now` falls into a spell. Its start is included, its end is not."""
        if self.provider != "juso":
            return False
        period, second = divmod(now.timestamp(), _PERIOD_SECONDS)
        start = _spell_start(int(period))
        return start <= second < start + _SPELL_SECONDS


_PERIOD_SECONDS = 360
_SPELL_SECONDS = 100


def _spell_start(period: int) -> int:
    """Seconds from the start of a period to its spell: never the same rhythm, always the same answer."""
    drawn = int.from_bytes(hashlib.sha256(f"spell {period}".encode()).digest()[:4])
    return drawn % (_PERIOD_SECONDS - _SPELL_SECONDS)


def _latency_seconds(now: datetime, drawn: float) -> float:
    """From 40 ms up: most calls are quick, a few are slow, and more so in the early afternoon; at most 2 s."""
    local = now.astimezone(ZoneInfo("Asia/Seoul"))
    hour = local.hour + local.minute / 60
    bustle = 0.6 + 0.4 * math.cos((hour - 14) / 24 * math.tau)
    return min(2.0, 0.04 - 0.06 * bustle * math.log(1 - drawn))


class MockTransport:
    """Answers with `imitate`, under `weather`. Nothing leaves the process."""

    def __init__(
        self,
        imitate: Callable[[ApiRequest], ApiResponse],
        weather: Weather,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self._imitate = imitate
        self._weather = weather
        self._clock = clock
        self._chance = chance

    def send(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        """The imitated answer after the weather's delay; `TransportFault` when the delay outlasts `timeout_s`."""
        delay_seconds, trouble = self._met_within(timeout_s)
        self._clock.sleep(delay_seconds)
        return self._answer(request, trouble)

    async def asend(self, request: ApiRequest, timeout_s: float) -> ApiResponse:
        """The same under the same weather, while the event loop goes on."""
        delay_seconds, trouble = self._met_within(timeout_s)
        await self._clock.asleep(delay_seconds)
        return self._answer(request, trouble)

    def _met_within(self, timeout_s: float) -> Conditions:
        conditions = self._weather.at(self._clock.now(), self._chance)
        if conditions.delay_seconds < timeout_s:
            return conditions
        too_late = TransportFault(Verdict.TIMED_OUT, "no answer in time", may_have_arrived=True)
        return Conditions(timeout_s, too_late)

    def _answer(self, request: ApiRequest, trouble: TransportFault | ApiResponse | None) -> ApiResponse:
        if isinstance(trouble, TransportFault):
            raise trouble
        return self._imitate(request) if trouble is None else trouble
