"""`bongsu user`: where a password comes from when it is not on the command line."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from core.command import commands
from core.hub import connect

PASSWORD = "correct horse battery staple"
PROGRAM = "from core.command.commands import bongsu; bongsu()"
WAIT_SECONDS = 60


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory that no other test and no person uses."""
    for name in ("BONGSU_DATABASE_URL", "BONGSU_REDIS_URL", "BONGSU_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "data"


def user(*arguments: str, data: Path, given: bytes = b"") -> Result:
    """Run `bongsu user` in this process, with `given` on a standard input that is no terminal."""
    return CliRunner().invoke(commands.bongsu, ["user", *arguments, "--data", str(data)], input=given)


def may_sign_in(data: Path, password: str) -> bool:
    """Whether ops may sign in with it."""
    with connect(data_dir=data, environ={}) as hub:
        return bool(hub.access.session(hub.access.sign_in("ops", password, "127.0.0.1")))


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\nanother line\n"])
def test_without_a_terminal_the_first_line_of_standard_input_is_the_password(data: Path, end: str) -> None:
    result = user("add", "ops", "--role", "viewer", data=data, given=(PASSWORD + end).encode())

    assert (result.stdout, result.stderr) == ("ops may sign in as viewer.\n", "")
    assert may_sign_in(data, PASSWORD)


def test_a_new_password_may_come_from_standard_input_and_keeps_its_spaces(data: Path) -> None:
    user("add", "ops", "--role", "viewer", data=data, given=PASSWORD.encode())

    result = user("password", "ops", data=data, given=" 비밀번호는 길어야 안전하다 \n".encode())

    assert (result.stdout, result.stderr) == ("ops has a new password.\n", "")
    assert may_sign_in(data, " 비밀번호는 길어야 안전하다 ")


def test_a_password_on_the_command_line_leaves_standard_input_alone(data: Path) -> None:
    user("add", "ops", "--role", "viewer", "--password", PASSWORD, data=data, given=b"some other password")

    assert may_sign_in(data, PASSWORD)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (b"", "Error: No password: standard input is empty. Give --password, or a line to read."),
        (b"\xff\xfe not text at all\n", "Error: No password: the line on standard input is not UTF-8 text."),
    ],
)
def test_standard_input_without_a_password_is_one_clear_sentence(
    data: Path, given: bytes, sentence: str
) -> None:
    result = user("add", "ops", "--role", "viewer", data=data, given=given)

    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == sentence
    assert not data.exists()


def test_an_empty_line_is_refused_as_too_short_a_password(data: Path) -> None:
    result = user("add", "ops", "--role", "viewer", data=data, given=b"\n")

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


def test_a_pipe_gives_the_password_without_questions_and_warnings(data: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "user", "add", "ops", "--role", "viewer", "--data", data],
        input=f"{PASSWORD}\n".encode(),
        capture_output=True,
        timeout=WAIT_SECONDS,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"ops may sign in as viewer.\n", b"")
    assert may_sign_in(data, PASSWORD)


def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(data: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "user", "add", "ops", "--role", "viewer", "--data", data],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    ) as program:
        os.close(theirs)
        seen = _answer(ours, b"Password: ") + _answer(ours, b"Repeat for confirmation: ")
        said, _ = program.communicate(timeout=WAIT_SECONDS)
    os.close(ours)

    assert said == b"ops may sign in as viewer.\n"
    assert PASSWORD.encode() not in seen
    assert may_sign_in(data, PASSWORD)


def _answer(terminal: int, question: bytes) -> bytes:
    """Type the password once `question` is on the terminal. What was seen until then."""
    seen = b""
    while not seen.endswith(question):
        seen += os.read(terminal, 1024)
    os.write(terminal, f"{PASSWORD}\n".encode())
    return seen
