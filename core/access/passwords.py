"""Passwords: what is fit to be one, and how they are kept (Argon2id)."""

from __future__ import annotations

import secrets
import threading
import unicodedata
from enum import StrEnum
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

SHORTEST: Final = 12
LONGEST: Final = 128
_MOST_DECOMPOSED: Final = 4
"""Unicode composes no more than four characters into one."""
CHECKS_AT_ONCE: Final = 4
"""Each check takes 19 MiB and some 50 ms of one core: more at once would let anyone exhaust the machine."""

_COMMON: Final = frozenset(
    {
        "123456789012",
        "1234567890123",
        "1q2w3e4r5t6y",
        "1qaz2wsx3edc",
        "abcdefghijkl",
        "abcdefghijklm",
        "adminadminadmin",
        "administrator",
        "administrator1",
        "bongsubongsu",
        "changemeplease",
        "iloveyou1234",
        "letmeinletmein",
        "password1234",
        "password12345",
        "passwordpassword",
        "qwerty123456",
        "qwertyuiop12",
        "qwertyuiopas",
        "zaq12wsxcde3",
    }
)


class PasswordFault(StrEnum):
    """Why a new password is not accepted."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    COMMON = "common"


def fault_of(password: str) -> PasswordFault | None:
    """What is wrong with a new password; None when it is fit. Length is counted in characters."""
    normal = _normal(password)
    if len(normal) < SHORTEST:
        return PasswordFault.TOO_SHORT
    if len(normal) > LONGEST:
        return PasswordFault.TOO_LONG
    if normal.casefold() in _COMMON or len(set(normal)) == 1:
        return PasswordFault.COMMON
    return None


class Passwords:
    """Hashes and checks passwords, a few at once. Threads may share it."""

    def __init__(self) -> None:
        # The least that OWASP's password storage sheet allows for Argon2id; four at once need 76 MiB.
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._turns = threading.BoundedSemaphore(CHECKS_AT_ONCE)
        self._nobody = self._hasher.hash(secrets.token_bytes(16))

    def hash(self, password: str) -> str:
        """What is stored for a password."""
        with self._turns:
            return self._hasher.hash(_bytes(password))

    def check(self, stored: str | None, password: str) -> bool:
        """Whether it is the password. Without a stored hash it is not, and finding out takes as long."""
        with self._turns:
            try:
                self._hasher.verify(stored or self._nobody, _bytes(password))
            except VerifyMismatchError:
                return False
        return stored is not None

    def needs_rehash(self, stored: str) -> bool:
        """Whether the hash was made with other costs than today's."""
        return self._hasher.check_needs_rehash(stored)


def _normal(password: str) -> str:
    """The one spelling of a password, cut where it is too long to be one.

    What came in may be a million marks, which take minutes to put in order; so it is cut before that as well.
    """
    return unicodedata.normalize("NFKC", password[: _MOST_DECOMPOSED * (LONGEST + 1)])[: LONGEST + 1]


def _bytes(password: str) -> bytes:
    # What came in a form may hold lone surrogates; they are wrong passwords, not errors.
    return _normal(password).encode("utf-8", "surrogatepass")
