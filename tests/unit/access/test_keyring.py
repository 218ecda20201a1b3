"""The keyring: what it keeps, what it refuses, and how it is rotated."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.crypto import FILE_NAME, Key, Keyring
from core.errors import KeyringError

texts = st.text(st.characters(exclude_categories=["Cs"]))
contexts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(texts, contexts)
def test_what_was_encrypted_for_a_place_is_read_there(text: str, context: str) -> None:
    keyring = Keyring.in_memory()

    assert keyring.decrypt(keyring.encrypt(text, context), context) == text


@pytest.mark.fault("CF-07")
@given(texts, contexts, contexts)
def test_a_ciphertext_moved_to_another_place_is_refused(text: str, context: str, other: str) -> None:
    keyring = Keyring.in_memory()
    ciphertext = keyring.encrypt(text, context)

    if context != other:
        with pytest.raises(KeyringError, match="belongs to another place"):
            keyring.decrypt(ciphertext, other)


@pytest.mark.fault("CF-07")
@pytest.mark.parametrize("damage", ["truncated", "flipped", "plain", "empty"])
def test_a_damaged_ciphertext_is_refused_with_the_cure(damage: str) -> None:
    keyring = Keyring.in_memory()
    whole = keyring.encrypt("a secret", "a place")
    damaged = {
        "truncated": whole[:-4],
        "flipped": whole[:-1] + bytes([whole[-1] ^ 1]),
        "plain": b"a secret",
        "empty": b"",
    }[damage]

    with pytest.raises(KeyringError, match=r"[Ee]nter"):
        keyring.decrypt(damaged, "a place")


def test_the_file_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    first, second = Keyring.open(tmp_path), Keyring.open(tmp_path)

    assert first.key_ids == second.key_ids
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_processes_that_start_together_agree_on_one_keyring(tmp_path: Path) -> None:
    found: list[tuple[str, ...]] = []
    start = threading.Barrier(8)

    def open_it() -> None:
        start.wait()
        found.append(Keyring.open(tmp_path).key_ids)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.fault("CF-08")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_that_others_can_read_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    Keyring.open(tmp_path)
    (tmp_path / FILE_NAME).chmod(mode)

    with pytest.raises(KeyringError, match="chmod 600"):
        Keyring.open(tmp_path)


@pytest.mark.fault("CF-08")
@pytest.mark.parametrize(
    "text", ["", "# nothing but words\n", "abcd short=\n", "no key here\n", "\xff\xfe", "abcd " * 3]
)
def test_a_malformed_file_is_refused_and_stays_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)

    with pytest.raises(KeyringError, match="Restore it from a copy"):
        Keyring.open(tmp_path)

    assert path.read_bytes() == text.encode("latin-1")


def test_two_keys_of_one_name_are_refused(tmp_path: Path) -> None:
    keys = [Key.new(), Key.new()]
    path = tmp_path / FILE_NAME
    path.write_text("".join(f"same {key.secret}\n" for key in keys))
    path.chmod(0o600)

    with pytest.raises(KeyringError, match="Line 2"):
        Keyring.open(tmp_path)


@pytest.mark.fault("CF-05")
def test_after_a_rotation_old_secrets_are_read_and_new_ones_use_the_new_key(tmp_path: Path) -> None:
    running = Keyring.open(tmp_path)
    old = running.encrypt("old", "a place")

    rotated = Keyring.rotate(tmp_path)
    new = rotated.encrypt("new", "a place")

    assert rotated.decrypt(old, "a place") == "old"
    assert rotated.needs_rewrap(old)
    assert not rotated.needs_rewrap(new)
    assert running.decrypt(new, "a place") == "new", "a running process follows by itself"


@pytest.mark.fault("CF-05")
def test_a_secret_whose_key_is_gone_names_the_key_to_bring_back(tmp_path: Path) -> None:
    lost = Keyring((Key("deadbeef", Key.new().secret),))

    with pytest.raises(KeyringError, match="deadbeef"):
        Keyring.open(tmp_path).decrypt(lost.encrypt("text", "a place"), "a place")


def test_what_is_derived_differs_by_purpose_and_by_installation() -> None:
    one, other = Keyring.in_memory(), Keyring.in_memory()

    assert one.derive("csrf") == one.derive("csrf")
    assert len({one.derive("csrf"), one.derive("cookie"), other.derive("csrf")}) == 3


def test_no_key_shows_in_the_repr() -> None:
    key = Key.new()

    assert key.secret not in repr(key)


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The keyring's place may be missing altogether."""
    with pytest.raises(KeyringError, match="cannot be written"):
        Keyring.open(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []
