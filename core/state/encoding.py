"""A provider's state as one line of words, as SQLite and Redis keep it and as the Lua scripts read it.

    failures opened_at probe_until probes generation tally  minute hour reserved_minute reserved_hour admitted
    reserved_admitted  paused_at paused_until retry_debt  override_mode override_until override_by override_reason
    override_since

`-` is no value; the tally is `number:calls:failures:slow` for each slice, with commas between; names and reasons are
percent-encoded. A line that is none is a provider that nothing is known of: another version's, or a damaged one.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from core.policies.admission import ProviderState
from core.policies.circuit_breaker import CircuitBreaker
from core.policies.override import Override, OverrideMode
from core.policies.rate_limit import Bookings
from core.policies.tally import Slice, Tally

_NONE = "-"
_WORDS = 20
_SLICE = 4


def encode(state: ProviderState) -> str:
    """The line that `decode` reads back."""
    breaker, booked, override = state.breaker, state.booked, state.override
    return " ".join(
        (
            str(breaker.failures),
            _optional(breaker.opened_at),
            _optional(breaker.probe_until),
            str(breaker.probes),
            str(breaker.generation),
            ",".join(":".join(map(str, old)) for old in breaker.tally) or _NONE,
            *map(str, booked),
            str(state.paused_at),
            str(state.paused_until),
            str(state.retry_debt),
            override.mode.value if override else _NONE,
            str(override.until) if override else _NONE,
            quote(override.by, safe="") or _NONE if override else _NONE,
            quote(override.reason, safe="") or _NONE if override else _NONE,
            str(override.since) if override else _NONE,
        )
    )


def decode(line: str) -> ProviderState:
    """The state that a line tells of."""
    words = line.split(" ")
    if len(words) != _WORDS:
        return ProviderState()
    try:
        return ProviderState(
            CircuitBreaker(
                int(words[0]),
                _figure(words[1]),
                _figure(words[2]),
                int(words[3]),
                int(words[4]),
                _tally(words[5]),
            ),
            Bookings(*map(int, words[6:12])),
            int(words[12]),
            int(words[13]),
            int(words[14]),
            _override(*words[15:20]),
        )
    except ValueError:
        return ProviderState()


def _optional(figure: int | None) -> str:
    return _NONE if figure is None else str(figure)


def _figure(word: str) -> int | None:
    return None if word == _NONE else int(word)


def _tally(word: str) -> Tally:
    if word == _NONE:
        return ()
    slices = [tuple(map(int, text.split(":"))) for text in word.split(",")]
    if any(len(figures) != _SLICE for figures in slices):
        raise ValueError("a slice has four figures")
    return tuple(Slice(*figures) for figures in slices)


def _override(mode: str, until: str, by: str, reason: str, since: str) -> Override | None:
    if mode == _NONE:
        return None
    return Override(OverrideMode(mode), int(until), _text(by), _text(reason), int(since))


def _text(word: str) -> str:
    return "" if word == _NONE else unquote(word)
