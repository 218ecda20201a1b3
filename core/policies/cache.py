"""The name under which an answer is kept: the same question in any order, and no other, gives the same key."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any


def cache_key(
    integration: str,
    operation: str,
    parameters: Mapping[str, object],
    version: int = 1,
    *,
    tenant: str = "",
    configuration: str = "",
) -> str:
    """`{integration}:{operation}:{64 hexadecimal digits}`, so that a pattern can forget a whole operation.

    Values of different types never share a key (`1`, `1.0`, `"1"`, `True`, a list and a tuple); text that looks
    the same does, however it is composed. Nor do two tenants share one, or two configurations that answer differently
    (a name or a digest each; empty where there is only one). `version` is raised when what an operation keeps changes
    its meaning. Raises `TypeError` for a value that is not text, bytes, a number, None, or a collection of such.
    """
    name, before, after = _around(integration, operation, version, tenant, configuration)
    content = before + _mapping(parameters) + after
    return name + hashlib.sha256(b"t%d:%b" % (len(content), content)).hexdigest()


@lru_cache(maxsize=1024, typed=True)  # `True` equals 1, and is encoded otherwise.
def _around(
    integration: str, operation: str, version: int, tenant: str, configuration: str
) -> tuple[str, bytes, bytes]:
    """What every question to one operation has in common: the key's beginning, and what stands around parameters."""
    before = _joined((integration, operation, version))
    after = _joined((tenant, configuration)) if tenant or configuration else b""
    return f"{integration}:{operation}:", before, after


def _encoded(value: object) -> bytes:
    """`value` as bytes from which it could be read back: a tag for its type, its length, its content."""
    return _BY_TYPE.get(type(value), _encoded_by_family)(value)


def _encoded_by_family(value: object) -> bytes:  # noqa: PLR0911 -- one case a type.
    """As `_encoded`, for a type of which a basic one is an ancestor: it is encoded as that."""
    match value:
        case int():
            return _integer(value)
        case float():
            return _number(value)
        case str():
            return _text(value)
        case bytes():
            return _tagged(b"y", value)
        case list():
            return _tagged(b"l", _joined(value))
        case tuple():
            return _tagged(b"t", _joined(value))
        case set() | frozenset():
            return _set(value)
        case Mapping():
            return _mapping(value)
        case _:
            raise TypeError(
                f"A {type(value).__name__} cannot be part of a cache key. Pass text, bytes, numbers, None, or "
                "lists, tuples, sets and mappings of these."
            )


def _text(value: str) -> bytes:
    if value.isascii():
        content = value.encode()
    else:
        content = unicodedata.normalize("NFC", value).encode("utf-8", "surrogatepass")
    return b"s%d:%b" % (len(content), content)


_name = lru_cache(maxsize=1024)(_text)
"""`_text`, for what is encoded in every call: the names of parameters."""


def _integer(value: int) -> bytes:
    content = b"%d" % value
    return b"i%d:%b" % (len(content), content)


def _number(value: float) -> bytes:
    # Adding zero turns -0.0 into 0.0: the two are equal.
    return _tagged(b"f", repr(float(value) + 0.0).encode())


def _set(values: Iterable[object]) -> bytes:
    return _tagged(b"u", b"".join(sorted(map(_encoded, values))))


def _mapping(values: Mapping[Any, object]) -> bytes:
    pairs = [
        (_name(key) if type(key) is str else _encoded(key)) + _encoded(held) for key, held in values.items()
    ]
    pairs.sort()
    content = b"".join(pairs)
    return b"m%d:%b" % (len(content), content)


def _joined(values: Iterable[object]) -> bytes:
    return b"".join(map(_encoded, values))


def _tagged(tag: bytes, content: bytes) -> bytes:
    return b"%b%d:%b" % (tag, len(content), content)


_BY_TYPE: Mapping[type, Callable[[Any], bytes]] = {
    str: _text,
    int: _integer,
    bool: lambda value: b"b1:1" if value else b"b1:0",
    type(None): lambda _: b"n0:",
    float: _number,
}
