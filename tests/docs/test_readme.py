"""What the README promises first: one command on a fresh clone, and one line from a program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.settings import environment_for_child
from docs.parts import ROOT
from tests.docs.markdown import blocks
from tests.ports import free_port
from tests.running import BONGSU, bongsu_up, started

_ADDRESS = "http://127.0.0.1:8501"


@pytest.mark.long
def test_the_lines_for_a_program_get_an_answer_from_a_running_one(tmp_path: Path) -> None:
    """As they stand there, but for where the program is: token and all, in a shell."""
    [lines] = [
        block.text
        for block in blocks(ROOT / "README.md")
        if block.language == "console" and "curl" in block.text
    ]
    script = lines.replace("$ ", "").replace(".venv/bin/bongsu", str(BONGSU))
    assert _ADDRESS in script
    data = {"BONGSU_DATA_DIR": str(tmp_path / "data")}

    with bongsu_up(data, "--no-demo") as running:
        done = subprocess.run(
            ["sh", "-euc", script.replace(_ADDRESS, running.url)],
            env=environment_for_child(**data),
            capture_output=True,
            text=True,
            check=True,
        )

    assert [one["name"] for one in json.loads(done.stdout)["integrations"]] == ["address"]


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_fresh_clone_runs_by_one_command(tmp_path: Path) -> None:
    """Cloned, installed into an environment of its own from the package registry, ready within three minutes."""
    clone = tmp_path / "bongsu"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    port = free_port()
    command = ["make", "run", f"PYTHON={sys.executable}", f"ARGS=--port {port} --data ./data --no-demo"]

    with started(command, port, {}, folder=clone, within=180) as running:
        assert (clone / ".venv" / "bin" / "bongsu").exists()
        assert (clone / "data" / "bongsu.db").exists()
        assert f"Ready at {running.url}. Stop with Ctrl-C.\n" in running.lines

        running.interrupt()

    assert "Stopped.\n" in running.lines
    assert "Traceback" not in running.output
