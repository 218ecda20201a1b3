"""The handle on each store in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.conformance.stores import NAMES, Handle, open_store


@pytest.fixture
def empty_redis_url(redis_url: str) -> str:
    """This worker's own Redis database number, emptied."""
    with redis.Redis.from_url(redis_url) as server:
        server.flushdb()
    return redis_url


@pytest.fixture(params=NAMES)
def handle(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Handle]:
    """An empty store of each kind."""
    opened = open_store(request.param, tmp_path, lambda: str(request.getfixturevalue("empty_redis_url")))
    yield opened
    opened.close()


@pytest.fixture(params=NAMES)
def looped(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Handle]:
    """An empty store of each kind, asked from an event loop."""
    url = lambda: str(request.getfixturevalue("empty_redis_url"))  # noqa: E731 -- shorter than a function.
    opened = open_store(request.param, tmp_path, url, asyncio.Runner())
    yield opened
    opened.close()
