"""The benchmarks: each of them runs, and says something in every row."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.waiting import until

_ROOT = Path(__file__).parents[2]
_ROWS = {
    "calls": (
        "a miss",
        "a cache hit",
        "refused by an open circuit",
        "two failures, then a success",
        "HttpTransport.send",
    ),
    "call-path": (
        "a miss: × as fast as composed",
        "a miss",
        "two failures, then an answer",
        "refused by an open circuit",
        "here: a miss",
        "composed: a miss",
        "httpx.Client.get",
        "here: Client.acall",
        "cachetools (condition) + …",
        "tenacity + limits",
        "limits",
        "pybreaker, Redis(host=…)",
    ),
    "state": (
        "bare function call",
        "one UPDATE",
        "PING",
        "open and settle, well",
        "guarded: open and settle, well",
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
    assert "calls, call-path, state, storage, start" in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_an_interruption_ends_a_benchmark_and_its_servers(tmp_path: Path) -> None:
    """Ctrl-C while a Redis hangs and threads wait for it: no traceback, no half-written page, and no Redis left."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "call-path", "--quick", "--into", str(tmp_path)],
        cwd=_ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        assert any("Redis hung" in line for line in running.stderr)
        process = psutil.Process(running.pid)
        until(lambda: any(_hangs(child) for child in process.children()), what="a Redis that hangs")
        servers = process.children()
        running.send_signal(signal.SIGINT)
        said = running.stderr.read()

    assert running.returncode == 130
    assert said.strip() == "Interrupted."
    assert list(tmp_path.iterdir()) == []
    assert not any(server.is_running() for server in servers)


def _hangs(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_STOPPED)
