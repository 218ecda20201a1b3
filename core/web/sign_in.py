"""The routes to come in and to leave: `/login`, `/auth/logout`, and `/setup` while there is no user."""

from __future__ import annotations

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from core.access import names, passwords
from core.errors import AccessRefused
from core.web import origin, pages, responses
from core.web.blocking import Blocking
from core.web.cookies import Cookies
from core.web.language import language_of
from core.web.pages import Form
from core.web.ports import WebHub


class SignInPages:
    """Serves the two forms and takes them back."""

    def __init__(self, hub: WebHub) -> None:
        self._hub = hub
        self._cookies = Cookies(hub.settings, hub.access.keyring)
        self._blocking = Blocking()

    def routes(self) -> list[Route]:
        return [
            Route("/login", self.show_sign_in, methods=["GET"]),
            Route("/login", self.sign_in, methods=["POST"]),
            # The dashboard's own sign-out leads here by GET.
            Route("/auth/logout", self.sign_out, methods=["GET", "POST"]),
            Route("/setup", self.show_set_up, methods=["GET"]),
            Route("/setup", self.set_up, methods=["POST"]),
        ]

    async def show_sign_in(self, request: Request) -> Response:
        target = origin.safe_next(request.query_params.get("next", "/"))
        token = self._cookies.session(request.headers)
        signed_in = await self._blocking(lambda: self._hub.access.session(token))
        if signed_in is not None:
            return responses.redirect(target)
        return self._sign_in_page(request, target)

    async def sign_in(self, request: Request) -> Response:
        form = await request.form(max_files=0)
        target, name, password = (
            origin.safe_next(_text(form, "next")),
            _text(form, "name"),
            _text(form, "password"),
        )
        if not self._cookies.is_csrf_right(request.headers, _text(form, "csrf")):
            return self._sign_in_page(request, target, fault="stale", name=name)
        address = origin.address_of(request.scope, self._hub.settings)
        try:
            token = await self._blocking(lambda: self._hub.access.sign_in(name, password, address))
        except AccessRefused:
            return self._sign_in_page(request, target, fault="refused", name=name)
        await self._end_session(request)
        answer = responses.redirect(target)
        self._cookies.set_session(answer, token)
        return answer

    async def sign_out(self, request: Request) -> Response:
        if origin.is_foreign(request.headers):
            raise HTTPException(403)
        await self._end_session(request)
        answer = responses.redirect("/login")
        self._cookies.clear_session(answer)
        return answer

    async def show_set_up(self, request: Request) -> Response:
        if not await self._blocking(self._hub.access.needs_setup):
            return responses.redirect("/login")
        return self._set_up_page(request, request.query_params.get("token", ""))

    async def set_up(self, request: Request) -> Response:
        form = await request.form(max_files=0)
        token, name, password = _text(form, "token"), _text(form, "name"), _text(form, "password")
        fault = self._set_up_fault(request, form)
        if fault:
            return self._set_up_page(request, token, fault=fault, name=name)
        address = origin.address_of(request.scope, self._hub.settings)
        complete, sign_in = self._hub.access.complete_setup, self._hub.access.sign_in
        try:
            await self._blocking(lambda: complete(token, name, password, address=address))
        except AccessRefused:
            return self._set_up_page(request, token, fault="token_refused", name=name)
        answer = responses.redirect("/")
        self._cookies.set_session(answer, await self._blocking(lambda: sign_in(name, password, address)))
        return answer

    def _set_up_fault(self, request: Request, form: FormData) -> str:
        """What is wrong with a set-up form, as a key of the words; empty when nothing is."""
        if not self._cookies.is_csrf_right(request.headers, _text(form, "csrf")):
            return "stale"
        if names.normal(_text(form, "name")) is None:
            return "name_refused"
        if _text(form, "password") != _text(form, "again"):
            return "differ"
        fault = passwords.fault_of(_text(form, "password"))
        return fault.value if fault else ""

    async def _end_session(self, request: Request) -> None:
        token = self._cookies.session(request.headers)
        if token:
            await self._blocking(lambda: self._hub.access.sign_out(token))

    def _sign_in_page(self, request: Request, target: str, *, fault: str = "", name: str = "") -> Response:
        form, nonce = self._form(request, fault)
        return self._html(pages.sign_in_page(form, target=target, name=name), nonce, fault)

    def _set_up_page(self, request: Request, token: str, *, fault: str = "", name: str = "") -> Response:
        form, nonce = self._form(request, fault)
        return self._html(pages.set_up_page(form, token=token, name=name), nonce, fault)

    def _form(self, request: Request, fault: str) -> tuple[Form, str]:
        nonce = self._cookies.csrf(request.headers)
        return Form(language_of(request.headers), self._cookies.csrf_field(nonce), fault), nonce

    def _html(self, page: str, nonce: str, fault: str) -> Response:
        answer = HTMLResponse(page, 400 if fault else 200, {"Cache-Control": "no-store"})
        self._cookies.set_csrf(answer, nonce)
        return answer


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""
