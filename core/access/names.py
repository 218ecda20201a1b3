"""How people are named when they sign in."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_NAME: Final = re.compile(r"[\w.@+-]{1,64}")


def normal(name: str) -> str | None:
    """The one spelling of a name that is stored and looked up; None when it cannot be a name.

    Up to 64 letters of any script, digits and `. @ + - _`; case and width do not matter.
    """
    folded = unicodedata.normalize("NFKC", name.strip()).casefold()
    return folded if _NAME.fullmatch(folded) else None
