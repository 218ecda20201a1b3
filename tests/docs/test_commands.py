"""Every command line of the documents exists, and those of `bongsu` really run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from core.config.environment import variables
from core.hub import connect
from core.settings import environment, environment_for_child
from core.web.api import create_api
from docs.parts import ROOT
from tests.docs.markdown import Block, blocks, name_of, pages_with

_BONGSU: Final = Path(sys.executable).with_name("bongsu")
_PASSWORD: Final = "a long enough password"
_CAPTURED: Final = re.compile(r"^\w+=\$\((?P<command>.+)\)$")
_OPTION: Final = re.compile(r"--[a-z][a-z-]*")


@dataclass
class Terminal:
    """Carries out the command lines of one page, in order, with the variables that they export."""

    data: Path
    find_server: Callable[[str], str]
    """The address of a real server, by the name of the fixture."""
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, line: str) -> str | None:
        """Carry out a line; what it printed, or None when it is only looked at. Fails for an unknown command."""
        captured = _CAPTURED.match(line)
        words = shlex.split(captured["command"] if captured else line)
        match words:
            case ["export", assignment]:
                self.export(*assignment.split("=", 1))
            case [".venv/bin/bongsu", "up", *options]:
                assert set(_OPTION.findall(" ".join(options))) <= set(_OPTION.findall(help_of("up")))
            case [".venv/bin/bongsu", *arguments]:
                return self.bongsu(arguments)
            case ["make", *arguments]:
                check_make(arguments)
            case [".venv/bin/pytest", *arguments]:
                check_pytest(arguments)
            case ["curl", *arguments]:
                check_curl(arguments)
            case ["git", "clone", _] | ["cd", _] | [".venv/bin/jupyter", "lab"]:
                pass
            case _:
                pytest.fail(f"nobody checks the command {line!r}")
        return None

    def export(self, name: str, value: str) -> None:
        """Note a variable; the address of a server is replaced by that of a real one, and no key is used."""
        assert name in variables(), f"{name} is no setting"
        if name == "BONGSU_DATABASE_URL":
            value = self.find_server("postgres_url")
        elif name == "BONGSU_REDIS_URL":
            value = self.find_server("redis_url")
        if not name.endswith("_API_KEY"):
            self.variables[name] = value

    def bongsu(self, arguments: list[str]) -> str:
        """Run the command in the page's own data directory; it must succeed."""
        done = subprocess.run(
            [str(_BONGSU), *arguments],
            input=f"{_PASSWORD}\n{_PASSWORD}\n",
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
            cwd=self.data,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def environment(self) -> Mapping[str, str]:
        """The variables that a command sees: nothing of our own but the data directory."""
        ours = environment()
        rest = {name: value for name, value in environment_for_child().items() if name not in ours}
        return {**rest, "BONGSU_DATA_DIR": str(self.data), "BONGSU_DEMO": "false", **self.variables}


@pytest.fixture
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Terminal:
    """A terminal in a folder that nothing else uses."""
    return Terminal(tmp_path, request.getfixturevalue)


@pytest.mark.parametrize("page", pages_with("console"), ids=name_of)
def test_the_commands_of_a_page_run_and_print_what_the_page_says(page: Path, terminal: Terminal) -> None:
    for block in blocks(page):
        if block.language == "console":
            for line, shown in lines_of(block):
                printed = terminal.run(line)
                if shown and printed is not None:
                    assert re.fullmatch(pattern_of(shown), printed), f"{block.place}: {line}\n{printed}"


def lines_of(block: Block) -> Iterator[tuple[str, str]]:
    """Each command line of a block, with the output that the page shows for it."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        yield line, shown


def pattern_of(shown: str) -> str:
    """What a page shows, where … stands for anything."""
    return ".*".join(re.escape(piece) for piece in shown.split("…"))


def help_of(command: str) -> str:
    """What `bongsu COMMAND --help` prints."""
    return subprocess.run([_BONGSU, command, "--help"], capture_output=True, text=True, check=True).stdout


def check_make(arguments: list[str]) -> None:
    """Let make find the targets, without making anything, and `bongsu up` know the options."""
    done = subprocess.run(
        ["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for argument in arguments:
        if argument.startswith("ARGS="):
            assert set(_OPTION.findall(argument)) <= set(_OPTION.findall(help_of("up")))


def check_pytest(arguments: list[str]) -> None:
    """Paths exist and marks are known."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    marks = {
        mark.split(":")[0].split("(")[0] for mark in declared["tool"]["pytest"]["ini_options"]["markers"]
    }
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if before == "-m":
            assert set(re.findall(r"[a-z]+", argument)) - {"not", "and", "or"} <= marks
        elif before != "-n" and not argument.startswith("-"):
            assert (ROOT / argument).exists(), argument


def check_curl(arguments: list[str]) -> None:
    """The address is one that we answer."""
    addresses = [argument for argument in arguments if argument.startswith("http")]
    assert len(addresses) == 1
    assert urlsplit(addresses[0]).path in {"/healthz", "/api/openapi.json", *api_paths()}


def api_paths() -> set[str]:
    """Every path of the API."""
    with tempfile.TemporaryDirectory() as directory, connect(data_dir=directory, environ={}) as hub:
        return {f"/api{path}" for path in create_api(hub).openapi()["paths"]}


def test_a_command_that_nobody_knows_fails(terminal: Terminal) -> None:
    """Otherwise a page could show anything."""
    with pytest.raises(pytest.fail.Exception, match="nobody checks"):
        terminal.run("bongsu frobnicate")


def test_an_option_that_does_not_exist_fails(terminal: Terminal) -> None:
    with pytest.raises(AssertionError):
        terminal.run('make run ARGS="--prot 9000"')
