"""What happens when the web process cannot start, and when a page cannot be drawn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

import dashboard
from core.settings import environment_for_child
from dashboard.words import WORDS
from tests.browser.conftest import NewVisitor, serving

APP = Path(dashboard.__file__).with_name("app.py")


def test_malformed_settings_end_the_start_with_all_faults_and_no_traceback(tmp_path: Path) -> None:
    changes = {"BONGSU_PORT": "x", "BONGSU_DEMO": "perhaps", "BONGSU_DATA_DIR": str(tmp_path)}

    ended = subprocess.run(
        [sys.executable, "-m", "streamlit", "run", str(APP), "--server.port", "0"],
        cwd=tmp_path,
        env=environment_for_child(**changes),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 2
    assert "BONGSU_PORT" in ended.stderr
    assert "BONGSU_DEMO" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.fault("DA-06")
def test_a_page_that_fails_says_so_without_details(new_visitor: NewVisitor, tmp_path: Path) -> None:
    """Whoever looks learns nothing of the inside; the log has all of it."""
    with serving(tmp_path, "broken") as (url, log):
        visitor = new_visitor(at=url)
        page = visitor.open_tab()
        visitor.sign_in(page, "viewer")

        expect(page.get_by_text(WORDS["ko"]["error.unexpected_body"]).first).to_be_visible()
        content = page.content()
        for secret in ("SECRET", "RuntimeError", "Traceback", ".py"):
            assert secret not in content

    assert "SECRET of the inside" in log.read_text()
