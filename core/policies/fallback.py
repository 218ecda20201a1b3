"""What may stand in for an answer that the provider did not give, and in which order."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from core.model.answer import Source

ORDER: Final = (Source.STALE, Source.MANUAL, Source.DEFAULT)
"""An old answer of the provider's own, then a person's entry, then the configured default."""


def stand_in(available: AbstractSet[Source]) -> Source | None:
    """The best of what is there, or None when nothing is."""
    return next((source for source in ORDER if source in available), None)
