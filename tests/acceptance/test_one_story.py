"""One story through all rooms, with a real provider on the wire, a real browser, and real databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from core.config.environment import load
from core.errors import CallError, CircuitOpen, ProviderUnavailable
from core.hub import Hub
from core.model.address import AddressPage
from core.model.answer import IntegrationResponse, Source
from core.model.health import CircuitState, HealthStatus
from jobs.run_recorded import run_recorded
from jobs.schedule import JOBS, last_due
from tests.running import Running, bongsu_up
from tests.simulators import juso
from tests.waiting import until

PASSWORD = "a long and quiet password"
KEYWORD = "테헤란로 509"

# So many good answers come before the outage that its few failures are, in the end, too small a share of the hour
# to call the integration degraded.
WELL_BEFORE = 100


@pytest.fixture
def provider() -> Iterator[juso.JusoSimulator]:
    """juso.go.kr on loopback."""
    with juso.JusoSimulator() as simulator:
        yield simulator


@pytest.fixture(params=["embedded", "servers"])
def environ(request: pytest.FixtureRequest, provider: juso.JusoSimulator, tmp_path: Path) -> dict[str, str]:
    """The settings of one installation: on files alone, or on PostgreSQL and Redis."""
    shared = {
        "BONGSU_DATA_DIR": str(tmp_path / "data"),
        "BONGSU_JUSO_BASE_URL": provider.url,
        "BONGSU_JUSO_API_KEY": juso.KEY,
        "BONGSU_ADDRESS_RETRY_INITIAL_DELAY_SECONDS": "0.01",
        "BONGSU_ADDRESS_CIRCUIT_BREAKER_TIMEOUT_SECONDS": "4",
        "BONGSU_ADDRESS_CACHE_TTL_SECONDS": "1",
    }
    if request.param == "embedded":
        return shared
    return {
        **shared,
        "BONGSU_DATABASE_URL": request.getfixturevalue("fresh_postgres_url"),
        "BONGSU_REDIS_URL": request.getfixturevalue("redis_url"),
    }


@pytest.fixture
def program(environ: dict[str, str]) -> Iterator[Running]:
    """`bongsu up`, ready."""
    with bongsu_up(environ, "--no-demo") as running:
        yield running


@pytest.fixture
def notebook(program: Running, environ: dict[str, str]) -> Iterator[Hub]:
    """A hub beside the running program, as a notebook has it."""
    with Hub.build(load(environ)) as hub:
        yield hub


@pytest.fixture
def page(browser: Browser, program: Running) -> Iterator[Page]:
    """A browser in which the first administrator was made and has signed in."""
    context = browser.new_context(locale="en-US", timezone_id="Asia/Seoul")
    opened = context.new_page()
    opened.goto(program.setup_url)
    opened.locator("#name").fill("chief")
    opened.locator("#password").fill(PASSWORD)
    opened.locator("#again").fill(PASSWORD)
    opened.get_by_role("button").click()
    if "/login" in opened.url:
        opened.locator("#name").fill("chief")
        opened.locator("#password").fill(PASSWORD)
        opened.get_by_role("button").click()
    yield opened
    context.close()


def search(hub: Hub, keyword: str = KEYWORD) -> IntegrationResponse[AddressPage]:
    return hub.address.search_address(keyword)


def circuit(hub: Hub) -> CircuitState:
    return hub.overview()[0].worst_circuit


def run_jobs(hub: Hub, number: int) -> None:
    """Run every job for a due time of its own, as the jobs process does each five minutes."""
    for job in JOBS:
        due = last_due(hub.clock.now(), job.every) + number * timedelta(hours=1)
        assert run_recorded(hub, job, due)


@pytest.mark.smoke
@pytest.mark.timeout(180)
def test_an_outage_is_weathered_seen_and_over(
    provider: juso.JusoSimulator, notebook: Hub, page: Page, program: Running
) -> None:
    """A provider falls ill: callers get old answers, the page shows it, and it all mends by itself."""
    live = search(notebook)
    assert live.source is Source.LIVE
    assert live.value.addresses[0].postal_code == "06169"
    newest = notebook.calls(last="1h").iloc[0]
    assert (newest["trace_id"], newest["source"]) == (live.trace_id, "live")
    for _ in range(WELL_BEFORE):
        search(notebook)

    provider.fail_with(500)
    with pytest.raises(ProviderUnavailable) as failed:
        search(notebook, "세종대로 110")
    assert failed.value.attempt == 4
    with pytest.raises(CallError):
        search(notebook, "세종대로 111")
    assert circuit(notebook) is CircuitState.OPEN
    sent = len(provider.requests)
    with pytest.raises(CircuitOpen):
        search(notebook, "세종대로 112")
    assert len(provider.requests) == sent

    until(lambda: search(notebook).source is Source.STALE, what="the cached answer growing stale")
    stale = search(notebook)
    assert stale.value == live.value
    assert stale.age_seconds >= 1
    assert stale.stale_because

    run_jobs(notebook, 1)
    assert {run.job: run.outcome for run in notebook.job_runs(2)} == {
        "check_health": "succeeded",
        "aggregate_metrics": "succeeded",
    }
    [seen] = notebook.overview()
    assert seen.health is not None
    assert seen.health.status is HealthStatus.UNHEALTHY
    assert seen.totals.failed >= 3
    assert [alert.integration for alert in notebook.alerts_open()] == ["address"]

    card = page.locator(".st-key-card-address")
    expect(card).to_contain_text("Down", timeout=30_000)
    expect(card.get_by_text("Not well: juso.")).to_be_visible(timeout=30_000)

    provider.recover()
    until(lambda: circuit(notebook) is not CircuitState.OPEN, what="the recovery time of the circuit")
    page.get_by_role("button", name="Check now").click()
    expect(card).to_contain_text("Healthy", timeout=30_000)
    expect(page.get_by_text("1 of 1 integrations healthy")).to_be_visible()
    assert circuit(notebook) is CircuitState.CLOSED
    assert search(notebook, "테헤란로 1").source is Source.LIVE
    assert notebook.alerts_open() == []

    assert program.interrupt() == 0
    assert program.lines[-1] == "Stopped.\n"
