"""What is said while a real Redis does not answer, and that it is said no longer once it answers again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from core.command.commands import bongsu
from core.config.environment import load
from core.hub import Hub, connect
from core.model.role import Role
from core.web.api import create_api
from tests import servers
from tests.api.conftest import client, run_async
from tests.running import bongsu_up
from tests.waiting import until

MEANING = "Until it is back, limits and circuit breakers hold in each process by itself."


@pytest.fixture
def redis() -> Iterator[servers.Server]:
    """A Redis that belongs to one test."""
    server = servers.start_redis()
    yield server
    server.stop()


@pytest.fixture
def environ(redis: servers.Server, tmp_path: Path) -> dict[str, str]:
    """The settings of an installation whose shared state is in that Redis."""
    return {"BONGSU_DATA_DIR": str(tmp_path / "data"), "BONGSU_REDIS_URL": redis.url, "BONGSU_DEMO": "false"}


@pytest.fixture
def hub(environ: dict[str, str]) -> Iterator[Hub]:
    """A hub on those settings."""
    with Hub.build(load(environ)) as hub:
        yield hub


def shared_state(hub: Hub) -> dict[str, object]:
    """What the health endpoint says of it."""
    token = hub.access.create_api_token("watcher", Role.VIEWER, by="test").secret

    async def asking() -> httpx.Response:
        async with client(create_api(hub)) as program:
            return await program.get("/v1/health", headers={"Authorization": f"Bearer {token}"})

    told: dict[str, object] = run_async(asking()).json()["shared_state"]
    return told


def test_health_tells_since_when_the_shared_state_is_away_until_it_is_back(
    hub: Hub, redis: servers.Server
) -> None:
    assert shared_state(hub) == {"is_degraded": False, "since": None}

    redis.send(signal.SIGSTOP)
    until(lambda: shared_state(hub)["is_degraded"] is True, what="finding out")
    since = hub.state_degraded_since
    assert since is not None
    assert shared_state(hub)["since"] == since.isoformat().replace("+00:00", "Z")

    redis.send(signal.SIGCONT)
    until(lambda: shared_state(hub) == {"is_degraded": False, "since": None}, what="the way back")


def test_a_check_says_in_one_line_that_the_shared_state_is_away(
    environ: dict[str, str], redis: servers.Server
) -> None:
    def lines() -> list[str]:
        return CliRunner().invoke(bongsu, ["check"], env=environ).output.splitlines()

    assert not any("shared state" in line for line in lines())
    redis.send(signal.SIGSTOP)
    assert [line.endswith(MEANING) for line in lines() if "shared state" in line] == [True]
    redis.send(signal.SIGCONT)
    assert not any("shared state" in line for line in lines())


def test_a_start_without_its_shared_state_says_so_and_starts(
    environ: dict[str, str], redis: servers.Server
) -> None:
    redis.stop()

    with bongsu_up(environ) as running:
        said = [line for line in running.lines if "shared state cannot be reached" in line]
        assert [line.rstrip().endswith(MEANING) for line in said] == [True]
        assert running.lines.index(said[0]) < running.lines.index("Starting …\n")
        with connect(data_dir=environ["BONGSU_DATA_DIR"], environ={}) as hub:
            token = hub.access.create_api_token("watcher", Role.VIEWER, by="test").secret
        signed = {"Authorization": f"Bearer {token}"}
        told = httpx.get(f"{running.url}/api/v1/health", headers=signed).json()
        assert told["shared_state"]["is_degraded"] is True
