"""The composition root: from settings to a `Hub` that has everything built, once, and passed in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Self

import structlog

from core.access.access import Access
from core.client.background import BackgroundThreads
from core.client.bulkhead import Bulkhead
from core.client.client import Client
from core.client.flights import Flights
from core.clock import Chance, Clock, SystemClock, system_chance
from core.config.environment import Configuration, load, secrets_of
from core.config.integration import IntegrationConfig
from core.crypto import Keyring
from core.health.monitor import Checkable, HealthMonitor
from core.integrations.address import PROVIDERS, AddressIntegration
from core.model.alert import Alert
from core.model.health import HealthCheck
from core.model.identity import Sequence
from core.model.job_run import JobRun
from core.model.overview import IntegrationOverview
from core.model.span import span
from core.overview import Overviews
from core.persistence import schema
from core.persistence.alerts import AlertStore
from core.persistence.call_log import CallLog
from core.persistence.database import Database, prepare_directory
from core.persistence.health import HealthStore
from core.persistence.job_runs import JobRuns
from core.persistence.metrics import MetricsStore
from core.policies.override import OverrideMode
from core.redaction import Redactor
from core.settings import PREFIX, Settings, environment
from core.state.base import StateStore
from core.state.cache import CacheService
from core.state.guarded import GuardedState
from core.state.memory import MemoryState
from core.state.redis import RedisState
from core.state.sqlite import SqliteState
from core.telemetry import logs
from core.telemetry.collector import MetricsCollector
from core.telemetry.lines import tell
from core.telemetry.recorder import Recorder
from core.transports.base import Transport
from core.transports.http import HttpTransport
from core.transports.mock import DemoWeather, FairWeather, MockTransport

if TYPE_CHECKING:
    import pandas as pd

VERSION = version("bongsu")
log = structlog.get_logger()
_HEALTH_SPAN = timedelta(minutes=15)
_LONGEST_OVERRIDE_SECONDS = 7 * 24 * 3600.0


def connect(*, data_dir: Path | str | None = None, environ: Mapping[str, str] | None = None) -> Hub:
    """A hub on the settings in `BONGSU_*` variables, or in `environ`.

    `data_dir` takes the place of `BONGSU_DATA_DIR`. The embedded database is made, and brought up to date, when
    that is needed; a PostgreSQL database is not: `bongsu migrate` does that, once for all processes.

    Raises `SettingsRefused` with every fault of the settings, and `StorageError` when the data directory or the
    database cannot be used.
    """
    variables = dict(environment() if environ is None else environ)
    if data_dir is not None:
        variables[f"{PREFIX}DATA_DIR"] = str(data_dir)
    hub = Hub.build(load(variables))
    logs.as_guest(hub.redactor)
    return hub


class Hub:
    """Everything a process works with. Use it as a context manager, or `close` it at the end."""

    def __init__(
        self,
        *,
        configuration: Configuration,
        database: Database,
        state: GuardedState,
        clock: Clock,
        chance: Chance,
        keyring: Keyring,
    ) -> None:
        settings = configuration.settings
        self.version = VERSION
        self.settings: Settings = settings
        self.configs: Mapping[str, IntegrationConfig] = configuration.integrations
        self.database = database
        self.clock = clock
        self.keyring = keyring
        self.redactor = Redactor(secrets_of(configuration))
        self.access = Access(database=database, clock=clock, settings=settings, keyring=keyring)
        self.call_log = CallLog(database)
        self.job_run_store = JobRuns(database, clock)
        self._alerts = AlertStore(database, clock)
        self._health_store = HealthStore(database, clock)
        metrics = MetricsStore(database)
        self._recorder = Recorder(self.call_log.append, clock, tell=tell)
        self.collector = MetricsCollector(self._recorder, reader=self.call_log, writer=metrics, clock=clock)
        self._state = state
        self._overviews = Overviews(
            call_log=self.call_log,
            metrics=metrics,
            health=self._health_store,
            state=state,
            clock=clock,
            flush=self._recorder.flush,
        )
        self._transport = HttpTransport(clock)
        self._background = BackgroundThreads()
        self._cache = CacheService(state, clock)
        client = Client(
            state=state,
            cache=self._cache,
            clock=clock,
            chance=chance,
            redactor=self.redactor,
            sequence=Sequence(),
            record=self.collector.record,
            flights=Flights(),
            bulkhead=Bulkhead(),
            background=self._background,
        )
        self.address = AddressIntegration(
            self.configs["address"], client, self._transports(self.configs["address"], chance)
        )
        self.integrations: Mapping[str, Checkable] = {"address": self.address}
        self.health = HealthMonitor(
            state=state,
            records=self._health_store,
            alerts=self._alerts,
            recent_totals=lambda: self._overviews.totals(_HEALTH_SPAN),
            clock=clock,
        )
        for integration in self.integrations.values():
            self.health.register_integration(integration)

    @staticmethod
    def build(
        configuration: Configuration, clock: Clock | None = None, chance: Chance = system_chance
    ) -> Hub:
        """A hub on this configuration, by default on the machine's own clock and chance."""
        settings = configuration.settings
        clock = clock or SystemClock()
        prepare_directory(settings.data_dir)
        with ExitStack() as opened:
            database = Database.open(settings)
            opened.callback(database.close)
            if database.is_sqlite:
                schema.upgrade(database)
            else:
                schema.require(database)
            keyring = Keyring.open(settings.data_dir)
            state = _state(settings, clock)
            opened.callback(state.close)
            hub = Hub(
                configuration=configuration,
                database=database,
                state=state,
                clock=clock,
                chance=chance,
                keyring=keyring,
            )
            opened.pop_all()
            return hub

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Store what is waiting to be stored, and let go of files and connections."""
        with ExitStack() as closing:
            closing.callback(self.database.close)
            closing.callback(self._state.close)
            closing.callback(self._transport.close)
            closing.callback(self._recorder.close)
            closing.callback(self._background.close)

    @property
    def state_degraded_since(self) -> datetime | None:
        """Since when this process could not reach the shared state, as far as it has tried; None when it can.

        Until it can again, circuits, limits and cached answers are this process's own.
        """
        return self._state.degraded_since

    def calls(self, last: str = "1h", *, integration: str | None = None, limit: int = 10_000) -> pd.DataFrame:
        """The calls of the last so long ("15m", "1h", "7d"), newest first, at most `limit` of them.

        This process's own calls are in it, also the one just made, unless they cannot be stored at the moment: the
        log then says so.
        """
        if not self._recorder.flush():
            log.warning("calls_wait_to_be_stored", waiting=self._recorder.stats.waiting)
        now = self.clock.now()
        return self.call_log.frame(now - span(last), now + timedelta(seconds=1), integration, limit)

    def overview(self, last_minutes: int = 60) -> list[IntegrationOverview]:
        """Every integration with its health, its circuits, and what came of its last calls."""
        return self._overviews.all(self.integrations, self.configs, timedelta(minutes=last_minutes))

    def check_now(self, name: str, *, by: str) -> HealthCheck:
        """Check one integration now, because `by` asked for it; on record in the audit log.

        Raises `KeyError` when there is no integration of that name, and `IntegrationDisabled` when it is switched off.
        """
        check = self.health.check_health(name)
        self.access.note(by, "health.check", name, {"status": check.status.value})
        return check

    def steer_circuit(
        self,
        name: str,
        provider: str,
        mode: OverrideMode | None,
        *,
        by: str,
        seconds: float = 0,
        reason: str = "",
    ) -> None:
        """Have `mode` hold instead of a circuit breaker's own decision, in every process, for so many seconds.

        None takes such a word back. `by` and `reason` are shown wherever the circuit is, and stand in the audit log.
        Raises `KeyError` when there is no such integration or provider, `ValueError` for a word without a reason or an
        end, and `StorageError` when the shared state cannot be reached: then nobody has heard it.
        """
        integration = self.integrations[name]
        circuit = integration.circuits[provider]
        if integration.policy.admission.breaker is None:
            raise ValueError(f"The circuit breaker of {name} is switched off, so there is nothing to steer.")
        if mode and (not reason.strip() or not 0 < seconds <= _LONGEST_OVERRIDE_SECONDS):
            raise ValueError("An operator's word over a circuit needs a reason, and an end within a week.")
        reason = self.redactor.text(reason)
        self._state.steer(circuit, mode, seconds=seconds, by=by, reason=reason)
        details = {"provider": provider, "mode": mode.value if mode else "none", "reason": reason}
        self.access.note(by, "circuit.steer", name, details | {"seconds": str(round(seconds))})

    def forget_answers(self, name: str, pattern: str = "*", *, by: str) -> int:
        """Forget the kept answers of one integration whose key matches, after its name and a colon; how many there were.

        `*` stands for any text: `search_address:*` is every answer of that operation. A process may serve one that it
        has at hand for `cache_local_seconds` more. Raises `KeyError` when there is no such integration.
        """
        forgotten = self._cache.delete_pattern(f"{self.integrations[name].name}:{pattern}")
        self.access.note(by, "cache.forget", name, {"pattern": pattern, "forgotten": str(forgotten)})
        return forgotten

    def health_history(self, name: str, limit: int = 100) -> list[HealthCheck]:
        """The last checks of one integration, newest first."""
        return self._health_store.history(name, limit)

    def alerts_open(self) -> list[Alert]:
        """What is wrong now, oldest first."""
        return self._alerts.open()

    def job_runs(self, limit: int = 50) -> list[JobRun]:
        """The last runs of all jobs, newest first."""
        return self.job_run_store.latest(limit)

    def _transports(self, config: IntegrationConfig, chance: Chance) -> dict[str, Transport]:
        if not config.is_mock_mode:
            return {provider.name: self._transport for provider in config.providers}
        has_demo = self.settings.has_demo_traffic
        return {
            provider.name: MockTransport(
                PROVIDERS[provider.name](provider).imitate,
                DemoWeather(provider.name) if has_demo else FairWeather(),
                self.clock,
                chance,
            )
            for provider in config.providers
        }


def _state(settings: Settings, clock: Clock) -> GuardedState:
    primary: StateStore = (
        RedisState(settings.redis_url.get_secret_value())
        if settings.redis_url
        else SqliteState(settings.state_file, clock)
    )
    return GuardedState(primary, MemoryState(clock), clock)
