"""`python -m docs.generate`: write the generated parts of every page, and the picture of the Health page, anew.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`, and NAME is one of `docs.parts.PARTS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from docs.parts import PARTS, ROOT
from docs.screenshot import take

PICTURE: Final = ROOT / "docs" / "images" / "health.png"
_PART: Final = re.compile(r"(<!-- generated: (?P<name>[^>]+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)


def pages() -> Iterator[Path]:
    """Every page: those at the root that are for people, and all of `docs`."""
    yield from sorted(ROOT.glob("*.md"))
    yield from sorted((ROOT / "docs").rglob("*.md"))


def renewed(text: str) -> str:
    """A page with each generated part as it is now. Raises `KeyError` for a part that nobody writes."""
    return _PART.sub(lambda part: f"{part[1]}{PARTS[part['name']]()}\n{part[4]}", text)


def names_in(text: str) -> list[str]:
    """The names of the generated parts of a page."""
    return [part["name"] for part in _PART.finditer(text)]


def main() -> None:
    """Write what has changed."""
    for page in pages():
        text = page.read_text("utf-8")
        fresh = renewed(text)
        if fresh != text:
            page.write_text(fresh, "utf-8")
    take(PICTURE)


if __name__ == "__main__":
    main()
