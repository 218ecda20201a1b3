"""What is answered while the database is away: one layer around the gate and all that stands behind it."""

from __future__ import annotations

from urllib.parse import quote

import structlog
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import StorageError
from core.web import pages, responses
from core.web.errors import RETRY_AFTER_SECONDS, error_response
from core.web.language import language_of
from core.web.origin import SAFE_METHODS, safe_next

_log = structlog.get_logger("bongsu.web")


class StorageFaults:
    """Turns a `StorageError` into a page for people, JSON for programs, or the end of a websocket.

    An answer that has begun already cannot be taken back: then the error goes on to whoever serves us.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = has_begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except StorageError as error:
            if scope["type"] == "lifespan" or has_begun:
                raise
            _log.error("storage_unavailable", error=str(error))
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": responses.TRY_AGAIN_LATER})
            else:
                await _answer(scope)(scope, receive, send)


def _answer(scope: Scope) -> Response:
    if not responses.shows_page(scope):
        return error_response(503)
    page = pages.away_page(language_of(Headers(scope=scope)), target=_again(scope))
    headers = {"Cache-Control": "no-store", "Retry-After": str(RETRY_AFTER_SECONDS)}
    return HTMLResponse(page, 503, headers)


def _again(scope: Scope) -> str:
    """Where to try again: the page that was asked for, or the first one after a form."""
    if scope["method"] not in SAFE_METHODS:
        return "/"
    query = scope["query_string"].decode("latin-1")
    return safe_next(quote(scope["path"]) + (f"?{query}" if query else ""))
