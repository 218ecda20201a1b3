"""The browser of the tests: the machine's own Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, Page, expect, sync_playwright

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS: Final = (
    "--no-sandbox",  # the tests may run as root, in a container, on pages of our own
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

_PATIENCE_MS: Final = 30_000


def executable() -> str:
    """Where the browser is. Fails, and never skips, when the machine has none."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    assert found, (
        "No Chromium on this machine. `make browser` installs it (on Debian: apt-get install chromium)."
    )
    return found


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        # A busy machine takes longer than Playwright's five seconds to fetch and draw a chart.
        expect.set_options(timeout=_PATIENCE_MS)
        browser = playwright.chromium.launch(executable_path=executable(), args=list(_OPTIONS))
        yield browser
        browser.close()


def settled(page: Page) -> None:
    """Wait until Streamlit has drawn everything and waits for the person."""
    app = page.locator(
        "[data-testid='stApp'][data-test-connection-state='CONNECTED'][data-test-script-state='notRunning']"
    )
    expect(app).to_be_attached()
    expect(page.locator("[data-testid='stApp'] [data-stale='true']")).to_have_count(0)
