"""The keys of this installation, and the secrets kept with them.

The file `keyring` in the data directory holds one key a line, `ID KEY`. The first key encrypts, every key decrypts:
a key is retired by rotating, encrypting every stored secret anew, and only then deleting its line. A ciphertext
names the key it needs and carries its context (which row it belongs to) inside, so that one moved to another row
is refused. Nothing here ever expires.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import KeyringError

FILE_NAME: Final = "keyring"
_LINE: Final = re.compile(r"([a-z0-9]{4,32}) ([A-Za-z0-9_-]{43}=)")
_HEADER: Final = (
    "# The keys of this Bongsu installation. Without them its stored secrets cannot be read: keep a copy.\n"
)
_LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Key:
    """One key with its name. The secret half stays out of its repr."""

    id: str
    secret: str = field(repr=False)

    @staticmethod
    def new() -> Key:
        return Key(secrets.token_hex(4), Fernet.generate_key().decode())


class Keyring:
    """Encrypts with its first key and decrypts with any."""

    def __init__(self, keys: tuple[Key, ...], path: Path | None = None) -> None:
        """`path` is where the keys came from; it is read again when a ciphertext names a key not yet known."""
        if not keys:
            raise KeyringError("A keyring needs at least one key.")
        self._keys = keys
        self._path = path

    @staticmethod
    def open(data_dir: Path) -> Keyring:
        """The keyring of a data directory, made at the first start.

        Raises `KeyringError` when the file is malformed or can be read by others than its owner.
        """
        path = data_dir / FILE_NAME
        return Keyring(_read_or_create(path), path)

    @staticmethod
    def in_memory() -> Keyring:
        """A keyring with one new key that is stored nowhere."""
        return Keyring((Key.new(),))

    @staticmethod
    def rotate(data_dir: Path) -> Keyring:
        """Put a new key in front of the others. Running processes follow when they first meet it.

        Raises `KeyringError` as `open` does.
        """
        path = data_dir / FILE_NAME
        keys = (Key.new(), *_read_or_create(path))
        _replace(path, keys)
        return Keyring(keys, path)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The names of the keys, the one that encrypts first."""
        return tuple(key.id for key in self._keys)

    def encrypt(self, text: str, context: str) -> bytes:
        """`text` under the first key, bound to `context` (such as `integration_configs/sms/secret_key`)."""
        key = self._keys[0]
        bound = context.encode()
        plain = len(bound).to_bytes(_LENGTH_BYTES) + bound + text.encode()
        return key.id.encode() + b"." + Fernet(key.secret).encrypt(plain)

    def decrypt(self, ciphertext: bytes, context: str) -> str:
        """The text that was encrypted for this very `context`.

        Raises `KeyringError` when the key is missing, the ciphertext damaged, or it belongs elsewhere.
        """
        key = self._key(key_id_of(ciphertext), context)
        try:
            plain = Fernet(key.secret).decrypt(ciphertext.partition(b".")[2])
        except InvalidToken:
            raise KeyringError(f"The secret stored for {context} is damaged. Enter it again.") from None
        length = int.from_bytes(plain[:_LENGTH_BYTES])
        bound, text = plain[_LENGTH_BYTES : _LENGTH_BYTES + length], plain[_LENGTH_BYTES + length :]
        if bound != context.encode():
            raise KeyringError(f"The secret stored for {context} belongs to another place. Enter it again.")
        return text.decode()

    def needs_rewrap(self, ciphertext: bytes) -> bool:
        """Whether the ciphertext was made with another key than the one that encrypts now."""
        return key_id_of(ciphertext) != self._keys[0].id

    def derive(self, purpose: str) -> bytes:
        """32 bytes that only this installation knows, different for each purpose. Rotating changes them."""
        material = self._keys[0].secret.encode()
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(material)

    def _key(self, key_id: str, context: str) -> Key:
        key = self._find(key_id)
        if key is None and self._path is not None:
            self._keys = _read(self._path)
            key = self._find(key_id)
        if key is None:
            raise KeyringError(
                f"The secret stored for {context} needs the key {key_id or '(none)'}, which the keyring lacks. "
                f"Put its line back into the file `{FILE_NAME}` of the data directory, or enter the secret again."
            )
        return key

    def _find(self, key_id: str) -> Key | None:
        return next((key for key in self._keys if key.id == key_id), None)


def key_id_of(ciphertext: bytes) -> str:
    """The name of the key that a ciphertext needs; empty when it is no ciphertext of ours."""
    name, dot, _ = ciphertext.partition(b".")
    return name.decode("ascii", "replace") if dot else ""


def _read_or_create(path: Path) -> tuple[Key, ...]:
    if not path.exists():
        _create(path, (Key.new(),))
    return _read(path)


def _read(path: Path) -> tuple[Key, ...]:
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise KeyringError(f"The keyring {path} cannot be read ({error}). Restore it from a copy.") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyringError(f"The keyring {path} can be read by others. Run `chmod 600 {path}`.")
    return _parse(path, text)


def _parse(path: Path, text: str) -> tuple[Key, ...]:
    keys: list[Key] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match[1] in {key.id for key in keys}:
            raise KeyringError(f"Line {number} of the keyring {path} is malformed. Restore it from a copy.")
        keys.append(Key(match[1], match[2]))
    if not keys:
        raise KeyringError(f"The keyring {path} holds no key. Restore it from a copy.")
    return tuple(keys)


def _create(path: Path, keys: tuple[Key, ...]) -> None:
    """Make the file whole or not at all. When another process was faster, its file stays."""
    draft = _draft(path, keys)
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass  # the keys of the faster process are the keys of this installation.
    finally:
        draft.unlink()


def _replace(path: Path, keys: tuple[Key, ...]) -> None:
    _draft(path, keys).replace(path)


def _draft(path: Path, keys: tuple[Key, ...]) -> Path:
    draft = path.with_name(f".{FILE_NAME}.{secrets.token_hex(8)}")
    text = _HEADER + "".join(f"{key.id} {key.secret}\n" for key in keys)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise KeyringError(f"The keyring {path} cannot be written ({error}).") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return draft
