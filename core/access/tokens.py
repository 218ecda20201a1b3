"""Opaque tokens: what is handed out is random, what is stored is its hash."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

_SECRET_BYTES: Final = 32


def new_token() -> str:
    """256 random bits in letters that need no quoting."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def hash_of(token: str) -> bytes:
    """What is stored of a token. 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
