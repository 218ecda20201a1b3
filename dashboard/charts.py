"""Pictures of data: pure functions from rows to what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from core.model.health import HealthStatus

_STEP: Final = 10
_BAR: Final = 7
_HEIGHT: Final = 32
_LOOKS: Final = {
    HealthStatus.HEALTHY: ("#1f9d63", 1.0),
    HealthStatus.DEGRADED: ("#d98200", 0.66),
    HealthStatus.UNHEALTHY: ("#e0483e", 0.33),
}
"""Colour and height: the better, the higher, so that nobody needs the colours."""


@dataclass(frozen=True, slots=True)
class Beat:
    """One check in the heartbeat strip; `label` is what a pointer resting on it is told."""

    status: HealthStatus
    label: str


def heartbeat_strip(beats: Sequence[Beat], *, alt: str, slots: int) -> str:
    """An SVG strip of bars, the oldest first; slots without a check stay pale, so that the right end is now."""
    empty = max(0, slots - len(beats))
    pale = "".join(_bar(place, "#8793a1", 0.16, "", opacity=0.35) for place in range(empty))
    bars = "".join(
        _bar(empty + place, *_LOOKS[beat.status], beat.label) for place, beat in enumerate(beats[-slots:])
    )
    width = slots * _STEP
    return (
        f'<svg viewBox="0 0 {width} {_HEIGHT}" width="100%" height="{_HEIGHT}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(alt)}">{pale}{bars}</svg>'
    )


def _bar(place: int, colour: str, share: float, label: str, *, opacity: float = 1.0) -> str:
    height = round(_HEIGHT * share, 1)
    title = f"<title>{escape(label)}</title>" if label else ""
    return (
        f'<rect x="{place * _STEP}" y="{_HEIGHT - height}" width="{_BAR}" height="{height}" rx="1.5" '
        f'fill="{colour}" opacity="{opacity}">{title}</rect>'
    )
