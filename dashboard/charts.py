"""Pictures of data: pure functions from rows to what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from core.model.health import HealthStatus

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
    """An HTML strip of bars, the oldest first; slots without a check stay pale, so that the right end is now."""
    shown = beats[-slots:]
    pale = _bar("#8793a1", 0.16, "", opacity=0.35) * (slots - len(shown))
    bars = "".join(_bar(*_LOOKS[beat.status], beat.label) for beat in shown)
    style = f"display:flex;align-items:flex-end;gap:2px;height:{_HEIGHT}px"
    return f'<div role="img" aria-label="{escape(alt)}" style="{style}">{pale}{bars}</div>'


def _bar(colour: str, share: float, label: str, *, opacity: float = 1.0) -> str:
    style = (
        f"flex:1;min-width:1px;max-width:10px;height:{round(_HEIGHT * share)}px;border-radius:2px;"
        f"background:{colour};opacity:{opacity}"
    )
    title = f' title="{escape(label)}"' if label else ""
    return f'<span style="{style}"{title}></span>'
