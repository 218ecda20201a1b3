"""What a caller of an integration gets, and where it came from."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Generic, NamedTuple, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Source(StrEnum):
    """Where an answer came from. Every answer says so; nothing is passed off as fresh."""

    LIVE = "live"
    CACHE = "cache"
    STALE = "stale"
    MANUAL = "manual"
    DEFAULT = "default"
    MOCK = "mock"


STAND_INS: Final = (Source.STALE, Source.MANUAL, Source.DEFAULT)
"""What may stand in for the answer of a provider that fails, best first: an old answer of the provider's own, then
a person's entry, then the configured default."""


class IntegrationResponse(NamedTuple, Generic[T_co]):
    """An answer with its provenance.

    `age_seconds` is 0 for a live answer, else the time since the provider gave it; `stale_because` says why an
    answer past its time to live was good enough: the text of the error it stands in for, or that a fresh one is being
    fetched.
    """

    value: T_co
    source: Source
    provider: str
    trace_id: str
    age_seconds: float = 0.0
    attempts: int = 0
    stale_because: str | None = None
