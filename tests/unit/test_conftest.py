"""Two rules for every test: its name is a sentence, and the property that it proves is counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from core.settings import environment_for_child

_REPOSITORY = Path(__file__).parents[2]
_HEAD = "import pytest\n"


def _run(tmp_path: Path, tests: str, *options: str) -> tuple[int, str]:
    """Run `tests` as a test module of its own under the rules of this suite."""
    module = tmp_path / "test_sample.py"
    module.write_text(_HEAD + tests)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = property(number): one of the 53\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-q", *options, str(module)]
    ended = subprocess.run(
        command, cwd=_REPOSITORY, env=environment_for_child(), capture_output=True, text=True, check=False
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_a_test_without_a_sentence_is_refused(tmp_path: Path) -> None:
    code, output = _run(tmp_path, "def test_it_works(): pass\n")

    assert code != 0
    assert "test_sample.py::test_it_works" in output


def test_a_docstring_or_four_words_are_a_sentence(tmp_path: Path) -> None:
    code, output = _run(
        tmp_path, 'def test_one_two_three_four(): pass\ndef test_it(): "It says what it shows."\n'
    )

    assert (code, "2 passed" in output) == (0, True)


def test_properties_are_counted_as_held_failed_or_not_run(tmp_path: Path) -> None:
    tests = """
@pytest.mark.property(1)
@pytest.mark.property(2)
@pytest.mark.property(4)
def test_some_properties_hold_here(): pass

@pytest.mark.property(2)
def test_one_of_them_fails_here(): assert False
"""
    for options in ((), ("-n", "2")):
        _, output = _run(tmp_path, tests, *options)

        assert "2 of 53 hold: 1, 4\n" in output
        assert "fail: 2\n" in output
        assert "did not run: 3, 5-53\n" in output


def test_without_a_property_nothing_is_said_of_them(tmp_path: Path) -> None:
    _, output = _run(tmp_path, "def test_one_two_three_four(): pass\n")

    assert "of 53" not in output
