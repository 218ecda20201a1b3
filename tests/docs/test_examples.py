"""Every Python block of the documents runs, page by page and in order, and prints what the page says."""

from __future__ import annotations

import io
import linecache
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Final

import pytest

from core.hub import Hub
from core.settings import environment
from dashboard import data
from tests.docs.markdown import Block, blocks, name_of, pages_with

_NEW_FILE: Final = "# new file: "


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, and an environment in which mocks answer at once."""
    for name in environment():
        monkeypatch.delenv(name)
    monkeypatch.setenv("BONGSU_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("BONGSU_DEMO", "false")
    monkeypatch.setattr(data, "_door", data._Door())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", pages_with("python"), ids=name_of)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(page: Path, scratch: Path) -> None:
    printed = ""
    with module(page) as namespace:
        for block in blocks(page):
            if block.language == "python":
                printed = run(block, namespace, scratch)
            elif block.language == "output":
                assert printed == block.text, block.place


def run(block: Block, namespace: dict[str, object], scratch: Path) -> str:
    """Execute a block, or save it when it is a file of its own; what it printed."""
    if block.text.startswith(_NEW_FILE):
        first, text = block.text.split("\n", 1)
        path = scratch / first.removeprefix(_NEW_FILE)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return ""
    # Named and padded so that a traceback names the line of the page, and the block can find its own source.
    source = "\n" * (block.line - 1) + block.text
    filename = str(scratch / name_of(block.page).replace("/", "-"))
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    output = io.StringIO()
    with redirect_stdout(output):
        exec(compile(source, filename, "exec"), namespace)
    return output.getvalue()


@contextmanager
def module(page: Path) -> Iterator[dict[str, object]]:
    """A fresh module for the blocks of one page. Whatever hub they leave open is closed."""
    made = types.ModuleType(f"page_{page.stem.replace('-', '_')}")
    sys.modules[made.__name__] = made
    try:
        yield vars(made)
    finally:
        for value in list(vars(made).values()):
            if isinstance(value, Hub):
                value.close()
        del sys.modules[made.__name__]


def test_a_page_whose_code_fails_is_found_out_with_its_line(scratch: Path) -> None:
    """Otherwise the test above would prove nothing."""
    page = scratch / "wrong.md"
    block = Block(page, 7, "python", "raise ValueError('no')\n")

    with pytest.MonkeyPatch.context() as patch, module(page) as namespace:
        patch.setattr("tests.docs.test_examples.name_of", lambda found: found.name)
        with pytest.raises(ValueError, match="no") as raised:
            run(block, namespace, scratch)

    assert raised.traceback[-1].lineno == 6
