"""The documents agree with the code: names, links, generated parts, dependencies, rules."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pytest

from core import errors
from core.config.environment import variables
from core.config.integration import IntegrationConfig
from core.model.answer import IntegrationResponse, Source
from core.model.call_record import Attempt
from core.model.call_row import CallRow
from core.model.calling import CallClass, LimitMode, Safety
from core.model.decision import AdmissionSight, CacheSight, Decision, Turn, Why
from core.model.health import CircuitState
from core.model.metric_window import MetricWindow
from core.model.overview import CircuitView
from core.model.verdict import Verdict
from core.policies.override import OverrideMode
from docs.generate import names_in, pages, renewed
from docs.parts import PARTS, ROOT
from tests.docs.markdown import anchors, blocks, links, name_of

_PAGES: Final = list(pages())
_NAME: Final = re.compile(r"BONGSU_[A-Z0-9_]*[A-Z0-9_]")
_ABSOLUTE: Final = re.compile(r"(?<![\w.:/])/(?:work|home|root|tmp|usr|var|opt|etc|mnt|Users)\b|\b[A-Z]:\\")
_LANGUAGES: Final = {"python", "output", "console", "text", "json", "diff", "toml"}


def declared() -> dict[str, Any]:
    """What pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def wrong_names(text: str) -> list[str]:
    """The names of settings that do not exist. One that ends with _ stands for all that begin so."""
    known = variables()
    return [
        name
        for name in _NAME.findall(text)
        if not name.startswith("BONGSU_TEST_")
        and name not in known
        and not (name.endswith("_") and any(found.startswith(name) for found in known))
    ]


@pytest.mark.parametrize("page", _PAGES, ids=name_of)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    assert wrong_names(page.read_text("utf-8")) == []


def test_a_setting_that_does_not_exist_is_found_out() -> None:
    assert wrong_names("BONGSU_PROT, BONGSU_PORT, BONGSU_ADDRESS_…") == ["BONGSU_PROT"]


def test_every_setting_stands_in_the_reference() -> None:
    reference = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")

    assert [name for name in variables() if f"| `{name}` |" not in reference] == []


@pytest.mark.parametrize("page", _PAGES, ids=name_of)
def test_every_link_and_picture_leads_to_something(page: Path) -> None:
    missing = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        found = page if not path else (page.parent / path)
        if target.startswith("https://"):
            continue
        if not found.exists() or (anchor and anchor not in anchors(found)):
            missing.append(target)

    assert missing == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = (
            target.partition("#")[0] for target in links(page) if ".md" in target and "://" not in target
        )
        waiting += [(page.parent / target).resolve() for target in targets if target]

    assert {name_of(page) for page in _PAGES} - {name_of(page) for page in reached} == set()


@pytest.mark.parametrize("page", _PAGES, ids=name_of)
def test_the_generated_parts_of_a_page_are_fresh(page: Path) -> None:
    text = page.read_text("utf-8")

    assert renewed(text) == text, "run make docs"


def test_every_generated_part_stands_on_exactly_one_page() -> None:
    shown = [name for page in _PAGES for name in names_in(page.read_text("utf-8"))]

    assert sorted(shown) == sorted(PARTS)


def test_every_policy_of_an_integration_stands_in_exactly_one_table() -> None:
    page = (ROOT / "docs" / "reference" / "policies.md").read_text("utf-8")
    told = re.findall(r"^\| `([a-z_]+)` \| [A-Z]", page, flags=re.MULTILINE)

    assert sorted(told) == sorted(
        name for name, field in IntegrationConfig.model_fields.items() if field.description
    )


def unknown_telemetry(page: str) -> list[str]:
    """What the telemetry of a policy is said to be called, and nothing is."""
    said = re.findall(r"^\*\*Telemetry\.\*\*.+?(?:\n\n|\Z)", page, flags=re.MULTILINE | re.DOTALL)
    words = {word for paragraph in said for word in re.findall(r"`([\w.]+)`", paragraph)}
    return sorted(words - set(telemetry_words()))


def telemetry_words() -> Iterator[str]:
    """All that a call is told of by: fields that are kept, what may stand in them, errors, and lines of the log."""
    for kept in (CallRow, Decision, AdmissionSight, MetricWindow, CircuitView):
        yield from (field.name for field in fields(kept))
    yield from (*Attempt._fields, *IntegrationResponse._fields)
    for words in (
        *(Source, CallClass, Safety, LimitMode, OverrideMode),
        *(CacheSight, Turn, Why, CircuitState, Verdict),
    ):
        yield from words
    yield from vars(errors)
    for file in ("core/telemetry/lines.py", "core/client/run.py", "core/hub.py"):
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        yield from (str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant))


def test_every_policy_says_where_it_shows() -> None:
    page = (ROOT / "docs" / "reference" / "policies.md").read_text("utf-8")
    sections = re.split(r"^##+ ", page, flags=re.MULTILINE)[1:]
    silent = [section.splitlines()[0] for section in sections if "**Telemetry.**" not in section]

    assert silent == ["Where it shows", "Combinations to avoid"]


def test_all_telemetry_that_the_policies_name_exists() -> None:
    page = (ROOT / "docs" / "reference" / "policies.md").read_text("utf-8")

    assert unknown_telemetry(page) == []


def test_telemetry_that_does_not_exist_is_found_out() -> None:
    page = "**Telemetry.** Row: `is_success`, `is_succes`.\n\nElsewhere `nothing`.\n\n**Telemetry.** `call.faild`."

    assert unknown_telemetry(page) == ["call.faild", "is_succes"]


@pytest.mark.parametrize("page", _PAGES, ids=name_of)
def test_no_page_names_a_path_of_one_machine(page: Path) -> None:
    assert _ABSOLUTE.findall(page.read_text("utf-8")) == []


@pytest.mark.parametrize("page", _PAGES, ids=name_of)
def test_every_block_is_in_a_language_that_is_checked_or_meant_to_be_read_only(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= _LANGUAGES


def test_every_dependency_has_its_line_of_why() -> None:
    page = (ROOT / "docs" / "explanation" / "dependencies.md").read_text("utf-8")
    wanted = [re.split(r"[\[<>=]", name)[0] for name in declared()["project"]["dependencies"]]
    told = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)

    assert told == wanted


def test_every_import_rule_stands_on_the_architecture_page() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    names = [contract["name"] for contract in declared()["tool"]["importlinter"]["contracts"]]

    assert [name for name in names if name not in page] == []


def test_the_picture_of_the_readme_is_a_whole_page_wide() -> None:
    header = (ROOT / "docs" / "images" / "health.png").read_bytes()[:24]

    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(header[16:20]) == 1440


def test_the_changelog_keeps_its_form() -> None:
    """Keep a Changelog: the newest first, and what is not released yet on top."""
    lines = (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines()
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}

    assert next(line for line in lines if line.startswith("## ")) == "## [Unreleased]"
    assert {line.removeprefix("### ") for line in lines if line.startswith("### ")} <= kinds
