"""The two cookies: one that says who is signed in, one that proves that a form came from our own page."""

from __future__ import annotations

import hmac
import secrets
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response

from core.crypto import Keyring
from core.settings import Settings

_SECURE_PREFIX: Final = "__Host-"  # browsers then insist on Secure, Path=/ and no Domain


class Cookies:
    """Reads and writes both cookies. Scripts can read neither."""

    def __init__(self, settings: Settings, keyring: Keyring) -> None:
        self._is_secure = settings.has_secure_cookies
        self._max_age = settings.session_max_hours * 3600
        self._csrf_key = keyring.derive("csrf")
        prefix = _SECURE_PREFIX if self._is_secure else ""
        self.session_name = f"{prefix}bongsu_session"
        self.csrf_name = f"{prefix}bongsu_csrf"

    def session(self, headers: Headers) -> str:
        """The session token that a request carries; empty when it carries none."""
        return self._read(headers, self.session_name)

    def set_session(self, response: Response, token: str) -> None:
        self._set(response, self.session_name, token, max_age=self._max_age)

    def clear_session(self, response: Response) -> None:
        self._set(response, self.session_name, "", max_age=0)

    def csrf(self, headers: Headers) -> str:
        """The nonce of a browser: the one it has, so that two open forms both work, or a new one."""
        return self._read(headers, self.csrf_name) or secrets.token_urlsafe(32)

    def set_csrf(self, response: Response, nonce: str) -> None:
        self._set(response, self.csrf_name, nonce, max_age=None)

    def csrf_field(self, nonce: str) -> str:
        """What a form has to send back together with the nonce."""
        return hmac.digest(self._csrf_key, nonce.encode(), "sha256").hex()

    def is_csrf_right(self, headers: Headers, field: str) -> bool:
        """Whether a form was ours, given to this very browser."""
        nonce = self._read(headers, self.csrf_name)
        sent, expected = field.encode("utf-8", "surrogatepass"), self.csrf_field(nonce).encode()
        return bool(nonce) and hmac.compare_digest(sent, expected)

    def _read(self, headers: Headers, name: str) -> str:
        return cookie_parser(headers.get("cookie", "")).get(name, "")

    def _set(self, response: Response, name: str, value: str, *, max_age: int | None) -> None:
        response.set_cookie(
            name, value, max_age=max_age, path="/", secure=self._is_secure, httponly=True, samesite="lax"
        )
