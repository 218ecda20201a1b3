"""Answers that a bare ASGI layer gives before any framework has seen the request."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from core.web.errors import error_response

NOT_ALLOWED: Final = 1008
TRY_AGAIN_LATER: Final = 1013
"""Why a websocket is closed, in the codes of RFC 6455 and its registry."""


def shows_page(scope: Scope) -> bool:
    """Whether a person will read the answer."""
    is_page = "text/html" in Headers(scope=scope).get("accept", "")
    return is_page and not scope["path"].startswith(("/api/", "/_stcore/"))


def wants_page(scope: Scope) -> bool:
    """Whether a browser is opening a page, so that it can be led somewhere else."""
    return scope["method"] in {"GET", "HEAD"} and shows_page(scope)


def redirect(target: str) -> Response:
    """Open another page instead."""
    return RedirectResponse(target, 303, {"Cache-Control": "no-store"})


def redirect_to_sign_in(scope: Scope) -> Response:
    """Sign in first, then come back to this very address."""
    query = scope["query_string"].decode("latin-1")
    target = scope["path"] + (f"?{query}" if query else "")
    return redirect("/login" if target == "/" else f"/login?next={quote(target, safe='')}")


async def refuse_websocket(receive: Receive, send: Send) -> None:
    """Close before accepting: the server answers the handshake with 403."""
    await receive()
    await send({"type": "websocket.close", "code": NOT_ALLOWED})


async def refuse(scope: Scope, receive: Receive, send: Send, status: int) -> None:
    """Say no in our JSON form."""
    await error_response(status)(scope, receive, send)
