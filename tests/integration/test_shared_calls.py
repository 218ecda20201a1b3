"""Several processes and one installation: what one learns the others know, and nobody asks twice for the same."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from core.config.environment import load
from core.errors import CircuitOpen
from core.hub import Hub
from core.model.answer import Source
from core.persistence import audit
from core.policies.override import OverrideMode
from core.settings import environment_for_child
from tests.integration.conftest import HubBuilder
from tests.simulators import juso

ROOT = Path(__file__).parents[2]
PROCESSES = 4
CALL = """
import sys
from core.hub import connect
with connect() as hub:
    print("ready", flush=True)
    sys.stdin.readline()
    response = hub.address.search_address("테헤란로 509")
    print(response.source.value, response.value.addresses[0].postal_code, flush=True)
"""


@pytest.fixture
def provider() -> Iterator[juso.JusoSimulator]:
    with juso.JusoSimulator() as simulator:
        yield simulator


@pytest.fixture(params=["embedded", "servers"])
def environ(request: pytest.FixtureRequest, provider: juso.JusoSimulator, tmp_path: Path) -> dict[str, str]:
    """The settings of one installation: on files alone, or with Redis."""
    shared = {
        "BONGSU_DATA_DIR": str(tmp_path / "data"),
        "BONGSU_JUSO_BASE_URL": provider.url,
        "BONGSU_JUSO_API_KEY": juso.KEY,
    }
    if request.param == "embedded":
        return shared
    url = request.getfixturevalue("redis_url")
    with redis.Redis.from_url(url) as server:
        server.flushdb()
    return {**shared, "BONGSU_REDIS_URL": url}


def test_four_processes_that_want_the_same_at_once_cost_the_provider_one_call(
    provider: juso.JusoSimulator, environ: dict[str, str]
) -> None:
    provider.delay(0.5)
    with Hub.build(load(environ)):
        pass  # the files are made before the race begins.
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CALL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment_for_child(**environ),
        )
        for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=60)[0].strip() for process in processes]

    assert Counter(printed) == {"live 06169": 1, "cache 06169": PROCESSES - 1}
    assert len(provider.requests) == 1


def test_an_answer_of_another_address_is_not_taken_for_one_of_this(
    provider: juso.JusoSimulator, environ: dict[str, str]
) -> None:
    with Hub.build(load(environ)) as hub:
        hub.address.search_address("테헤란로 509")
    with juso.JusoSimulator() as moved:
        with Hub.build(load({**environ, "BONGSU_JUSO_BASE_URL": moved.url})) as hub:
            assert hub.address.search_address("테헤란로 509").source is Source.LIVE
        assert len(moved.requests) == 1
    assert len(provider.requests) == 1


def test_an_operators_word_is_heard_by_every_process_and_stands_in_the_audit_log(
    environ: dict[str, str],
) -> None:
    with Hub.build(load(environ)) as dashboard, Hub.build(load(environ)) as worker:
        dashboard.steer_circuit(
            "address", "juso", OverrideMode.FORCED_OPEN, seconds=600, by="chief", reason="their maintenance"
        )

        with pytest.raises(CircuitOpen, match="forced by chief: their maintenance"):
            worker.address.search_address("테헤란로 509")
        [circuit] = [each for each in worker.overview()[0].circuits if each.provider == "juso"]
        assert circuit.override is not None
        assert (circuit.override.mode, circuit.override.by) == ("forced_open", "chief")
        with dashboard.database.reading() as connection:
            [entry] = [each for each in audit.latest(connection, 10) if each.action == "circuit.steer"]
        assert (entry.actor, entry.subject) == ("chief", "address")

        dashboard.steer_circuit("address", "juso", None, seconds=0, by="chief", reason="over")
        assert worker.address.search_address("테헤란로 509").source is Source.LIVE


@pytest.mark.parametrize(("seconds", "reason"), [(0, "why"), (8 * 86_400, "why"), (60, " ")])
def test_a_word_without_an_end_or_a_reason_is_not_taken(
    build_hub: HubBuilder, seconds: float, reason: str
) -> None:
    hub = build_hub()

    with pytest.raises(ValueError, match="needs a reason, and an end within a week"):
        hub.steer_circuit("address", "juso", OverrideMode.SHADOW, seconds=seconds, by="chief", reason=reason)


def test_a_circuit_breaker_that_is_switched_off_cannot_be_steered(build_hub: HubBuilder) -> None:
    hub = build_hub(ADDRESS_CIRCUIT_BREAKER_ENABLED="false")

    with pytest.raises(ValueError, match="switched off"):
        hub.steer_circuit("address", "juso", OverrideMode.SHADOW, seconds=60, by="chief", reason="why")


def test_kept_answers_can_be_forgotten_by_operation_and_that_is_on_record(build_hub: HubBuilder) -> None:
    hub = build_hub()
    for keyword in ("테헤란로 509", "테헤란로 510"):
        hub.address.search_address(keyword)
    hub.address.get_address_details("테헤란로 509")

    assert hub.forget_answers("address", "search_address:*", by="chief") == 2

    assert hub.address.search_address("테헤란로 509").source is Source.MOCK
    assert hub.address.get_address_details("테헤란로 509").source is Source.CACHE
    with hub.database.reading() as connection:
        [entry] = [each for each in audit.latest(connection, 10) if each.action == "cache.forget"]
    assert entry.details == {"pattern": "search_address:*", "forgotten": "2"}


def test_the_same_search_works_in_an_event_loop(
    provider: juso.JusoSimulator, environ: dict[str, str]
) -> None:
    async def search(hub: Hub) -> list[Source]:
        first = await hub.address.asearch_address("테헤란로 509")
        second = await hub.address.asearch_address("테헤란로 509")
        details = await hub.address.aget_address_details("서울특별시 강남구 테헤란로 509")
        assert details.value.postal_code == "06169"
        return [first.source, second.source]

    with Hub.build(load(environ)) as hub:
        assert asyncio.run(search(hub)) == [Source.LIVE, Source.CACHE]
        assert asyncio.run(search(hub)) == [Source.CACHE, Source.CACHE]
        assert len(hub.calls("1h")) == 6
    assert len(provider.requests) == 2
