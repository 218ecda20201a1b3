"""Pictures of data: pure functions from rows to what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from core.model.health import HealthStatus
from core.model.overview import MinuteCount

if TYPE_CHECKING:
    import plotly.graph_objects as go

_HEIGHT: Final = 32
_LOOKS: Final = {
    HealthStatus.HEALTHY: ("#1f9d63", 1.0),
    HealthStatus.DEGRADED: ("#d98200", 0.66),
    HealthStatus.UNHEALTHY: ("#e0483e", 0.33),
}
"""Colour and height: the better, the higher, so that nobody needs the colours."""

_ANSWERED: Final = "#3b82c4"
_FAILED: Final = "#e0483e"
_MEAN: Final = "#b08900"


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


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute of calls, which may have had none; `at` is when it began."""

    at: datetime
    total: int = 0
    failed: int = 0
    mean_ms: float | None = None


def minutes_until(now: datetime, counts: Sequence[MinuteCount], slots: int) -> list[Minute]:
    """The last `slots` minutes, the one in progress included, oldest first, with those that had no call."""
    found = {count.minute: count for count in counts}
    last = now.replace(second=0, microsecond=0)
    return [
        Minute(at, count.total, count.failed, count.mean_ms) if (count := found.get(at)) else Minute(at)
        for at in (last - timedelta(minutes=back) for back in range(slots - 1, -1, -1))
    ]


def call_strip(minutes: Sequence[Minute], labels: Sequence[str], *, alt: str) -> str:
    """An HTML strip of one bar a minute: as high as there were calls, its failed part at the foot in red."""
    most = max((minute.total for minute in minutes), default=0) or 1
    bars = "".join(_call_bar(minute, most, label) for minute, label in zip(minutes, labels, strict=True))
    style = f"display:flex;align-items:flex-end;gap:2px;height:{_HEIGHT}px"
    return f'<div role="img" aria-label="{escape(alt)}" style="{style}">{bars}</div>'


@dataclass(frozen=True, slots=True)
class CallNames:
    """What the parts of `calls_figure` are called in the language of the screen."""

    calls: str
    answered: str
    failed: str
    mean: str
    milliseconds: str


def calls_figure(minutes: Sequence[Minute], zone: ZoneInfo, names: CallNames) -> go.Figure:
    """Calls a minute as stacked bars, and what they took on average as a line with an axis of its own."""
    import plotly.graph_objects as go

    # A time without a zone is drawn as it is: converting one with a zone costs more than all the rest.
    at = [minute.at.astimezone(zone).replace(tzinfo=None) for minute in minutes]
    answered = [minute.total - minute.failed for minute in minutes]
    figure = go.Figure(
        [
            go.Bar(x=at, y=answered, name=names.answered, marker_color=_ANSWERED),
            go.Bar(x=at, y=[minute.failed for minute in minutes], name=names.failed, marker_color=_FAILED),
            go.Scatter(
                x=at,
                y=[minute.mean_ms for minute in minutes],
                name=names.mean,
                yaxis="y2",
                mode="lines+markers",
                line={"color": _MEAN, "dash": "dot"},
                connectgaps=True,
            ),
        ]
    )
    figure.update_layout(
        barmode="stack",
        height=280,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        xaxis={"tickformat": "%H:%M"},
        yaxis={"rangemode": "tozero", "title": names.calls, "tickformat": ",d"},
        yaxis2={
            "overlaying": "y",
            "side": "right",
            "rangemode": "tozero",
            "showgrid": False,
            "tickformat": ",.0f",
            "title": names.milliseconds,
        },
        uirevision="calls",
    )
    return figure


def _call_bar(minute: Minute, most: int, label: str) -> str:
    if minute.total == 0:
        return _bar("#8793a1", 0.06, label, opacity=0.35)
    failed = round(100 * minute.failed / minute.total)
    ground = f"linear-gradient(to top,{_FAILED} {failed}%,{_ANSWERED} {failed}%)"
    return _bar(ground, max(0.1, minute.total / most), label)


def _bar(colour: str, share: float, label: str, *, opacity: float = 1.0) -> str:
    style = (
        f"flex:1;min-width:1px;height:{round(_HEIGHT * share)}px;border-radius:2px;"
        f"background:{colour};opacity:{opacity}"
    )
    title = f' title="{escape(label)}"' if label else ""
    return f'<span style="{style}"{title}></span>'
