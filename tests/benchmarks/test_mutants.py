"""The page about the changes that no test noticed: it counts rightly, and says of each why it may stay."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.mutants import Change, Mutant, change_in, findings, mutants_in, reasons_in, settings_of

ROUND = "core.policies.tally.x_counted__mutmut_{}"
ROOT = Path(__file__).parents[2]
METHOD = "core.policies.rate_limit.xǁShareǁwait_us__mutmut_7"
DIFF = """--- core/policies/tally.py
+++ core/policies/tally.py
@@ -1,3 +1,3 @@
 def counted(
-    first |
-      second
+    other
"""


def mutants(*codes: int) -> list[Mutant]:
    return [Mutant(ROUND.format(number), code) for number, code in enumerate(codes)]


def change_of(mutant: Mutant) -> Change:
    return Change("a | b", f"b{mutant.key[-1]}")


def test_a_mutant_is_found_where_it_is() -> None:
    assert (mutants(0)[0].file, mutants(0)[0].function) == ("core/policies/tally.py", "counted")
    assert Mutant(METHOD, 0).function == "Share.wait_us"
    with pytest.raises(ValueError, match="no name of a mutant"):
        _ = Mutant("core.policies.tally.counted", 0).file


@pytest.mark.parametrize(
    ("exit_code", "is_noticed"),
    [(1, True), (3, True), (36, True), (-11, True), (0, False), (33, False), (5, False)],
)
def test_a_mutant_is_noticed_when_a_test_fails_or_does_not_end(exit_code: int, is_noticed: bool) -> None:
    assert mutants(exit_code)[0].is_noticed is is_noticed


def test_the_results_of_every_file_are_read_but_for_what_was_not_tried(tmp_path: Path) -> None:
    for name, codes in (("a", {ROUND.format(1): 1}), ("b", {ROUND.format(2): 0, ROUND.format(3): None})):
        (tmp_path / name / "mutants" / "core").mkdir(parents=True)
        (tmp_path / name / "mutants" / "core" / "x.py.meta").write_text(
            json.dumps({"exit_code_by_key": codes}), "utf-8"
        )

    assert [mutant.exit_code for mutant in mutants_in(tmp_path)] == [1, 0]


def test_a_change_is_what_a_diff_takes_away_and_brings() -> None:
    assert change_in(DIFF) == Change("first | second", "other")


def test_the_page_counts_what_was_noticed_and_gives_each_reason() -> None:
    reasons = reasons_in('[[unnoticed]]\nwas = "a | b"\nbecomes = "b1"\nreason = "It is the same."')

    found = findings(mutants(1, 0, 0, 33), reasons, change_of)

    text = found.report.text(datetime(2026, 3, 2, tzinfo=UTC))
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert found.percent == 25
    assert found.idle == ()
    assert "| `core/policies/tally.py` | 4 | 1 | 3 | 25.0 % |" in rows
    assert "| all | 4 | 1 | 3 | 25.0 % |" in rows
    assert "| `counted` | `a ¦ b` | `b1` | It is the same. |" in rows
    assert "| `counted` | `a ¦ b` | `b2` | **none yet** |" in rows
    assert "| `counted` | `a ¦ b` | `b3` | no test uses it |" in rows


def test_a_reason_that_excuses_nothing_any_more_is_told() -> None:
    reasons = {Change("a | b", "b1"): "It is the same.", Change("c", "d"): "It was the same."}

    assert findings(mutants(1, 0), reasons, change_of).idle == (Change("c", "d"),)
    assert findings(mutants(1, 1), {}, change_of).percent == 100


def test_a_part_is_told_as_toml() -> None:
    part = {"changed": ["core/x/*.py"], "isolation": "fork", "tests": ["tests/x", "--deselect=tests/y"]}

    told = tomllib.loads(settings_of(part))["tool"]["mutmut"]

    assert told["only_mutate"] == ["core/x/*.py"]
    assert told["process_isolation"] == "fork"
    assert told["pytest_add_cli_args_test_selection"] == ["tests/x", "--deselect=tests/y"]


def test_every_test_that_is_named_for_a_part_exists() -> None:
    parts = tomllib.loads((ROOT / "benchmarks" / "mutants.toml").read_text("utf-8"))["parts"]

    for part in parts.values():
        for named in part["tests"]:
            path, _, function = named.removeprefix("--deselect=").partition("::")
            assert (ROOT / path).exists()
            assert f"def {function}" in (ROOT / path).read_text("utf-8") if function else True
        for pattern in part["changed"]:
            assert list(ROOT.glob(pattern))
