"""Error handlers: every error response is {"detail": one sentence}, without server paths."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ..data.decode import BrokenImageError
from . import schemas
from .pictures import MissingImageError
from .responses import ExactJSON
from .workers import Busy

RETRY_SECONDS = 1
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": schemas.Problem, "description": "The request was rejected."},
    503: {
        "model": schemas.Problem,
        "description": "The server is busy; retry after `Retry-After` seconds.",
    },
}


def add_error_handlers(app: FastAPI) -> None:
    """Register the error handlers on `app`."""
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(BrokenImageError, _broken_image)
    app.add_exception_handler(MissingImageError, _missing_image)
    app.add_exception_handler(Busy, _pool_busy)
    app.add_exception_handler(Exception, _internal_error)


def error_response(status: int, detail: str, headers: Any = None) -> Response:
    """The response of every error, from handlers and middleware."""
    return ExactJSON({"detail": detail}, status, headers)


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return error_response(405, f"this address supports {allowed} only", error.headers)
    if error.detail == "Not Found":
        return error_response(
            404, "there is nothing at this address; /openapi.json lists all addresses"
        )
    return error_response(error.status_code, error.detail, error.headers)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name, reason = str(first["loc"][-1])[:60], first["msg"][:1].lower() + first["msg"][1:]
    return error_response(422, f"{name}: {reason}, got {str(first.get('input'))[:60]!r}")


async def _broken_image(request: Request, error: Exception) -> Response:
    return error_response(422, str(error))


async def _missing_image(request: Request, error: Exception) -> Response:
    return error_response(404, str(error))


async def _pool_busy(request: Request, error: Exception) -> Response:
    return error_response(
        503,
        "the server is busy with other requests; try again in a moment",
        {"Retry-After": str(RETRY_SECONDS)},
    )


async def _internal_error(request: Request, error: Exception) -> Response:
    return error_response(500, "internal server error; see the server's log")
