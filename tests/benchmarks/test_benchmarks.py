"""The benchmarks: each of them runs, and says something in every row."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_ROWS = {
    "calls": (
        "a miss",
        "a cache hit",
        "refused by an open circuit",
        "two failures, then a success",
        "HttpTransport.send",
    ),
    "state": (
        "bare function call",
        "one UPDATE",
        "PING",
        "admit and settle, well",
        "guarded: admit and settle, well",
    ),
    "storage": ("raw COPY", "raw multi-row INSERT", "CallLog.append", "deque.append", "page, aggregated"),
    "start": (
        "python -c pass",
        "import core",
        "core.connect(), fresh directory",
        "bongsu up until ready, fresh directory",
    ),
}


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("subject", _ROWS)
def test_a_benchmark_prints_and_keeps_its_tables(subject: str, tmp_path: Path) -> None:
    """A few rounds fill every row, in the output and in the file alike, and name no place of this machine."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", subject, "--quick", "--into", str(tmp_path)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    kept = (tmp_path / f"{subject}.md").read_text("utf-8")
    assert kept.strip() == ran.stdout.strip()
    names = {line.split("|")[1].strip() for line in kept.splitlines() if line.startswith("|")}
    assert names >= set(_ROWS[subject])
    assert str(_ROOT) not in kept
    assert str(Path.home()) not in kept


def test_an_unknown_subject_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "everything", "--into", str(tmp_path)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 2
    assert "calls, state, storage, start" in ran.stderr
    assert list(tmp_path.iterdir()) == []
