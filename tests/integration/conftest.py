"""A whole hub on an embedded database, or on real servers, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.config.environment import load
from core.hub import Hub
from tests.fakes import FakeChance, FakeClock

HubBuilder = Callable[..., Hub]


@pytest.fixture
def build_hub(tmp_path: Path, clock: FakeClock) -> Iterator[HubBuilder]:
    """Builds hubs on one data directory; the settings are keywords without their prefix."""
    built: list[Hub] = []

    def build(**variables: str) -> Hub:
        environ = {f"BONGSU_{name.upper()}": value for name, value in variables.items()}
        hub = Hub.build(
            load({"BONGSU_DATA_DIR": str(tmp_path / "data"), "BONGSU_DEMO": "false", **environ}),
            clock,
            FakeChance([0.5]),
        )
        built.append(hub)
        return hub

    yield build
    for hub in built:
        hub.close()


@pytest.fixture
def hub(build_hub: HubBuilder) -> Hub:
    """A hub in mock mode."""
    return build_hub()
