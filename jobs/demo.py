"""Demo traffic: a newcomer sees live charts within a minute. In dev alone, and only where a mock answers."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import structlog

from core.clock import Chance
from core.errors import CallError
from core.hub import Hub

log = structlog.get_logger()

USER: Final = "demo"
_BUSIEST_PER_MINUTE: Final = 45
_QUIETEST_PER_MINUTE: Final = 15
_NEW_KEYWORD_SHARE: Final = 0.6
_ROADS: Final = ("테헤란로", "세종대로", "중앙로", "강남대로", "금강로", "춘천로", "경강로", "남산로")


def calls_per_minute(now: datetime, zone_hours: float = 9.0) -> float:
    """How busy the demo is: quietest at four in the morning, busiest at four in the afternoon, in Korea."""
    hour = (now.hour + now.minute / 60 + zone_hours) % 24
    swing = (1 - math.cos((hour - 4) / 24 * 2 * math.pi)) / 2
    return _QUIETEST_PER_MINUTE + (_BUSIEST_PER_MINUTE - _QUIETEST_PER_MINUTE) * swing


def keyword(chance: Chance) -> str:
    """What the next demo call looks for: sometimes one of a few favourites, which the cache then knows."""
    road = _ROADS[int(chance() * len(_ROADS))]
    if chance() < _NEW_KEYWORD_SHARE:
        return f"{road} {1 + int(chance() * 900)}"
    return f"{road} {1 + int(chance() * 5)}"


def run_demo(hub: Hub, chance: Chance, stopping: threading.Event) -> None:
    """Call the mocked integrations, at a daily rhythm, until `stopping` is set."""
    if not hub.address.config.is_mock_mode:
        log.info("demo_idle", reason="no integration is in mock mode")
        return
    while not stopping.wait(_pause(hub.clock.now(), chance)):
        try:
            hub.address.search_address(keyword(chance), user_id=USER)
        except CallError as error:
            # The call is on record with its error: a demo shows failures too.
            log.debug("demo_call_failed", error=type(error).__name__)


def keep_quiet(integrations: Iterable[str]) -> None:
    """Tell of demo calls at debug level alone: nobody has to act on them, and they would bury what matters."""
    for name in integrations:
        logging.getLogger(f"bongsu.integration.{name}").addFilter(_as_debug)


def _as_debug(line: logging.LogRecord) -> bool:
    """Whether a line is still written once it is at its own level."""
    if getattr(line, "user_id", None) != USER:
        return True
    line.levelno, line.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
    return logging.getLogger(line.name).isEnabledFor(logging.DEBUG)


def _pause(now: datetime, chance: Chance) -> float:
    """Seconds until the next call: calls come by chance, so the pauses between them are exponential."""
    return -math.log(1 - chance()) * 60 / calls_per_minute(now)
