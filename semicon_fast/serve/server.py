"""The uvicorn server: listening socket, request-head deadline, shutdown on Ctrl-C."""

import asyncio
import socket
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from .errors import RETRY, error_response
from .limits import Limits
from .middleware import SECURITY_HEADERS

STOP_SECONDS = 5
MAX_HEAD_BYTES = 32 * 1024


def listen(host: str, port: int) -> tuple[socket.socket, str]:
    """Open a listening socket.

    Args:
        host: host name or IP address of this machine.
        port: TCP port; 0 chooses a free one.

    Returns:
        the socket and the URL to open in a browser.

    Raises:
        ValueError: the host is not an address of this machine, or the port cannot be used.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "no name of a host"
        raise ValueError(f"host {host!r} is not an address of this machine: {cause}") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ValueError(
            f"cannot listen at {host} port {port}: {error.strerror}; choose another with --port"
        ) from None
    shown = f"[{host}]" if ":" in host else host
    return listening, f"http://{shown}:{listening.getsockname()[1]}/"


def http_protocol(limits: Limits) -> type[H11Protocol]:
    """uvicorn's HTTP protocol with a deadline for receiving a request's head (line and headers), a
    bound on open connections, and errors in the form of all others.

    A connection whose head is not complete after `header_seconds` is closed; receiving further
    bytes does not extend the deadline. A connection that is idle between two requests is closed
    earlier, by uvicorn's keep-alive timeout.
    """
    closing = {"Connection": "close", **SECURITY_HEADERS}
    invalid = error_response(400, "the request is not valid HTTP", closing)
    full = error_response(
        503, "the server has too many connections; try again in a moment", {**RETRY, **closing}
    )

    class DeadlineProtocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self.app = full
            self._update_deadline()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._update_deadline()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._update_deadline()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self._deadline is not None:
                self._deadline.cancel()

        def send_400_response(self, msg: str) -> None:
            at_work = self.cycle is not None and not self.cycle.response_complete
            if at_work:
                # The body can be malformed too; the application's response is dropped then.
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                head = h11.Response(
                    status_code=400, headers=invalid.raw_headers, reason=b"Bad Request"
                )
                no_body = at_work and self.scope["method"] == "HEAD"
                body = h11.Data(b"" if no_body else bytes(invalid.body))
                for event in (head, body, h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event))
            self.transport.close()

        def _update_deadline(self) -> None:
            at_work = self.cycle is not None and not self.cycle.response_complete
            if at_work and self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            elif not at_work and self._deadline is None:
                self._deadline = self.loop.call_later(limits.header_seconds, self.transport.close)

    return DeadlineProtocol


def configure_server(app: ASGIApp, limits: Limits) -> uvicorn.Server:
    """A uvicorn server for the application within `limits`, without a Server header."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=http_protocol(limits),
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_SECONDS,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
    )


def run(app: ASGIApp, listening: socket.socket, limits: Limits) -> None:
    """Serve on the socket `listening` until Ctrl-C.

    Running requests get up to `STOP_SECONDS` to finish; then KeyboardInterrupt is raised.
    """
    configure_server(app, limits).run(sockets=[listening])
    # uvicorn re-raises the signal, which has no effect if the caller ignores SIGINT.
    raise KeyboardInterrupt
