"""How the API says no: always `{code, message, trace_id}`, and never what was sent."""

from __future__ import annotations

from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from core.errors import AccessRefused, InvalidRequest, StorageError
from core.model.identity import current_trace_id

_log = structlog.get_logger("bongsu.web")
_CODES: Final = {
    400: ("bad_request", "The request cannot be understood."),
    401: ("sign_in_required", "Sign in, or send `Authorization: Bearer` with an API token."),
    403: ("forbidden", "Your role does not allow this."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This method is not offered here."),
    413: ("too_large", "The request is too large."),
    422: ("invalid_request", "The request is not valid."),
    500: ("internal_error", "Something went wrong here. The trace id finds it in the log."),
    503: ("unavailable", "The database does not answer. Try again in a moment."),
}


class ErrorOut(BaseModel):
    """Why a request was refused. `trace_id` finds it in the log."""

    code: str
    message: str
    trace_id: str


RETRY_AFTER_SECONDS: Final = 5
"""When to ask again a service that cannot answer now."""
_MORE_HEADERS: Final = {
    401: {"WWW-Authenticate": "Bearer"},
    503: {"Retry-After": str(RETRY_AFTER_SECONDS)},
}
_OF_EVERY_ROUTE: Final = (401, 403, 503)


def error_response(status: int, message: str | None = None, *, code: str | None = None) -> JSONResponse:
    """The answer for a status; `message` and `code` replace the usual words."""
    usual_code, usual = _CODES.get(status, ("error", "The request was refused."))
    body = ErrorOut(code=code or usual_code, message=message or usual, trace_id=current_trace_id())
    return JSONResponse(
        body.model_dump(), status, {"Cache-Control": "no-store", **_MORE_HEADERS.get(status, {})}
    )


def described_errors() -> dict[int | str, dict[str, Any]]:
    """What every route may answer besides its own, for the description of the API."""
    return {status: {"model": ErrorOut, "description": _CODES[status][1]} for status in _OF_EVERY_ROUTE}


def setup_required() -> JSONResponse:
    """The answer to whatever is no page, while there is no user yet."""
    return error_response(
        503,
        "Bongsu is not set up yet. Open the set-up address that the start printed.",
        code="setup_required",
    )


def answer_errors(app: FastAPI) -> None:
    """Let every error of `app` leave in our form."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(AccessRefused, _access_refused)
    app.add_exception_handler(InvalidRequest, _invalid_by_core)
    app.add_exception_handler(StorageError, _no_storage)
    app.add_exception_handler(Exception, _unexpected)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    # Only declared names are told; a name that nobody declared is input, and input is never echoed.
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    declared = [fault for fault in faults if fault["type"] != "extra_forbidden"]
    places = sorted({".".join(str(part) for part in fault["loc"][:2]) for fault in declared})
    return error_response(422, f"The request is not valid: {', '.join(places)}." if places else None)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    return error_response(error.status_code if isinstance(error, HTTPException) else 500)


async def _access_refused(_request: Request, error: Exception) -> JSONResponse:
    return error_response(403, str(error))


async def _invalid_by_core(_request: Request, _error: Exception) -> JSONResponse:
    return error_response(422)


async def _no_storage(_request: Request, error: Exception) -> JSONResponse:
    _log.error("storage_unavailable", error=str(error))
    return error_response(503)


async def _unexpected(_request: Request, error: Exception) -> JSONResponse:
    _log.error("request_failed", error_type=type(error).__name__, exc_info=error)
    return error_response(500)
