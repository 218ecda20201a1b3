"""Text that every database can store. SQLite takes anything; PostgreSQL refuses what no valid text holds."""

from __future__ import annotations

from typing import overload

_INSTEAD = "\N{REPLACEMENT CHARACTER}"


@overload
def storable(text: str, longest: int | None = None) -> str: ...
@overload
def storable(text: None, longest: int | None = None) -> None: ...
def storable(text: str | None, longest: int | None = None) -> str | None:
    """`text` with a replacement character for each NUL and each half of a surrogate pair that stands alone.

    Two halves that stand together become the character that they mean. What is longer than `longest`
    characters is cut there. The same text comes back from every database.
    """
    if text is None:
        return None
    if not text.isascii():
        text = _without_lone_surrogates(text)
    if "\0" in text:
        text = text.replace("\0", _INSTEAD)
    return text if longest is None or len(text) <= longest else text[:longest]


def _without_lone_surrogates(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
