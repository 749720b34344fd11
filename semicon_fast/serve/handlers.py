"""What every address needs: checks, answers in their public form, images received in bounds."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import anyio
import numpy as np
from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

from . import schemas
from .limits import Limits
from .pictures import Pictures
from .searcher import Found, Maps, Searcher
from .workers import Pool

T = TypeVar("T")
# The image itself is the body: nothing to parse before its size is known, nothing put on disk.
IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "description": "The image file's content: JPEG, PNG, WebP, BMP, GIF or TIFF.",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/*", "application/octet-stream")
        },
    }
}


class Desk(NamedTuple):
    """What every address needs. heavy: uploads and the network; light: the rest."""

    searcher: Searcher
    pictures: Pictures
    limits: Limits
    heavy: Pool
    light: Pool

    def number(self, number: int) -> int:
        count = len(self.searcher.gallery)
        if number >= count:
            raise HTTPException(404, f"there is no image {number}: the gallery has {count}")
        return number

    def weights(self, query: schemas.SearchQuery) -> dict[str, int] | None:
        try:
            return self.searcher.weights(query.part, query.weights)
        except ValueError as error:
            raise HTTPException(422, str(error)) from None

    def needs_network(self, maps: bool = False) -> None:
        if self.searcher.network is None:
            raise HTTPException(409, "this server has no model; search by an image of the gallery")
        if maps and not self.searcher.has_maps:
            raise HTTPException(409, "this gallery's network has no attention maps")

    def picture(self, number: int) -> dict[str, Any]:
        return {
            "number": number,
            "name": self.pictures.name(number),
            "label": self.searcher.gallery.labels[number],
            "image": f"/api/images/{number}",
        }

    def hits(self, found: list[Found], weights: dict[str, int] | None) -> schemas.Hits:
        parts = list(self.searcher.parts)
        hits = [
            schemas.Hit(
                **self.picture(f.number), distance=f.distance, by_part=f.by_part, score=f.score
            )
            for f in found
        ]
        counted = [1 if weights is None else weights.get(name, 0) for name in parts]
        return schemas.Hits(parts=parts, weights=counted, hits=hits)

    def maps(self, found: Maps) -> schemas.AttentionMaps:
        peaks = np.array(found.peaks).reshape(-1, 1, 1)
        shares = np.divide(
            found.values, peaks, out=np.zeros(found.values.shape), where=peaks > 0
        ).clip(0, 1)
        return schemas.AttentionMaps(
            parts=[name for name in self.searcher.parts if name != "global"],
            height=shares.shape[1],
            width=shares.shape[2],
            values=[m.round(4).ravel().tolist() for m in shares],
            peaks=found.peaks,
            box=found.box,
        )

    async def upload(self, request: Request, work: Callable[..., T], *arguments: Any) -> T:
        """`work(content, *arguments)` in a thread, of the image that the request brings."""
        size = _length(request, self.limits.upload_bytes)
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
                raise HTTPException(400, "the image broke off") from None
            return await place.run(work, bytes(content), *arguments)


def _length(request: Request, most: int) -> int:
    """The body's size, before any of it is read. Raises HTTPException."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.startswith("image/") and kind != "application/octet-stream":
        raise HTTPException(
            415,
            "send the image itself as the body, with a Content-Type of image/jpeg, image/png or "
            f"the like, got {kind[:60]!r}",
        )
    given = request.headers.get("content-length", "")
    if not given.isdigit():
        raise HTTPException(411, "the request must say its Content-Length")
    size = int(given)
    if size > most:
        raise HTTPException(413, f"the image must have at most {most} bytes, got {size}")
    if size == 0:
        raise HTTPException(422, "the request has no image: its body is empty")
    return size
