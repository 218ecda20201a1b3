"""The picture of the Health page can be taken anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.screenshot import take


@pytest.mark.long
def test_the_picture_is_taken_of_the_running_program(tmp_path: Path) -> None:
    """`bongsu up` on demo traffic, signed in with a real browser, figures on the card."""
    take(tmp_path / "health.png")

    header = (tmp_path / "health.png").read_bytes()[:24]
    assert [int.from_bytes(header[at : at + 4]) for at in (16, 20)] == [1440, 900]
