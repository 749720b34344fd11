"""Error handlers: every error response is {"detail": one sentence}, without server paths."""

from collections.abc import Mapping
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

NOTHING = "there is nothing at this address; /openapi.json describes the API's addresses"
RETRY = {"Retry-After": "1"}
DESCRIPTIONS = {
    400: "The request is not valid HTTP, or its body ended before `Content-Length` bytes.",
    403: "The `Host` header is not a name of this server.",
    404: "The gallery has no such image, or its file cannot be read any more.",
    405: "The method is not one that this address supports.",
    408: "The body did not arrive in time.",
    409: "This server has no model, its network has no attention maps, or parameters that exclude "
    "each other were given together.",
    411: "The request has no `Content-Length`.",
    413: "The body is larger than `max_bytes` of `/api/gallery`.",
    415: "The `Content-Type` is not one of an image.",
    422: "A parameter is unknown, repeated or not valid, or the body is empty, larger than "
    "`max_pixels` of `/api/gallery` or not an image that can be decoded.",
    431: "The request's headers are too large.",
    500: "The server failed; its log says why.",
    503: "The server is busy, or the request took too long.",
}
ALLOW = {
    "description": "Methods that are supported.",
    "required": True,
    "schema": {"type": "string"},
}
RETRY_AFTER = {
    "description": "Seconds after which to try again.",
    "required": True,
    "schema": {"type": "integer", "minimum": 0},
}
HEADERS = {405: {"headers": {"Allow": ALLOW}}, 503: {"headers": {"Retry-After": RETRY_AFTER}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The description of the error responses with these statuses, for FastAPI's `responses`."""
    return {
        status: {
            "model": schemas.Problem,
            "description": DESCRIPTIONS[status],
            **HEADERS.get(status, {}),
        }
        for status in statuses
    }


# What every address may answer.
PROBLEMS = problems(400, 403, 405, 422, 431, 500, 503)


def add_error_handlers(app: FastAPI) -> None:
    """Register the error handlers on `app`."""
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(BrokenImageError, _broken_image)
    app.add_exception_handler(MissingImageError, _missing_image)
    app.add_exception_handler(Busy, _pool_busy)
    app.add_exception_handler(Exception, _internal_error)


def error_response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The response of every error, from handlers and middleware."""
    return ExactJSON({"detail": detail}, status, headers)


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        # Starlette's order of several methods differs between runs; HEAD is answered as GET is.
        methods = set((error.headers or {})["Allow"].split(", "))
        allowed = ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))
        return error_response(405, f"this address supports {allowed} only", {"Allow": allowed})
    if error.detail == "Not Found":
        return error_response(404, NOTHING)
    return error_response(error.status_code, error.detail, error.headers)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name, reason = str(first["loc"][-1])[:60], first["msg"].removeprefix("Input ")
    if first["type"] == "extra_forbidden":
        return error_response(422, f"{name!r} is not a parameter of this address")
    return error_response(422, f"{name} {reason}, got {str(first.get('input'))[:60]!r}")


async def _broken_image(request: Request, error: Exception) -> Response:
    return error_response(422, str(error))


async def _missing_image(request: Request, error: Exception) -> Response:
    return error_response(404, str(error))


async def _pool_busy(request: Request, error: Exception) -> Response:
    return error_response(
        503,
        "the server is busy with other requests; try again in a moment",
        RETRY,
    )


async def _internal_error(request: Request, error: Exception) -> Response:
    return error_response(500, "internal server error; see the server's log")
