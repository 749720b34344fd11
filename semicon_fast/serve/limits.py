"""The server's resource limits."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds on what one request and all requests together may use.

    Attributes:
        upload_bytes: size of one uploaded image file.
        pixels: width times height of one uploaded image.
        places: uploads that are being received, are queued or are being processed; further ones
            are answered with status 503.
        held_bytes: total size of these uploads; further ones are answered with status 503.
        upload_seconds: time to send an image.
        header_seconds: time to send a request's headers.
        request_seconds: time for a whole request, including the response.
        connections: open connections.
        workers: images that go through the network at the same time.
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
