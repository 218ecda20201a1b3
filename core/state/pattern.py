"""Patterns of keys: `*` stands for any text, everything else for itself."""

from __future__ import annotations

import re

_GLOB_SIGNS = re.compile(r"([?\[\]\\^])")


def matcher(pattern: str) -> re.Pattern[str]:
    """What tells by `fullmatch` whether a key matches `pattern`."""
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def redis_glob(pattern: str) -> str:
    """The same pattern in Redis's own words, whose other signs lose their meaning."""
    return _GLOB_SIGNS.sub(r"\\\1", pattern)


def literal_prefix(pattern: str) -> str:
    """What every matching key starts with."""
    return pattern.split("*", 1)[0]
