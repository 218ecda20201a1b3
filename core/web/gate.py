"""The gate: the one layer that every request and every websocket passes before anything else sees it.

Nobody gets in before signing in; what is signed in is told to the pages by headers, which are taken off whatever
a client sent first. The API's tokens are passed on, since the API checks every request itself. While there is no
user yet, the set-up page is all that a browser gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.access.sessions import SignedIn
from core.errors import StorageError
from core.web import origin, responses
from core.web.blocking import Blocking
from core.web.cookies import Cookies
from core.web.errors import setup_required
from core.web.ports import WebHub

_log = structlog.get_logger("bongsu.web")
USER_HEADER: Final = "X-Bongsu-User"
ROLE_HEADER: Final = "X-Bongsu-Role"
SESSION_HEADER: Final = "X-Bongsu-Sid"
_IDENTITY_HEADERS: Final = frozenset(
    name.lower().encode() for name in (USER_HEADER, ROLE_HEADER, SESSION_HEADER)
)
_OPEN_PATHS: Final = frozenset({"/healthz", "/login", "/auth/logout"})
_SETUP_PATH: Final = "/setup"
RECHECK_SECONDS: Final = 4.0
"""How often an open websocket is asked whether its session still lives."""
GRACE_SECONDS: Final = 12.0
"""How long the page of an ended session has to lead its reader away before its websocket is cut.

Meanwhile it gets nothing: the pages ask for the session themselves each time they draw.
"""


class Gate:
    """Pure ASGI, so that websockets pass it too."""

    def __init__(
        self,
        app: ASGIApp,
        hub: WebHub,
        recheck_seconds: float = RECHECK_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._app = app
        self._hub = hub
        self._recheck_seconds = recheck_seconds
        self._grace_seconds = grace_seconds
        self._cookies = Cookies(hub.settings, hub.access.keyring)
        self._blocking = Blocking()
        self._is_set_up = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        scope = dict(scope, headers=[pair for pair in scope["headers"] if pair[0] not in _IDENTITY_HEADERS])
        if scope["path"] == "/healthz":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if not origin.is_host_allowed(headers, self._hub.settings):
            await responses.refuse(scope, receive, send, 400)
        elif _shows_token(scope, headers):
            await self._app(scope, receive, send)
        elif not await self._has_users():
            await self._only_setup(scope, receive, send)
        elif scope["method"] not in origin.SAFE_METHODS and not self._is_ours(headers):
            await responses.refuse(scope, receive, send, 403)
        elif scope["path"] in _OPEN_PATHS:
            await self._app(scope, receive, send)
        else:
            await self._signed_in_only(scope, receive, send)

    async def _only_setup(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == _SETUP_PATH:
            is_ours = scope["method"] in origin.SAFE_METHODS or self._is_ours(Headers(scope=scope))
            await (
                self._app(scope, receive, send) if is_ours else responses.refuse(scope, receive, send, 403)
            )
        elif responses.wants_page(scope):
            await responses.redirect(_SETUP_PATH)(scope, receive, send)
        elif scope["path"].startswith("/api/"):
            await responses.refuse(scope, receive, send, 401)
        else:
            await setup_required()(scope, receive, send)

    async def _signed_in_only(self, scope: Scope, receive: Receive, send: Send) -> None:
        signed_in = await self._signed_in(scope)
        if signed_in is not None:
            await self._app(_introduced(scope, signed_in), receive, send)
        elif responses.wants_page(scope):
            await responses.redirect_to_sign_in(scope)(scope, receive, send)
        else:
            await responses.refuse(scope, receive, send, 401)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        is_ours = origin.is_host_allowed(headers, self._hub.settings) and self._is_ours(headers)
        signed_in = await self._signed_in(scope) if is_ours else None
        if signed_in is None:
            await responses.refuse_websocket(receive, send)
            return
        line = _GuardedLine(
            receive,
            send,
            self._recheck_seconds,
            self._grace_seconds,
            lambda: self._still_signed_in(signed_in.sid),
        )
        try:
            await self._app(_introduced(scope, signed_in), line.receive, line.send)
        finally:
            line.release()

    def _is_ours(self, headers: Headers) -> bool:
        return origin.is_from_our_page(headers, self._hub.settings)

    async def _has_users(self) -> bool:
        # Users can be switched off but never removed, so that the answer yes is good for ever.
        if not self._is_set_up:
            self._is_set_up = not await self._blocking(self._hub.access.needs_setup)
        return self._is_set_up

    async def _signed_in(self, scope: Scope) -> SignedIn | None:
        token = self._cookies.session(Headers(scope=scope))
        return await self._blocking(lambda: self._hub.access.session(token)) if token else None

    async def _still_signed_in(self, sid: str) -> bool:
        find = self._hub.access.session_by_sid
        return await self._blocking(lambda: find(sid, counts_as_use=False)) is not None


class _GuardedLine:
    """One open websocket, which is cut a grace period after its session has ended."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        recheck_seconds: float,
        grace_seconds: float,
        is_alive: Callable[[], Awaitable[bool]],
    ) -> None:
        self._receive = receive
        self._send = send
        self._recheck_seconds = recheck_seconds
        self._grace_seconds = grace_seconds
        self._is_alive = is_alive
        self._next: asyncio.Future[Message] | None = None
        self._cut_with: int | None = None
        self._checked_at = 0.0
        self._ended_at: float | None = None

    async def receive(self) -> Message:
        """The next message; a farewell when the session has ended, or as soon as nobody can say that it lives."""
        while self._cut_with is None:
            if self._next is None:
                self._next = asyncio.ensure_future(self._receive())
            await asyncio.wait({self._next}, timeout=self._recheck_seconds)
            reason = await self._reason_to_cut() if self._is_due() else None
            if reason is not None:
                await self._cut(reason)
            elif self._next.done():
                message, self._next = self._next.result(), None
                return message
        return {"type": "websocket.disconnect", "code": self._cut_with}

    async def send(self, message: Message) -> None:
        """Pass a message on, unless the line was cut."""
        if self._cut_with is None:
            await self._send(message)

    def release(self) -> None:
        """Stop waiting for the browser."""
        if self._next is not None:
            self._next.cancel()

    def _is_due(self) -> bool:
        # A browser that keeps talking must not put the check off.
        now = asyncio.get_running_loop().time()
        if now - self._checked_at < self._recheck_seconds:
            return False
        self._checked_at = now
        return True

    async def _reason_to_cut(self) -> int | None:
        try:
            if await self._is_alive():
                return None
        except StorageError as error:
            _log.error("websocket_cut", error=str(error))
            return responses.TRY_AGAIN_LATER
        now = asyncio.get_running_loop().time()
        if self._ended_at is None:
            self._ended_at = now
        return responses.NOT_ALLOWED if now - self._ended_at >= self._grace_seconds else None

    async def _cut(self, reason: int) -> None:
        self._cut_with = reason
        await self._send({"type": "websocket.close", "code": reason})


def _introduced(scope: Scope, signed_in: SignedIn) -> Scope:
    """The scope with headers that say who is asking. Names may be in any script: they travel percent-encoded."""
    return dict(
        scope,
        headers=[
            *scope["headers"],
            (USER_HEADER.lower().encode(), quote(signed_in.name).encode()),
            (ROLE_HEADER.lower().encode(), signed_in.role.value.encode()),
            (SESSION_HEADER.lower().encode(), signed_in.sid.encode()),
        ],
    )


def _shows_token(scope: Scope, headers: Headers) -> bool:
    return scope["path"].startswith("/api/") and "authorization" in headers
