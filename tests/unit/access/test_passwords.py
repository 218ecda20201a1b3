"""Which passwords are fit, and how they are checked."""

from __future__ import annotations

import threading
import unicodedata

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from core.access import names, passwords
from core.access.api_tokens import compose, id_of
from core.access.passwords import PasswordFault, Passwords, fault_of


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("elevenchars", PasswordFault.TOO_SHORT),
        ("twelve chars", None),
        ("열두글자짜리긴비밀번호다", None),
        ("x1" * 64, None),
        ("x1" * 64 + "y", PasswordFault.TOO_LONG),
        ("Password1234", PasswordFault.COMMON),
        ("aaaaaaaaaaaaaa", PasswordFault.COMMON),
        ("bongsubongsu", PasswordFault.COMMON),
    ],
)
def test_a_password_is_judged_by_length_and_by_how_common_it_is(
    password: str, fault: PasswordFault | None
) -> None:
    assert fault_of(password) == fault


def test_the_right_password_passes_however_its_letters_are_composed() -> None:
    keeper = Passwords()
    stored = keeper.hash("caf\u00e9 on the hill")

    assert keeper.check(stored, "cafe\u0301 on the hill")
    assert not keeper.check(stored, "cafe on the hill")
    assert not keeper.needs_rehash(stored)


@pytest.mark.parametrize("letter", ["\u1112\u1161\u11ab", "\u03b1\u0313\u0300\u0345", "\u00e9", "e\u0301"])
@pytest.mark.parametrize("length", [12, 48, 72, 127])
def test_whatever_can_be_set_can_be_used(letter: str, length: int) -> None:
    """Letters that are written apart count as what they are together, when setting and when checking."""
    keeper = Passwords()
    password = "x" + letter * length

    assert fault_of(password) is None
    stored = keeper.hash(password)
    assert keeper.check(stored, password)
    assert keeper.check(stored, unicodedata.normalize("NFC", password))
    assert not keeper.check(stored, password[:-1])
    assert not keeper.check(stored, password + "y")


@given(st.text(max_size=200))
def test_no_character_is_composed_of_more_than_four(text: str) -> None:
    """So cutting before composing never cuts a password that is not too long."""
    assert len(unicodedata.normalize("NFD", text)) <= 4 * len(unicodedata.normalize("NFKC", text))


@pytest.mark.timeout(5)
def test_a_flood_of_marks_is_refused_at_once() -> None:
    """Putting a million marks in order would take minutes of a core."""
    flood = "a" + "\u0316\u0300" * 500_000

    assert fault_of(flood) is PasswordFault.TOO_LONG
    assert not Passwords().check(None, flood)


def test_without_a_stored_hash_nothing_is_right() -> None:
    assert not Passwords().check(None, "anything at all")


def test_a_password_that_is_no_valid_text_is_wrong_and_no_error() -> None:
    keeper = Passwords()

    assert not keeper.check(keeper.hash("a beacon on the hill"), "\ud800")


def test_no_more_checks_run_at_once_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else anyone could use up the machine's memory by signing in often."""
    running, most = 0, 0
    lock = threading.Lock()
    verify = PasswordHasher.verify

    def counting(self: PasswordHasher, stored: str, password: bytes) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return verify(self, stored, password)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(PasswordHasher, "verify", counting)
    keeper = Passwords()
    stored = keeper.hash("a beacon on the hill")
    threads = [threading.Thread(target=keeper.check, args=(stored, "wrong password")) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 <= most <= passwords.CHECKS_AT_ONCE


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Admin", "admin"),
        (" ops ", "ops"),
        ("\uff41\uff44\uff4d\uff49\uff4e", "admin"),
        ("김봉수", "김봉수"),
        ("a@b.kr", "a@b.kr"),
    ],
)
def test_a_name_has_one_spelling(typed: str, stored: str) -> None:
    assert names.normal(typed) == stored


@pytest.mark.parametrize("typed", ["", " ", "a b", "a\nb", "a\0", "<b>", "x" * 65, "a/b"])
def test_what_cannot_be_a_name_is_none(typed: str) -> None:
    assert names.normal(typed) is None


def test_a_token_finds_its_row_and_a_mistyped_one_finds_none() -> None:
    token_id = uuid7()
    token = compose(token_id)
    mistyped = token[:-1] + ("0" if token[-1] != "0" else "1")

    assert id_of(token) == token_id
    assert id_of(mistyped) is None
    assert id_of("Bearer") is None
