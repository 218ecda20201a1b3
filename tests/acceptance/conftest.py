"""What a story needs: a browser, and a database that nobody has touched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests import chromium, servers


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all stories of this worker."""
    with chromium.launched() as launched:
        yield launched


@pytest.fixture
def fresh_postgres_url(postgres_address: str) -> Iterator[str]:
    """The address of a PostgreSQL database that is still empty."""
    with servers.postgres_database(postgres_address) as url:
        yield url
