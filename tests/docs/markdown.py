"""As much of Markdown as the documents use: fenced blocks, links and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from docs.generate import pages
from docs.parts import ROOT

_FENCE: Final = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block; `line` is that of its first line of text, counted from 1."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """A page's path in the project: what a test is called by."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    for fence in _FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, fence.start()) + 2, fence["language"], fence["text"])


def links(page: Path) -> Iterator[str]:
    """Where the links and pictures of a page lead, those in fenced blocks left out."""
    for link in _LINK.finditer(_FENCE.sub("", page.read_text("utf-8"))):
        yield link["target"]


def anchors(page: Path) -> set[str]:
    """The names under which the headings of a page can be linked to."""
    titles = (heading["title"] for heading in _HEADING.finditer(_FENCE.sub("", page.read_text("utf-8"))))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def pages_with(language: str) -> list[Path]:
    """The pages that have a block in that language."""
    return [page for page in pages() if any(block.language == language for block in blocks(page))]
