"""What may stand in for an answer that the provider did not give."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from core.model.answer import STAND_INS, Source


def stand_in(available: AbstractSet[Source]) -> Source | None:
    """The best of what is there, in the order of `STAND_INS`; None when nothing is."""
    return next((source for source in STAND_INS if source in available), None)
