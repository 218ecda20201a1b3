"""`python -m benchmarks.mutants [part ...]`: change our code by a hair, here and there, and see whether a test notices.

A mutant is our code with one small change: a `<` for a `<=`, a 1 for a 0. The tests that use the changed function
should fail then. What no test notices is listed in results/mutants.md, with the reason why it may stay or without one.
Parts, tests and reasons are in `benchmarks/mutants.toml`. The page is about every part that was tried since the last
`make clean`. Fails when less than `LEAST` of a hundred are noticed, or when a reason is there for nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.report import RESULTS, Report, Table
from core.clock import SystemClock

LEAST: Final = 96.0
_ROOT: Final = Path(__file__).parents[1]
_WORK: Final = _ROOT / "build" / "mutants"
_NEEDED: Final = ("core", "migrations", "tests")
_UNNOTICED: Final = frozenset({0})
_UNTESTED: Final = frozenset({5, 33})
_KEY: Final = re.compile(r"(?P<module>[\w.]+)\.x(?:_|ǁ(?P<owner>\w+)ǁ)(?P<function>\w+)__mutmut_\d+")
_MUTMUT: Final = (sys.executable, "-m", "mutmut")
_NO_REASON: Final = "**none yet**"


class Change(NamedTuple):
    """What a mutant says instead of what: the lines that differ, each with single spaces."""

    was: str
    becomes: str


class Mutant(NamedTuple):
    """One changed function: where it is, and how the tests ended that use it."""

    key: str
    exit_code: int

    @property
    def file(self) -> str:
        return f"{self._match['module'].replace('.', '/')}.py"

    @property
    def function(self) -> str:
        owner, function = self._match["owner"], self._match["function"]
        return f"{owner}.{function}" if owner else function

    @property
    def is_noticed(self) -> bool:
        """Whether a test failed, or did not end."""
        return self.exit_code not in _UNNOTICED | _UNTESTED

    @property
    def _match(self) -> re.Match[str]:
        match = _KEY.fullmatch(self.key)
        if match is None:
            raise ValueError(f"{self.key} is no name of a mutant.")
        return match


class Findings(NamedTuple):
    """The page; how many of a hundred were noticed; and the reasons that excuse nothing any more."""

    report: Report
    percent: float
    idle: tuple[Change, ...]


def mutants_in(folder: Path) -> list[Mutant]:
    """What mutmut has left in these working folders, but for the mutants that it did not get to."""
    found = []
    for file in sorted(folder.rglob("mutants/**/*.py.meta")):
        codes: Mapping[str, int | None] = json.loads(file.read_text("utf-8"))["exit_code_by_key"]
        found += [Mutant(key, code) for key, code in codes.items() if code is not None]
    return found


def change_in(diff: str) -> Change:
    """The change that a diff shows."""
    lines = diff.splitlines()
    return Change(*(" ".join(" ".join(_lines(lines, mark)).split()) for mark in "-+"))


def reasons_in(text: str) -> dict[Change, str]:
    """The reasons of `mutants.toml`."""
    return {
        Change(entry["was"], entry["becomes"]): entry["reason"]
        for entry in tomllib.loads(text).get("unnoticed", [])
    }


def findings(
    mutants: Sequence[Mutant], reasons: Mapping[Change, str], change_of: Callable[[Mutant], Change]
) -> Findings:
    """The page about these mutants; `change_of` is asked for those alone that no test noticed."""
    unnoticed = [(mutant, change_of(mutant)) for mutant in mutants if not mutant.is_noticed]
    percent = 100 * (1 - len(unnoticed) / len(mutants))
    excused = {change for _, change in unnoticed}
    report = Report(
        "mutants",
        "What the tests would notice",
        "If a rule were changed by a hair, would a test fail?",
        (
            Table("Changes, and how many of them a test noticed:", _HEAD, tuple(_by_file(mutants))),
            Table(
                "Those that no test noticed:",
                ("function", "was", "becomes", "why it may stay"),
                tuple(
                    (
                        f"`{mutant.function}`",
                        _code(was),
                        _code(becomes),
                        _reason(reasons, was, becomes, mutant),
                    )
                    for mutant, (was, becomes) in unnoticed
                ),
            ),
        ),
        "`make mutants`: mutmut changes each function in each way it knows, and runs the tests that use it.",
        (
            f"At least {LEAST:.0f} % have to be noticed. A test that never ends notices, too.",
            "A change that makes no difference to anyone cannot be noticed; it counts as unnoticed all the same.",
        ),
    )
    return Findings(report, percent, tuple(change for change in reasons if change not in excused))


_HEAD: Final = ("file", "changes", "noticed", "unnoticed", "of a hundred")


def _by_file(mutants: Sequence[Mutant]) -> Iterable[tuple[str, ...]]:
    for file in dict.fromkeys(mutant.file for mutant in mutants):
        yield _row(f"`{file}`", [mutant for mutant in mutants if mutant.file == file])
    yield _row("all", mutants)


def _row(name: str, mutants: Sequence[Mutant]) -> tuple[str, ...]:
    noticed = sum(mutant.is_noticed for mutant in mutants)
    return (
        name,
        str(len(mutants)),
        str(noticed),
        str(len(mutants) - noticed),
        f"{100 * noticed / len(mutants):.1f} %",
    )


def _reason(reasons: Mapping[Change, str], was: str, becomes: str, mutant: Mutant) -> str:
    if mutant.exit_code in _UNTESTED:
        return "no test uses it"
    return reasons.get(Change(was, becomes), _NO_REASON)


def _code(text: str) -> str:
    return f"`{text.replace('|', '¦')}`"


def _lines(lines: Sequence[str], mark: str) -> Iterable[str]:
    return (line[1:] for line in lines if line.startswith(mark) and not line.startswith(mark * 3))


def settings_of(part: Mapping[str, Sequence[str] | str]) -> str:
    """The section of pyproject.toml that tells mutmut about a part. JSON's strings and lists are TOML's, too."""
    settings = {
        "source_paths": ["core"],
        "only_mutate": part["changed"],
        "also_copy": [folder for folder in _NEEDED if folder != "core"],
        "process_isolation": part["isolation"],
        "pytest_add_cli_args": ["-q", "-p", "no:cacheprovider", "-m", "not long"],
        "pytest_add_cli_args_test_selection": part["tests"],
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    return "\n".join(["", "[tool.mutmut]", "use_git_change_detection = false", *lines, ""])


def _try(name: str, part: Mapping[str, Sequence[str] | str]) -> None:
    folder = _WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    for needed in _NEEDED:
        shutil.copytree(_ROOT / needed, folder / needed, ignore=shutil.ignore_patterns("__pycache__"))
    pyproject = (_ROOT / "pyproject.toml").read_text("utf-8")
    (folder / "pyproject.toml").write_text(pyproject + settings_of(part), "utf-8")
    subprocess.run([*_MUTMUT, "run", "--max-children", "2"], cwd=folder, check=True)  # noqa: S603 -- our own command.


def _shown(mutant: Mutant) -> Change:
    """Asked of whichever part the mutant is of: a part changes files that no other does."""
    folder = next(part for part in _WORK.iterdir() if (part / "mutants" / f"{mutant.file}.meta").exists())
    shown = subprocess.run(  # noqa: S603 -- our own command.
        [*_MUTMUT, "show", mutant.key], cwd=folder, capture_output=True, text=True, check=True
    )
    return change_in(shown.stdout)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the parts that are named, or all, and write the page. The exit code is 1 when something is amiss."""
    told = (_ROOT / "benchmarks" / "mutants.toml").read_text("utf-8")
    parts = tomllib.loads(told)["parts"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=[*parts, []], metavar="|".join(parts), help="default: all"
    )
    for name in parser.parse_args(arguments).parts or parts:
        _try(name, parts[name])
    found = findings(mutants_in(_WORK), reasons_in(told), _shown)
    text = found.report.text(SystemClock().now())
    (RESULTS / "mutants.md").write_text(text, encoding="utf-8")
    print(text)
    for change in found.idle:
        print(f"Nothing is excused any more by the reason for: {change.becomes}", file=sys.stderr)
    if found.percent < LEAST:
        print(f"Only {found.percent:.1f} % were noticed, and {LEAST:.0f} % have to be.", file=sys.stderr)
    return int(found.percent < LEAST or bool(found.idle))


if __name__ == "__main__":
    sys.exit(main())
