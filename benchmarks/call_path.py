"""The call path beside what one would assemble by hand: same work, one run, ratios, and the goals, met or missed."""

from __future__ import annotations

import gc
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Final

from benchmarks import call_crowd, call_floor, call_redis, call_speed
from benchmarks.goals import table
from benchmarks.measure import Scale
from benchmarks.parties import PER_HOUR, PER_MINUTE, RETRIES, THRESHOLD
from benchmarks.report import Report

_LIBRARIES: Final = (
    "cachetools",
    "httpcore",
    "httpx",
    "limits",
    "purgatory",
    "pybreaker",
    "redis",
    "stamina",
    "tenacity",
)
_CPUS: Final = Path("/proc/cpuinfo")


def measure(scale: Scale) -> Report:
    """Every table of the subject.

    What is loaded by now is kept from the garbage collector: how much that is has nothing to do with the call path.
    """
    gc.collect()
    gc.freeze()
    try:
        return _measured(scale)
    finally:
        gc.unfreeze()


def _measured(scale: Scale) -> Report:
    load_before = os.getloadavg()[0]
    speed = call_speed.measure(scale)
    floor = call_floor.measure(scale, speed.sync[call_speed.MISS], speed.event_loop[call_speed.MISS])
    redis = call_redis.speed(scale)
    crowd = call_crowd.measure(scale)
    lost = call_redis.lost(scale)
    sections = (speed.section, floor, redis, crowd, lost)
    goals = tuple(goal for section in sections for goal in section.goals)
    load = f"load {load_before:.1f} before and {os.getloadavg()[0]:.1f} after"
    return Report(
        subject="call-path",
        title="The call path beside what one would assemble by hand",
        question=(
            "A cache, retries, a circuit breaker and limits can be put together from well-known packages. What does "
            "the same call cost there, and what here?"
        ),
        tables=(table(goals), *(each for section in sections for each in section.tables)),
        how=(
            f"One run, up to {scale.rounds} rounds, all cases of a table in turn within a round and after one for "
            "warming up; medians of the rounds, and the least. Where nothing waits, the CPU of the caller's thread is "
            "compared, which others on the machine disturb least; over Redis and loopback, the clock. The third party "
            f"is ready-made. Everybody retries {RETRIES} times with exponential backoff and full jitter, which takes "
            f"no time here, opens a circuit after {THRESHOLD} failures, and keeps limits of {PER_MINUTE:,} a minute "
            f"and {PER_HOUR:,} an hour, which are never met. Flights are counted at the socket, in calls of their own."
        ),
        notes=(
            (
                "The packages are used as their documentation shows: decorators, default clients. limits keeps fixed "
                "windows, the cheapest of its strategies, which lets up to twice the limit through within a window's "
                "length; here no window of any place has more than the limit. Its two windows are taken one after the "
                "other, so a refusal by the second has spent a token of the first."
            ),
            (
                "Here a call has what the packages do not: a record with its decisions, redaction, a line in the log, "
                "a latency histogram, a trace id, a deadline over all attempts, a bulkhead, a retry budget, one "
                "flight for equal calls, and answers that say where they come from. The record is made by the "
                "recorder's thread; what that costs is in the table of the process in all, and not in the ratios."
            ),
            (
                "The provider here writes a request, judges and reads the answer through its seam; there the function "
                "that answers is called, and that is all. The difference is in our figures."
            ),
            (
                "A failed attempt writes a line to the log (to nowhere) on the caller's thread. stamina cannot be told "
                "not to sleep, and is left out where attempts fail."
            ),
            (
                "purgatory raises one and the same exception again and again, whose traceback grows each time: the "
                "refusal in an event loop becomes slower the more often it is met."
            ),
            (
                "While a Redis is lost, redis-py as `Redis(host=…)` retries each command ten times, and as "
                "`Redis.from_url(…)` never; both wait five seconds for an answer. pybreaker then lets calls through; "
                "limits raises. What had not ended when time was up says so."
            ),
        ),
        servers=(
            _cpu(),
            f"Redis {call_redis.version()}",
            *(f"{name} {metadata.version(name)}" for name in _LIBRARIES),
            load,
        ),
    )


def _cpu() -> str:
    """The name of the processor, as far as the machine tells."""
    if _CPUS.exists():
        for line in _CPUS.read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "a processor without a name"
