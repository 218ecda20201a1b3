"""The frame around every page: who is signed in, where to go, and what everybody has to know."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.model.health import CircuitState
from core.model.overview import IntegrationOverview
from dashboard import components, data
from dashboard.data import Person
from dashboard.plain import plain
from dashboard.words import t

HERE = Path(__file__).parent
ICON = HERE / "static" / "beacon.png"


def frame() -> None:
    """Draw the frame and the page in it. Whose session has ended is led to the sign-in page."""
    st.set_page_config(page_title="Bongsu", page_icon=str(ICON), layout="wide")
    person = components.read(lambda: data.person(counts_as_use=True), "person")
    if person is None:
        if data.has_ended():
            st.logout()
        st.stop()
    page = st.navigation(
        {
            t("nav.monitor"): [
                st.Page(
                    HERE / "app_pages" / "health.py",
                    title=t("health.title"),
                    icon=":material/monitor_heart:",
                    default=True,
                )
            ]
        }
    )
    st.set_page_config(page_title=f"{page.title} · Bongsu")
    st.logo(str(ICON), size="large")
    sidebar(person)
    banner()
    page.run()


def sidebar(person: Person) -> None:
    """Who is signed in, and the way out."""
    with st.sidebar:
        role = t(f"role.{person.role.value}")
        st.markdown(f":material/person: **{plain(person.name)}** · {role}")
        if st.button(t("frame.sign_out"), icon=":material/logout:", width="stretch"):
            st.logout()
        st.caption(t("frame.zone", zone=plain(data.zone().key)))
        st.caption(f"Bongsu {plain(data.version())}")


@st.fragment(run_every="10s")
def banner() -> None:
    """What changes the meaning of everything on the screen: made-up answers, what is shut out, what is not shared."""
    if components.quietly(lambda: data.person(counts_as_use=False)) is None:
        return
    overview = components.quietly(data.overview) or []
    open_circuits = [
        f"{components.title(one)} ({plain(circuit.provider, 40)})"
        for one in overview
        for circuit in one.circuits
        if circuit.state is CircuitState.OPEN
    ]
    if open_circuits:
        st.error(t("banner.circuit", names=", ".join(open_circuits)), icon=":material/block:")
    degraded_since = data.state_degraded_since()
    if degraded_since is not None:
        st.error(t("banner.state", time=components.moment(degraded_since)), icon=":material/sync_problem:")
    made_up = _made_up(overview)
    if made_up:
        st.warning(made_up, icon=":material/science:")


def _made_up(overview: list[IntegrationOverview]) -> str:
    mocked = [components.title(one) for one in overview if one.is_mock_mode]
    lines = [t("banner.mock", names=", ".join(mocked))] if mocked else []
    if data.has_demo_traffic():
        lines.append(t("banner.demo"))
    return " ".join(lines)


frame()
