"""What pages, API and notebooks read: every integration at a glance, from stored windows and the newest calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from core.clock import Clock
from core.config.integration import IntegrationConfig
from core.config.templates import TEMPLATES
from core.health.monitor import Checkable
from core.metrics.totals import totals
from core.metrics.window import aggregate, floor, reworked_from
from core.model.call_record import HEALTH_CHECK
from core.model.call_row import CallMeasureRow
from core.model.health import HealthRecord
from core.model.metric_window import MetricWindow
from core.model.overview import CallTotals, CircuitView, IntegrationOverview, MinuteCount, OverrideView
from core.model.paging import in_pages
from core.persistence.call_log import CallLog
from core.persistence.health import HealthStore
from core.persistence.metrics import MetricsStore
from core.policies.admission import circuit_state, refused_for
from core.state.base import StateStore

MINUTES_SHOWN: Final = timedelta(minutes=30)
"""How much of the newest past is shown minute by minute."""

_PAGE: Final = 10_000
_TITLES = {template.name: template.title for template in TEMPLATES}


class Overviews:
    """Reads what is known of the integrations. A handful of queries, however many integrations there are."""

    def __init__(
        self,
        *,
        call_log: CallLog,
        metrics: MetricsStore,
        health: HealthStore,
        state: StateStore,
        clock: Clock,
        flush: Callable[[], object],
    ) -> None:
        """`flush` makes this process's own newest calls readable."""
        self._call_log = call_log
        self._metrics = metrics
        self._health = health
        self._state = state
        self._clock = clock
        self._flush = flush

    def windows(self, last: timedelta) -> list[MetricWindow]:
        """The 5-minute windows of the last so long, all integrations, up to this moment.

        Stored windows are read as they are, except the newest, which may still have been growing when they were
        counted: from there on the calls themselves are aggregated. Checks are not calls that anyone made.
        """
        self._flush()
        now = self._clock.now()
        start = floor(now - last)
        newest = self._metrics.newest_start()
        cut = start if newest is None else min(max(reworked_from(newest), start), now)
        stored = self._metrics.between(start, cut)
        fresh = aggregate(self._rows(cut, now + timedelta(seconds=1)), updated_at=now)
        return [window for window in (*stored, *fresh) if window.operation != HEALTH_CHECK]

    def totals(self, last: timedelta) -> dict[str, CallTotals]:
        """What came of the calls of the last so long, by integration; one without calls is not there."""
        return {name: totals(windows) for name, windows in _by_integration(self.windows(last)).items()}

    def all(
        self,
        integrations: Mapping[str, Checkable],
        configs: Mapping[str, IntegrationConfig],
        last: timedelta,
    ) -> list[IntegrationOverview]:
        """Every integration, in the order of `integrations`."""
        windows = _by_integration(self.windows(last))
        health = self._health.all()
        minutes = self._minutes()
        since = floor(self._clock.now() - last)
        return [
            self._overview(
                integration,
                configs[name],
                windows.get(name, []),
                health.get(name),
                minutes.get(name, []),
                since,
            )
            for name, integration in integrations.items()
        ]

    def _minutes(self) -> dict[str, list[MinuteCount]]:
        now = self._clock.now()
        found: dict[str, list[MinuteCount]] = {}
        for count in self._call_log.by_minute(now - MINUTES_SHOWN, now + timedelta(seconds=1)):
            found.setdefault(count.integration, []).append(count)
        return found

    def _rows(self, start: datetime, end: datetime) -> Iterator[CallMeasureRow]:
        return in_pages(lambda last: self._call_log.measures(start, end, last, _PAGE), _PAGE)

    def _overview(
        self,
        integration: Checkable,
        config: IntegrationConfig,
        windows: Sequence[MetricWindow],
        health: HealthRecord | None,
        minutes: Sequence[MinuteCount],
        since: datetime,
    ) -> IntegrationOverview:
        return IntegrationOverview(
            name=integration.name,
            title=_TITLES[integration.name],
            type=config.integration_type.value,
            is_enabled=config.is_enabled,
            is_mock_mode=config.is_mock_mode,
            circuits=tuple(
                self._circuit(integration, provider, circuit)
                for provider, circuit in integration.circuits.items()
            ),
            health=health,
            totals=totals(windows),
            since=since,
            minutes=tuple(minutes),
        )

    def _circuit(self, integration: Checkable, provider: str, circuit: str) -> CircuitView:
        snapshot = self._state.peek(circuit)
        policy = integration.policy.admission
        state, now = snapshot.state, snapshot.now
        override = state.override_at(now)
        return CircuitView(
            provider=provider,
            state=circuit_state(state, policy, now),
            failures=state.breaker.failures,
            retry_after_s=refused_for(state, policy, now) / 1_000_000,
            override=OverrideView(
                override.mode.value, override.by, override.reason, (override.until - now) / 1_000_000
            )
            if override
            else None,
        )


def _by_integration(windows: Iterable[MetricWindow]) -> dict[str, list[MetricWindow]]:
    found: dict[str, list[MetricWindow]] = {}
    for window in windows:
        found.setdefault(window.integration_name, []).append(window)
    return found
