"""The whole program as a person starts it: `bongsu up` in a process of its own, on a free loopback port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from core.settings import environment_for_child
from tests.ports import free_port
from tests.waiting import until

BONGSU = Path(sys.executable).with_name("bongsu")


@dataclass
class Running:
    """A started `bongsu up`, and every line that it has printed so far."""

    process: subprocess.Popen[str]
    url: str
    lines: list[str] = field(default_factory=list)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    @property
    def setup_url(self) -> str:
        """The one-time address that it printed."""
        found = re.search(r"http://\S+/setup\?token=\S+", self.output)
        assert found, f"no set-up address in:\n{self.output}"
        return found[0]

    def interrupt(self) -> int:
        """Press Ctrl-C, which reaches all that runs in the terminal, and wait for the end. The exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout=30)

    def read(self) -> None:
        """Keep what the program prints, until it ends."""
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))


@contextmanager
def bongsu_up(environ: Mapping[str, str], *arguments: str) -> Iterator[Running]:
    """Start everything and wait until it is ready; stop it at the end, if that has not been done."""
    port = free_port()
    with started([str(BONGSU), "up", "--port", str(port), *arguments], port, environ) as running:
        yield running


@contextmanager
def started(
    command: Sequence[str],
    port: int,
    environ: Mapping[str, str],
    *,
    folder: Path | None = None,
    within: float = 90,
) -> Iterator[Running]:
    """Run a command that starts everything on that port, in a terminal of its own, and wait until it is ready."""
    process = subprocess.Popen(
        command,
        env=environment_for_child(**environ),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    running = Running(process, f"http://127.0.0.1:{port}")
    reader = threading.Thread(target=running.read, daemon=True)
    reader.start()
    try:
        until(
            lambda: "Ready at" in running.output or process.poll() is not None,
            within=within,
            what=f"{command[0]} getting ready",
        )
        assert process.poll() is None, f"it ended at once:\n{running.output}"
        yield running
    finally:
        if process.poll() is None:
            running.interrupt()
        reader.join(timeout=10)
        assert process.stdout is not None
        process.stdout.close()
        print(running.output)  # noqa: T201 -- shown beside a failure.
