"""How much a server takes from anybody, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds on what one request and all requests together may use.

    upload_bytes, pixels: of one image. places: uploads that are being received, wait, or are at
    work; held_bytes: what these may have sent, together. More are answered 503. upload_seconds:
    to send an image; header_seconds: to send a request's head; request_seconds: for all of it.
    connections: open ones. workers: images through the network at a time.
    """

    upload_bytes: int = 16 * 2**20
    pixels: int = 40_000_000
    places: int = 64
    held_bytes: int = 256 * 2**20
    upload_seconds: float = 30.0
    header_seconds: float = 10.0
    request_seconds: float = 120.0
    connections: int = 256
    workers: int = 1
