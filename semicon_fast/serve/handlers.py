"""Shared parts of the request handlers: validation, response schemas, bounded uploads."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import anyio
import numpy as np
from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

from ..data.decode import FORMATS
from . import schemas
from .limits import Limits
from .pictures import Pictures
from .searcher import Maps, Searcher, SearchHit
from .workers import Pool

T = TypeVar("T")
# The Content-Type of clients that do not know the format of a file. Only the text of the
# description has it: a schema for it would promise that any bytes are an image.
UNKNOWN_KIND = "application/octet-stream"
# OpenAPI description of uploads. The raw image is the request body, so its size is known from the
# Content-Length before anything is parsed, and nothing is written to disk.
UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "description": f"The bytes of an image file: {', '.join(FORMATS)}, whichever of the "
        "`image/` types the `Content-Type` names. `max_bytes` and `max_pixels` of `/api/gallery` "
        f"are the bounds. `{UNKNOWN_KIND}` will do as well.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary", "minLength": 1}}},
    }
}


class HandlerContext(NamedTuple):
    """What all request handlers share.

    heavy: thread pool for uploads and everything that runs the network.
    light: thread pool for searches by number and thumbnails.
    """

    searcher: Searcher
    pictures: Pictures
    limits: Limits
    heavy: Pool
    light: Pool

    def valid_number(self, number: int) -> int:
        """`number`, if it is an image of the gallery; otherwise HTTPException 404."""
        count = len(self.searcher.gallery)
        if number >= count:
            raise HTTPException(404, f"there is no image {number}: the gallery has {count} images")
        return number

    def part_weights(self, query: schemas.SearchQuery) -> dict[str, int] | None:
        """`Searcher.weights` of a query.

        HTTPException 409 if both a part and weights are given, 422 if they are invalid.
        """
        if query.part is not None and query.weights is not None:
            raise HTTPException(409, "part and weights cannot be given together")
        try:
            return self.searcher.weights(query.part, query.weights)
        except ValueError as error:
            raise HTTPException(422, str(error)) from None

    def require_network(self, maps: bool = False) -> None:
        """HTTPException 409 without a network or, with `maps`, without attention maps."""
        if self.searcher.network is None:
            raise HTTPException(409, "this server has no model; search by an image of the gallery")
        if maps and not self.searcher.has_maps:
            raise HTTPException(409, "this gallery's network has no attention maps")

    def picture_fields(self, number: int) -> dict[str, Any]:
        """The fields of `schemas.Picture` for one image."""
        return {
            "number": number,
            "name": self.pictures.name(number),
            "label": self.searcher.gallery.labels[number],
            "image": f"/api/images/{number}",
        }

    def hits_response(self, found: list[SearchHit], weights: dict[str, int] | None) -> schemas.Hits:
        """Search results in the response schema."""
        parts = list(self.searcher.parts)
        hits = [
            schemas.Hit(
                **self.picture_fields(f.number),
                distance=f.distance,
                by_part=f.by_part,
                score=f.score,
            )
            for f in found
        ]
        counted = [1 if weights is None else weights.get(name, 0) for name in parts]
        return schemas.Hits(parts=parts, weights=counted, hits=hits)

    def maps_response(self, found: Maps) -> schemas.AttentionMaps:
        """Attention maps in the response schema, each divided by its own peak."""
        peaks = np.array(found.peaks).reshape(-1, 1, 1)
        shares = np.divide(
            found.values, peaks, out=np.zeros(found.values.shape), where=peaks > 0
        ).clip(0, 1)
        names = [name for name in self.searcher.parts if name != "global"]
        return schemas.AttentionMaps(
            parts=names if len(names) == len(shares) else ["code"] * len(shares),
            height=shares.shape[1],
            width=shares.shape[2],
            values=[m.round(4).ravel().tolist() for m in shares],
            peaks=found.peaks,
            box=list(found.box),
        )

    async def process_upload(self, request: Request, work: Callable[..., T], *arguments: Any) -> T:
        """Receive the request body and run `work(body, *arguments)` in the heavy thread pool.

        Raises:
            HTTPException: 400 client disconnected, 408 upload too slow, 411 no Content-Length,
                413 too large, 415 not an image, 422 empty.
            Busy: the pool has no room.
        """
        size = _checked_length(request, self.limits.upload_bytes)
        with self.heavy.place(size) as place:
            try:
                with anyio.fail_after(self.limits.upload_seconds):
                    content = bytearray()
                    async for chunk in request.stream():
                        content += chunk
            except TimeoutError:
                raise HTTPException(
                    408, f"the image did not arrive within {self.limits.upload_seconds:g} seconds"
                ) from None
            except ClientDisconnect:
                raise HTTPException(400, "the upload was interrupted") from None
            return await place.run(work, bytes(content), *arguments)


async def refuse_repeated(request: Request) -> None:
    """HTTPException 422 for a parameter that is given more than once."""
    for name, count in Counter(name for name, _ in request.query_params.multi_items()).items():
        if count > 1:
            raise HTTPException(422, f"{name[:60]!r} is given {count} times; give it once")


def _checked_length(request: Request, most: int) -> int:
    """The body's size in bytes from the headers, before any of it is read.

    Raises HTTPException for an unsuitable Content-Type or Content-Length.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != UNKNOWN_KIND and not re.fullmatch(r"image/[a-z0-9!#$%&'*+.^_`|~-]+", kind):
        raise HTTPException(
            415,
            "send the image itself as the body, with a Content-Type such as image/jpeg or "
            f"image/png, got {kind[:60]!r}",
        )
    given = request.headers.get("content-length", "")
    if not re.fullmatch("[0-9]{1,20}", given):
        raise HTTPException(411, "the request must have a Content-Length")
    size = int(given)
    if size > most:
        raise HTTPException(413, f"the image must have at most {most} bytes, got {size}")
    if size == 0:
        raise HTTPException(422, "the request has no image: its body is empty")
    return size
