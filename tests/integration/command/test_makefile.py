"""`make run` on a machine where something is amiss: how it prepares its own Python, and what it says when it cannot."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.parts import ROOT

WORKING = '#!/bin/sh\necho "$@" >> {calls}\n'
HALF_MADE = '#!/bin/sh\necho "No module named pip" >&2\nexit 1\n'
PYTHON = """#!/bin/sh
case "$1" in
  -c) exec {real} "$@" ;;
esac
echo "$@" >> {calls}
for directory; do :; done
rm -rf "$directory" && mkdir -p "$directory/bin" && cp {working} "$directory/bin/python"
"""


class Machine:
    """A folder with our Makefile, and a Python that notes what it is asked for and installs nothing."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls = directory / "calls"
        shutil.copy(ROOT / "Makefile", directory)
        (directory / "requirements").mkdir()
        for name in ("pyproject.toml", "requirements/run.lock"):
            (directory / name).touch()
        self.working = self.program("working", WORKING.format(calls=self.calls))
        self.python = self.program(
            "python", PYTHON.format(real=sys.executable, calls=self.calls, working=self.working)
        )

    def program(self, name: str, text: str) -> Path:
        """A shell script that can be run."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def prepare(self, python: Path | str | None = None) -> subprocess.CompletedProcess[str]:
        """Do what `make run` does before it starts anything."""
        return subprocess.run(
            ["make", ".venv/run.stamp", f"PYTHON={python or self.python}"],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def asked(self) -> list[str]:
        """What was asked of any Python so far."""
        return self.calls.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine on which nothing is installed yet."""
    return Machine(tmp_path)


def test_a_first_run_makes_an_environment_and_installs_into_it(machine: Machine) -> None:
    done = machine.prepare()

    assert done.returncode == 0, done.stderr
    assert machine.asked[0] == "-m venv --clear .venv"
    assert ["-r requirements/run.lock" in call for call in machine.asked[1:]] == [True, False]
    assert (machine.directory / ".venv" / "run.stamp").exists()


def test_an_environment_that_was_cut_short_is_made_anew(machine: Machine) -> None:
    """Ctrl-C during the first installation must not break every run that follows."""
    machine.program(".venv/bin/python", HALF_MADE)

    done = machine.prepare()

    assert done.returncode == 0, done.stderr
    assert machine.asked[0] == "-m venv --clear .venv"


def test_an_environment_that_works_is_kept(machine: Machine) -> None:
    machine.program(".venv/bin/python", machine.working.read_text())

    done = machine.prepare()

    assert done.returncode == 0, done.stderr
    assert machine.asked[0] == "-m pip --version"
    assert not any("venv" in call for call in machine.asked)


def test_a_python_that_does_not_run_is_not_called_old(machine: Machine) -> None:
    done = machine.prepare("no-such-python")

    assert done.returncode != 0
    assert "no-such-python does not run here. Name another: make PYTHON=" in done.stdout
    assert "older" not in done.stdout


def test_a_python_that_is_too_old_is_told_so(machine: Machine) -> None:
    old = machine.program("old", '#!/bin/sh\ncase "$2" in *version_info*) exit 1 ;; esac\n')

    done = machine.prepare(old)

    assert done.returncode != 0
    assert f"Bongsu needs Python 3.11 or newer, and {old} is older." in done.stdout


def test_a_python_without_venv_names_what_is_missing(machine: Machine) -> None:
    bare = machine.program(
        "bare", '#!/bin/sh\nif [ "$1" = -m ]; then echo "No module named venv" >&2; exit 1; fi\n'
    )

    done = machine.prepare(bare)

    assert done.returncode != 0
    assert "install its venv module" in done.stdout
    assert "No module named venv" in done.stderr
