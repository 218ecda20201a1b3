"""The name under which an answer is kept: the same question in any order, and no other, gives the same key."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping


def cache_key(integration: str, operation: str, parameters: Mapping[str, object], version: int = 1) -> str:
    """`{integration}:{operation}:{64 hexadecimal digits}`, so that a pattern can forget a whole operation.

    Values of different types never share a key (`1`, `1.0`, `"1"`, `True`, a list and a tuple); text that looks
    the same does, however it is composed. `version` is raised when what an operation keeps changes its meaning.
    Raises `TypeError` for a value that is not text, bytes, a number, None, or a collection of such.
    """
    question = _encoded((integration, operation, version, parameters))
    return f"{integration}:{operation}:{hashlib.sha256(question).hexdigest()}"


def _encoded(value: object) -> bytes:  # noqa: C901, PLR0911 -- one case a type.
    """`value` as bytes from which it could be read back: a tag for its type, its length, its content."""
    match value:
        case None:
            return _tagged(b"n", b"")
        case bool():
            return _tagged(b"b", b"1" if value else b"0")
        case int():
            return _tagged(b"i", b"%d" % value)
        case float():
            # Adding zero turns -0.0 into 0.0: the two are equal.
            return _tagged(b"f", repr(float(value) + 0.0).encode())
        case str():
            return _tagged(b"s", unicodedata.normalize("NFC", value).encode("utf-8", "surrogatepass"))
        case bytes():
            return _tagged(b"y", value)
        case list():
            return _tagged(b"l", _joined(value))
        case tuple():
            return _tagged(b"t", _joined(value))
        case set() | frozenset():
            return _tagged(b"u", b"".join(sorted(map(_encoded, value))))
        case Mapping():
            return _tagged(b"m", b"".join(sorted(map(_joined, value.items()))))
        case _:
            raise TypeError(
                f"A {type(value).__name__} cannot be part of a cache key. Pass text, bytes, numbers, None, or "
                "lists, tuples, sets and mappings of these."
            )


def _joined(values: Iterable[object]) -> bytes:
    return b"".join(map(_encoded, values))


def _tagged(tag: bytes, content: bytes) -> bytes:
    return b"%b%d:%b" % (tag, len(content), content)
