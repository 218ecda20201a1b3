"""What keeps programs together: none outlives its supervisor, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from core.command import lifeline
from core.command.supervisor import Program, Supervisor
from core.command.up import run
from core.settings import Settings, environment_for_child, with_lifeline
from tests.ports import free_port
from tests.waiting import until

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
HOLDER = """
import sys, threading
from core.command import lifeline
ended = threading.Event()
lifeline.hold(ended.set if sys.argv[1] == "orderly" else lambda: None, patience_s=0.2)
print("holding", flush=True)
ended.wait(30)
print("ended in order", flush=True)
"""


@pytest.fixture
def restored_signals() -> object:
    """The handlers of this process, put back after a supervisor took them."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def children() -> set[psutil.Process]:
    """The processes that this one has started."""
    return {process for process in psutil.Process().children(recursive=True) if process.is_running()}


@pytest.mark.usefixtures("restored_signals")
def test_a_program_that_cannot_be_started_orphans_no_other(tmp_path: Path) -> None:
    before = children()
    missing = Program("second", [str(tmp_path / "missing")])
    supervisor = Supervisor([Program("first", SLEEPER), missing], environment_for_child())

    with pytest.raises(FileNotFoundError):
        supervisor.start()
    assert len(children() - before) == 1
    supervisor.stop()

    assert children() - before == set()


@pytest.mark.usefixtures("restored_signals")
def test_a_start_that_fails_half_way_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = children()
    monkeypatch.setattr("core.command.up._web", lambda _: Program("web", SLEEPER))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))

    code = run(Settings(data_dir=tmp_path), environment_for_child(), None)

    assert code == 1
    assert "A process cannot be started: [Errno 2] No such file" in capsys.readouterr().err
    assert children() - before == set()


@pytest.mark.usefixtures("restored_signals")
def test_a_start_that_takes_too_long_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data_dir=tmp_path, port=free_port())
    short = [sys.executable, "-c", "import time; time.sleep(3)"]
    monkeypatch.setattr("core.command.up._web", lambda _: Program("web", short))

    run(settings, environment_for_child(BONGSU_DATA_DIR=str(tmp_path)), "the set-up address", 1.0)

    printed = capsys.readouterr()
    assert printed.err.startswith(
        f"Not ready after 1 seconds: {settings.address}/healthz does not answer yet. "
        "The lines above may say why. Stop with Ctrl-C.\n"
    )
    assert "the set-up address" not in printed.out


@pytest.mark.parametrize(("manner", "code"), [("orderly", 0), ("stubborn", 1)])
def test_a_program_ends_when_its_lifeline_goes_dead(manner: str, code: int) -> None:
    """In order if it can, by force if it does not."""
    theirs, ours = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, manner],
        env=with_lifeline(environment_for_child(), theirs),
        pass_fds=(theirs,),
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        os.close(theirs)
        assert program.stdout is not None
        assert program.stdout.readline() == "holding\n"
        assert program.poll() is None

        os.close(ours)

        until(lambda: program.poll() is not None, what="the end of the program")
        assert program.returncode == code
        assert (program.stdout.read() == "ended in order\n") is (manner == "orderly")


@pytest.mark.parametrize("value", ["", "x", "-1", "99999999999", "9999"])
def test_without_a_lifeline_a_program_runs_on(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts a program by hand, or hands a wrong number on, gives it no end."""
    monkeypatch.setenv("_BONGSU_LIFELINE", value)
    ended: list[str] = []

    lifeline.hold(lambda: ended.append("ended"))

    assert ended == []
