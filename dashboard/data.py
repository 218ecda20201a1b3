"""The only door from the pages to the core. Reads are cached for a few seconds, over all sessions.

What is cached is the same for every role; nothing that depends on who asks is ever put into a cache.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import streamlit as st

import core
from core.errors import StorageError
from core.model.health import HealthCheck
from core.model.overview import IntegrationOverview
from core.model.role import Role
from core.web.ports import WebHub

FRESH_FOR_SECONDS: Final = 3
HISTORY_LENGTH: Final = 60
MINUTES: Final = 30
"""How many of the newest minutes are drawn one by one."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who looks at the page, with the role of this moment."""

    name: str
    role: Role


class _Door:
    """Holds the hub of this process, made at the first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hub: WebHub | None = None

    def hub(self) -> WebHub:
        with self._lock:
            if self._hub is None:
                self._hub = core.connect()
            return self._hub

    def use(self, hub: WebHub) -> None:
        with self._lock:
            self._hub = hub


_door = _Door()


def hub() -> WebHub:
    """The hub of this process. Raises `SettingsRefused` or `StorageError` when it cannot be made."""
    return _door.hub()


def use(hub: WebHub) -> None:
    """Let the pages stand on this hub from now on."""
    _door.use(hub)
    forget()


def forget() -> None:
    """Drop every cached read, since something has just been changed."""
    st.cache_data.clear()


def person(*, counts_as_use: bool) -> Person | None:
    """Who looks at the page; None once the session has ended, in whatever tab or process that happened.

    A page that only refreshes itself does not use a session; a click does.
    """
    sid = st.user.get("sid")
    if not isinstance(sid, str):
        return None
    signed_in = hub().access.session_by_sid(sid, counts_as_use=counts_as_use)
    return None if signed_in is None else Person(signed_in.name, signed_in.role)


def has_ended() -> bool:
    """Whether the session is known to be over. No answer from the database is not the end of a session."""
    try:
        return person(counts_as_use=False) is None
    except StorageError:
        return False


def now() -> datetime:
    """The time of the core's clock."""
    return hub().clock.now()


def zone() -> ZoneInfo:
    """The time zone of the screen."""
    return hub().settings.zone


def version() -> str:
    """The version of the product."""
    return hub().version


def has_demo_traffic() -> bool:
    """Whether some of the calls on the screen are made up."""
    return hub().settings.has_demo_traffic


def state_degraded_since() -> datetime | None:
    """Since when this process could not reach the shared state; None when it can. Reading the overview tries it."""
    return hub().state_degraded_since


@st.cache_data(ttl=FRESH_FOR_SECONDS, show_spinner=False, max_entries=1)
def overview() -> list[IntegrationOverview]:
    """Every integration with the totals of the last hour."""
    return hub().overview(60)


@st.cache_data(ttl=FRESH_FOR_SECONDS, show_spinner=False, max_entries=64)
def history(name: str) -> list[HealthCheck]:
    """The latest checks of one integration, the newest first."""
    return hub().health_history(name, HISTORY_LENGTH)


def check_now(name: str, person: Person) -> HealthCheck | None:
    """Check one integration at once; None when the person's role does not allow it."""
    if not person.role.allows(Role.OPERATOR):
        hub().access.note_refusal(person.name, "health.check", name)
        return None
    check = hub().check_now(name, by=person.name)
    forget()
    return check
