"""What a story needs: a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests import chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all stories of this worker."""
    with chromium.launched() as launched:
        yield launched
