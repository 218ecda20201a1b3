"""Text that comes from elsewhere, made inert. Streamlit's markdown would fetch an image that a message names."""

from __future__ import annotations

import re
from typing import Final

_MARKUP: Final = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:^=@&/\"'])")
_BLANK: Final = re.compile(r"\s+")
_LINK: Final = re.compile(r"://|www\.|@", re.IGNORECASE)
_JOINER: Final = "\N{WORD JOINER}"
LONGEST: Final = 300


def plain(text: str, longest: int = LONGEST) -> str:
    """`text` as markdown that shows exactly these characters on one line, cut after `longest` of them."""
    line = _BLANK.sub(" ", "".join(c if c.isprintable() else " " for c in text)).strip()
    cut = line if len(line) <= longest else f"{line[: longest - 1]}…"
    # What looks like an address becomes a link even when it is escaped, unless something unseen stands in it.
    unlinked = _LINK.sub(lambda match: match[0][0] + _JOINER + match[0][1:], cut)
    return _MARKUP.sub(r"\\\1", unlinked)
