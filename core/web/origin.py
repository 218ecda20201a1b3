"""Which requests come from our own pages, and which address they come from: pure rules over headers."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from core.settings import Settings

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST: Final = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[\w.-]+))(?::[0-9]{1,5})?")
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def is_from_our_page(headers: Headers, settings: Settings) -> bool:
    """Whether a browser says that the request was made by a page of this very origin.

    Without `Origin` and `Sec-Fetch-Site` nothing says so: then it is not.
    """
    origin = headers.get("origin")
    if origin is not None:
        return _place(origin) in _our_places(headers, settings)
    return headers.get("sec-fetch-site") == "same-origin"


def is_foreign(headers: Headers) -> bool:
    """Whether a browser says that another site led here (a link, a form, an image)."""
    return headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}


def is_host_allowed(headers: Headers, settings: Settings) -> bool:
    """Whether the `Host` header names us.

    With a public address it has to be that one or this machine; on loopback it has to be loopback, so that no
    foreign name can be pointed here. Otherwise any name will do, since we cannot know them.
    """
    host = _name(headers.get("host", ""))
    if settings.public_url is not None:
        return host in _LOOPBACK_NAMES or host == urlsplit(settings.public_url).hostname
    return host in _LOOPBACK_NAMES if settings.host in _LOOPBACK_NAMES else bool(host)


def address_of(scope: Scope, settings: Settings) -> str:
    """The address of whoever asks, for counting failures.

    Behind a proxy (there is a public address) it is the last entry of `X-Forwarded-For`, which is the one that
    our own proxy added; everything before it is what the client claims.
    """
    peer = scope["client"][0] if scope.get("client") else ""
    if settings.public_url is None:
        return str(peer)
    forwarded = Headers(scope=scope).get("x-forwarded-for", "").rpartition(",")[2].strip()
    try:
        return str(ip_address(forwarded))
    except ValueError:
        return str(peer)


def safe_next(target: str) -> str:
    """Where to go after signing in: a path of ours, or the first page when it is anything else."""
    if not target.startswith("/") or target.startswith("//"):
        return "/"
    if any(not character.isprintable() or character in '\\"' for character in target):
        return "/"
    return "/" if urlsplit(target).path in {"/login", "/setup", "/auth/logout"} else target


def _our_places(headers: Headers, settings: Settings) -> set[str]:
    places = {headers.get("host", "").lower()}
    if settings.public_url is not None:
        places.add(_place(settings.public_url))
    return places - {""}


def _place(origin: str) -> str:
    """Host and port of an origin. `null`, which a sandboxed page sends, has none."""
    return urlsplit(origin).netloc.lower()


def _name(host: str) -> str:
    """The name in a `Host` header, without its port; empty when it holds anything beside them."""
    match = _HOST.fullmatch(host.lower())
    return "" if match is None else (match["six"] or match["name"]).rstrip(".")
