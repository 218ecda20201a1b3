"""Starts the processes that make up Bongsu, keeps them together, and stops them all when one stops."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.settings import with_lifeline

_POLL_S: Final = 0.2
_PATIENCE_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Program:
    """One process to run: its name for people, and the command that starts it."""

    name: str
    command: Sequence[str]


class Supervisor:
    """Runs programs side by side until it is told to stop, or one of them ends.

    Each runs in a session of its own, so that Ctrl-C in the terminal reaches the supervisor alone, which then
    stops them in an orderly way. Each holds a lifeline (`core.command.lifeline`), by which it ends even when the
    supervisor is killed.
    """

    def __init__(self, programs: Sequence[Program], environment: Mapping[str, str]) -> None:
        self._programs = programs
        self._environment = environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = threading.Event()
        self._lifeline: int | None = None

    def start(self) -> None:
        """Start every program, and from now on take SIGINT, SIGTERM and SIGHUP as the wish to stop.

        Raises `OSError` when one cannot be started; those before it run then, until `stop`.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self._stopping.set())
        theirs, self._lifeline = os.pipe()
        try:
            for program in self._programs:
                self._running[program.name] = subprocess.Popen(  # noqa: S603 -- our own programs.
                    program.command,
                    env=with_lifeline(self._environment, theirs),
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    pass_fds=(theirs,),
                )
        finally:
            os.close(theirs)

    def pause(self, seconds: float) -> bool:
        """Let `seconds` pass. False when the end has come meanwhile: a wish to stop, or a program that ended."""
        return not self._stopping.wait(seconds) and self._ended() is None

    def wait(self) -> tuple[str, int] | None:
        """Wait for the end. The program that ended by itself, with its exit code; None for a wish to stop."""
        while not self._stopping.wait(_POLL_S):
            if ended := self._ended():
                return ended
        return None

    def stop(self) -> None:
        """Ask every program to stop, and insist after a while."""
        for process in self._running.values():
            if process.poll() is None:
                process.terminate()
        for process in self._running.values():
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def _ended(self) -> tuple[str, int] | None:
        for name, process in self._running.items():
            if (code := process.poll()) is not None:
                return name, code
        return None
