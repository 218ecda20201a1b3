"""How much may be sent to our own routes. What belongs to the pages' framework has limits of its own."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.web import responses

MOST_BYTES: Final = 1024 * 1024
_OURS: Final = ("/api/", "/login", "/setup", "/auth/logout", "/healthz")


class Limits:
    """Answers 413 to a body of more than 1 MiB, whether its length was announced or not."""

    def __init__(self, app: ASGIApp, most_bytes: int = MOST_BYTES) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_OURS):
            await self._app(scope, receive, send)
        elif self._announces_too_much(scope):
            await responses.refuse(scope, receive, send, 413)
        else:
            await self._app(scope, self._counted(receive), send)

    def _announces_too_much(self, scope: Scope) -> bool:
        announced = Headers(scope=scope).get("content-length", "0")
        return not announced.isdecimal() or len(announced) > 15 or int(announced) > self._most_bytes  # noqa: PLR2004 -- no length of 15 digits is small.

    def _counted(self, receive: Receive) -> Receive:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most_bytes:
                raise HTTPException(413)
            return message

        return counted
