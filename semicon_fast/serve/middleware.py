"""Middleware for every request: Host check, header and time limits, security headers."""

import ipaddress
from collections.abc import Collection

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import NOTHING, error_response

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
MAX_HEADERS = 16 * 1024
_ENCODED_HEADERS = [
    (name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()
]


class RequestGuard:
    """ASGI middleware that checks the Host header, limits headers and time, and adds headers.

    The Host check defends against DNS rebinding: a page of another site can make its own host
    name resolve to this server and then read the responses, but the browser still sends that name
    as Host. An IP address cannot be rebound and is always accepted; host names are accepted if
    they are in `names` or "localhost".

    Args:
        app: the application to wrap.
        names: accepted host names.
        seconds: time limit of a request; when it passes before the response starts, the status
            is 503.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], seconds: float) -> None:
        self._app, self._seconds = app, seconds
        self._names = {name.lower().rstrip(".") for name in names} | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, head = False, scope["method"] == "HEAD"
        if head:
            scope = {**scope, "method": "GET"}

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = {name for name, _ in _ENCODED_HEADERS}
                kept = [(n, v) for n, v in message.get("headers", ()) if n.lower() not in own]
                message = {**message, "headers": [*kept, *_ENCODED_HEADERS]}
            elif head:
                message = {**message, "body": b""}
            await send(message)

        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._is_allowed_host(hosts[0].decode("latin-1")):
            refused = error_response(403, "the Host header is not a name of this server")
            await refused(scope, receive, answer)
            return
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADERS:
            detail = f"the headers must have at most {MAX_HEADERS} bytes in total"
            await error_response(431, detail)(scope, receive, answer)
            return
        if b"%2f" in scope.get("raw_path", b"").lower():
            # It is decoded in `path`, where it would divide the address as a plain slash does.
            await error_response(404, NOTHING)(scope, receive, answer)
            return
        try:
            with anyio.fail_after(self._seconds):
                await self._app(scope, receive, answer)
        except TimeoutError:
            if started:
                raise
            detail, retry = "the request took too long; try again later", {"Retry-After": "10"}
            await error_response(503, detail, retry)(scope, receive, answer)

    def _is_allowed_host(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdigit():
            name = host
        if name.startswith("[") and name.endswith("]"):
            name = name[1:-1]
        try:
            ipaddress.ip_address(name)
            return True
        except ValueError:
            return name.lower().rstrip(".") in self._names
