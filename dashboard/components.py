"""The parts that pages are made of. A status is always an icon, a word and a colour, never a colour alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeVar

import pandas as pd
import streamlit as st

from core.errors import StorageError
from core.model.health import CircuitState, HealthCheck, HealthStatus
from core.model.overview import CircuitView, IntegrationOverview
from dashboard import data
from dashboard.charts import CallNames, Minute, calls_figure
from dashboard.plain import plain
from dashboard.words import t, title_of

T = TypeVar("T")
_LONG_MS: Final = 10_000
Colour = Literal["green", "orange", "red", "gray", "violet"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is shown: the key of its word, its icon and its colour."""

    word: str
    icon: str
    colour: Colour


UNKNOWN: Final = Look("status.unknown", ":material/help:", "gray")
OFF: Final = Look("status.off", ":material/power_settings_new:", "gray")
MOCK: Final = Look("status.mock", ":material/science:", "violet")
STATUS: Final = {
    HealthStatus.HEALTHY: Look("status.healthy", ":material/check_circle:", "green"),
    HealthStatus.DEGRADED: Look("status.degraded", ":material/warning:", "orange"),
    HealthStatus.UNHEALTHY: Look("status.unhealthy", ":material/dangerous:", "red"),
}
CIRCUIT: Final = {
    CircuitState.CLOSED: Look("circuit.closed", ":material/check:", "green"),
    CircuitState.HALF_OPEN: Look("circuit.half_open", ":material/hourglass_top:", "orange"),
    CircuitState.OPEN: Look("circuit.open", ":material/block:", "red"),
}


def look_of(one: IntegrationOverview) -> Look:
    """How an integration's status is shown: off before unknown before its own status."""
    if not one.is_enabled:
        return OFF
    return STATUS[one.status] if one.status is not None else UNKNOWN


def title(one: IntegrationOverview) -> str:
    """What an integration is called, as markdown."""
    return plain(title_of(one.name, one.title), 60)


def badge(look: Look, text: str = "") -> str:
    """A state as markdown, with its icon, its word and its colour; `text`, which is escaped, goes before the word."""
    label = f"{plain(text, 40)} {t(look.word)}" if text else t(look.word)
    return f":{look.colour}-badge[{look.icon} {label}]"


def circuit(view: CircuitView) -> str:
    """One provider's circuit breaker as markdown, with how long it still refuses or how often it has failed."""
    shown = badge(CIRCUIT[view.state], view.provider)
    if view.state is CircuitState.OPEN:
        return f"{shown} {t('circuit.retry', seconds=round(view.retry_after_s))}"
    return f"{shown} {t('circuit.failures', count=view.failures)}" if view.failures else shown


def moment(at: datetime) -> str:
    """A time on the screen, always with its zone."""
    local = at.astimezone(data.zone())
    return f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"


def share(value: float | None) -> str:
    """A rate as a percentage; less than all is never rounded up to 100 %."""
    if value is None:
        return t("metric.none")
    return "100%" if value >= 1 else f"{min(round(value * 100, 1), 99.9)}%"


def duration(milliseconds: float | None) -> str:
    """A duration: milliseconds below ten seconds, seconds above."""
    if milliseconds is None:
        return t("metric.none")
    is_long = milliseconds >= _LONG_MS
    return f"{milliseconds / 1000:,.1f} s" if is_long else f"{milliseconds:,.0f} ms"


def calls_chart(minutes: Sequence[Minute], key: str) -> None:
    """Calls by the minute as a chart that can be zoomed; a zoom outlives the next reading."""
    names = CallNames(
        calls=t("metric.calls"),
        answered=t("minute.answered"),
        failed=t("minute.failed"),
        mean=t("minute.mean"),
        milliseconds="ms",
    )
    figure = calls_figure(minutes, data.zone(), names)
    st.plotly_chart(figure, key=key, alt=t("minute.strip", count=len(minutes)))


def check_table(history: Sequence[HealthCheck]) -> None:
    """Checks as a table, the newest first. Cells show text as it is: nothing in them is markup."""
    rows = pd.DataFrame(
        {
            "time": pd.to_datetime([check.checked_at for check in history], utc=True),
            "status": [t(STATUS[check.status].word) for check in history],
            "message": [" ".join([check.message, *_reasons(check)]) for check in history],
            "circuit": [t(CIRCUIT[check.circuit_state].word) for check in history],
            "duration": [round(check.duration_ms, 1) for check in history],
        }
    )
    zone = data.zone().key
    column = st.column_config
    st.dataframe(
        rows,
        hide_index=True,
        alt=t("history.title"),
        column_config={
            "time": column.DatetimeColumn(
                t("history.time", zone=zone), timezone=zone, format="YYYY-MM-DD HH:mm:ss"
            ),
            "status": column.TextColumn(t("history.status")),
            "circuit": column.TextColumn(t("history.circuit")),
            "duration": column.NumberColumn(t("history.duration"), format="%.1f"),
            "message": column.TextColumn(t("history.message"), width="large"),
        },
    )


def _reasons(check: HealthCheck) -> list[str]:
    return [f"{provider}: {reason}." for provider, reason in check.details.items()]


def read(load: Callable[[], T], key: str) -> T | None:
    """What `load` gives. When the database is away, a panel that says so and offers to try again; then None."""
    try:
        return load()
    except StorageError:
        st.error(t("error.storage_body"), title=t("error.storage"), icon=":material/database_off:")
        st.button(t("error.retry"), key=f"retry-{key}", icon=":material/refresh:", on_click=data.forget)
        return None


def quietly(load: Callable[[], T]) -> T | None:
    """What `load` gives; None when the database is away, which some other part of the page will say."""
    try:
        return load()
    except StorageError:
        return None


def show_unexpected_error() -> None:
    """What is shown when a page failed: that it did, and where to look."""
    st.error(t("error.unexpected_body"), title=t("error.unexpected"), icon=":material/error:")
