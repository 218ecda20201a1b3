"""The Health page: how every integration is, the ill ones first."""

from __future__ import annotations

import streamlit as st

from core.model.health import HealthCheck, HealthStatus
from core.model.overview import IntegrationOverview
from core.model.role import Role
from dashboard import components, data
from dashboard.charts import Beat, Minute, call_strip, heartbeat_strip, minutes_until
from dashboard.components import STATUS, duration, moment, share
from dashboard.data import Person
from dashboard.plain import plain
from dashboard.words import t


@st.fragment(run_every="5s")
def board() -> None:
    """Everything on the page; it renews itself, and leads to the sign-in page when the session has ended."""
    person = components.read(lambda: data.person(counts_as_use=False), "session")
    if person is None:
        if data.has_ended():
            st.logout()
        return
    overview = components.read(data.overview, "overview")
    if overview is None:
        return
    if not overview:
        st.info(t("empty.body"), title=t("empty.title"), icon=":material/inbox:")
        return
    summary(overview)
    grid = st.grid("auto", min_column_width=520, gap="medium")
    for one in sorted(overview, key=_urgency):
        with grid.cell(), st.container(border=True, gap="xsmall", key=f"card-{one.name}"):
            card(one, person)


def summary(overview: list[IntegrationOverview]) -> None:
    """How many of how many are healthy, in one line."""
    enabled = [one for one in overview if one.is_enabled]
    healthy = [one for one in enabled if one.status is HealthStatus.HEALTHY]
    ill = [one for one in enabled if one.status not in {HealthStatus.HEALTHY, None}]
    key = "some_ill" if ill else "all_well" if len(healthy) == len(enabled) else "unchecked"
    st.header(t("summary", healthy=len(healthy), total=len(enabled)), anchor=False)
    st.caption(f"{t(f'summary.{key}')} · {t('frame.updated', time=moment(data.now()))}")


def card(one: IntegrationOverview, person: Person) -> None:
    """One integration: status, last hour, circuits, checks."""
    heading(one, person)
    numbers(one)
    minutes = minutes_until(data.now(), one.minutes, data.MINUTES)
    calls(minutes)
    if one.circuits:
        circuits = " ".join(components.circuit(circuit) for circuit in one.circuits)
        st.markdown(f"{t('circuit.label')} {circuits}")
    last_check(one, person)
    history = checks(one)
    details(one, minutes, history)


def heading(one: IntegrationOverview, person: Person) -> None:
    """The name, the status, and the button to check at once."""
    mock = f" {components.badge(components.MOCK)}" if one.is_mock_mode else ""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        title = f"{components.title(one)} {components.badge(components.look_of(one))}{mock}"
        st.subheader(title, anchor=False, width="content")
        if person.role.allows(Role.OPERATOR) and one.is_enabled:
            st.button(
                t("check.now"),
                key=f"check-{one.name}",
                icon=":material/stethoscope:",
                on_click=check_now,
                args=(one.name, components.title(one)),
            )


def check_now(name: str, title: str) -> None:
    """Check an integration at once and say what came of it; the page that follows shows it."""
    person = components.quietly(lambda: data.person(counts_as_use=True))
    check = components.quietly(lambda: data.check_now(name, person)) if person else None
    if check is None:
        st.toast(t("check.refused"), icon=":material/error:")
        return
    look = STATUS[check.status]
    st.toast(t("check.done", title=title, status=t(look.word)), icon=look.icon)


def numbers(one: IntegrationOverview) -> None:
    """What came of the calls of the last hour."""
    totals = one.totals
    shown = {
        "metric.success": share(totals.success_rate),
        "metric.p95": duration(totals.p95_ms),
        "metric.cache": share(totals.cache_hit_rate),
        "metric.calls": f"{totals.total:,}",
    }
    st.caption(t("metric.window"))
    for column, (key, value) in zip(st.columns(4), shown.items(), strict=True):
        column.metric(t(key), value)


def calls(minutes: list[Minute]) -> None:
    """The newest minutes at a glance: how many calls, and how many of them failed."""
    labels = [
        t("minute.label", time=moment(minute.at), total=minute.total, failed=minute.failed)
        for minute in minutes
    ]
    alt = t("minute.strip", count=len(minutes))
    st.html(call_strip(minutes, labels, alt=alt))
    st.caption(alt)


def last_check(one: IntegrationOverview, person: Person) -> None:
    """When the last check was and what it found."""
    if one.health is None:
        may_check = person.role.allows(Role.OPERATOR)
        st.info(t("check.never" if may_check else "check.never_viewer"), icon=":material/schedule:")
        return
    st.markdown(f"{t('check.last', time=moment(one.health.last_check_at))}: {plain(one.health.message)}")
    if one.health.details:
        reasons = [f"{plain(name)}: {plain(reason)}" for name, reason in one.health.details.items()]
        st.caption(" · ".join(reasons))
    if one.health.consecutive_failures:
        st.caption(t("check.failing", count=one.health.consecutive_failures, day=one.health.failures_24h))


def checks(one: IntegrationOverview) -> list[HealthCheck]:
    """The history of checks at a glance."""
    history = components.read(lambda: data.history(one.name), f"history-{one.name}") or []
    if history:
        beats = [
            Beat(check.status, f"{moment(check.checked_at)} · {t(STATUS[check.status].word)}")
            for check in reversed(history)
        ]
        alt = t("history.strip", count=len(beats))
        st.html(heartbeat_strip(beats, alt=alt, slots=data.HISTORY_LENGTH))
        st.caption(alt)
    return history


def details(one: IntegrationOverview, minutes: list[Minute], history: list[HealthCheck]) -> None:
    """The same to read and to zoom into, drawn only for who opens it."""
    opened = st.expander(
        t("details.title"), icon=":material/monitoring:", key=f"details-{one.name}", on_change="rerun"
    )
    if not opened.open:
        return
    with opened:
        st.caption(t("minute.strip", count=len(minutes)))
        components.calls_chart(minutes, key=f"calls-{one.name}")
        st.caption(t("history.title"))
        if history:
            components.check_table(history)
        else:
            st.caption(t("history.empty"))


_FIRST = {HealthStatus.UNHEALTHY: -1, HealthStatus.DEGRADED: 0, None: 1, HealthStatus.HEALTHY: 2}


def _urgency(one: IntegrationOverview) -> tuple[int, str]:
    """Ill before unknown before healthy before switched off; then by name."""
    if not one.is_enabled:
        return (3, one.name)
    return _FIRST[one.status], one.name


st.title(t("health.title"), anchor=False)
board()
