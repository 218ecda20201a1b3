"""What a story needs: a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the stories of a file: while it lives, no other event loop can run in this thread."""
    with chromium.launched() as launched:
        yield launched
