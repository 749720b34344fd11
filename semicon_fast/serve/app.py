"""The addresses: a page, pictures by number, searches, maps, and their OpenAPI description."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from importlib import resources
from typing import Annotated

from fastapi import FastAPI, Path, Query, Request, Response
from starlette.types import ASGIApp

from .. import __version__
from ..data.decode import decode_bytes
from . import schemas
from .errors import PROBLEMS, explain
from .handlers import IMAGE_BODY, Desk
from .limits import Limits
from .middleware import Guard
from .pictures import Pictures
from .searcher import Found, Searcher
from .workers import Pool

Number = Annotated[int, Path(ge=0, le=2**62, description="Number of an image in the gallery.")]
STATIC = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def create_app(
    searcher: Searcher, pictures: Pictures, limits: Limits, names: Collection[str] = ()
) -> ASGIApp:
    """The application. names: hosts that it goes by besides localhost and addresses in numbers."""
    heavy = Pool("network", limits.workers, limits.places, limits.held_bytes)
    light = Pool("pictures", 2, limits.connections)
    desk = Desk(searcher, pictures, limits, heavy, light)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        heavy.close()
        light.close()

    app = FastAPI(
        lifespan=lifespan,
        title="semicon_fast gallery",
        version=__version__,
        description="Neighbours of images by binary codes. A failure is a sentence in `detail`.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=PROBLEMS,
    )
    explain(app)
    _add_gallery(app, desk)
    _add_uploads(app, desk)
    _add_page(app)
    return Guard(app, names, limits.request_seconds)


def _add_gallery(app: FastAPI, desk: Desk) -> None:
    """What needs no network: the gallery, its pictures, searches by number."""
    searcher = desk.searcher

    @app.get("/api/gallery", summary="What is in the gallery")
    async def gallery(query: Annotated[schemas.NoQuery, Query()]) -> schemas.About:
        return schemas.About(
            count=len(searcher.gallery),
            bits=searcher.gallery.bits,
            parts=[schemas.Part(name=n, bits=b) for n, b in searcher.parts.items()],
            network=None if searcher.network is None else searcher.network.network,
            has_maps=searcher.has_maps,
            max_bytes=desk.limits.upload_bytes,
            max_pixels=desk.limits.pixels,
        )

    @app.get("/api/images", summary="Images by number")
    async def images(query: Annotated[schemas.ListQuery, Query()]) -> schemas.Pictures:
        count = len(searcher.gallery)
        numbers = range(min(query.start, count), min(query.start + query.count, count))
        listed = [schemas.Picture(**desk.picture(number)) for number in numbers]
        return schemas.Pictures(count=count, images=listed)

    @app.get(
        "/api/images/{number}",
        summary="A picture, as a small JPEG",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}},
    )
    async def image(
        number: Number, query: Annotated[schemas.PictureQuery, Query()], request: Request
    ) -> Response:
        desk.number(number)
        version = await desk.light.run(desk.pictures.version, number, query.side)
        headers = {"ETag": f'"{version}"', "Cache-Control": "private, no-cache"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        small = await desk.light.run(desk.pictures.small, number, query.side)
        return Response(small, media_type="image/jpeg", headers=headers)

    @app.get("/api/images/{number}/neighbours", summary="The nearest to one of the gallery")
    async def neighbours(
        number: Number, query: Annotated[schemas.SearchQuery, Query()]
    ) -> schemas.Hits:
        weights = desk.weights(query)
        found = await desk.light.run(searcher.by_number, desk.number(number), query.k, weights)
        return desk.hits(found, weights)

    @app.get("/api/images/{number}/maps", summary="Attention maps over one of the gallery")
    async def maps(
        number: Number, query: Annotated[schemas.NoQuery, Query()]
    ) -> schemas.AttentionMaps:
        desk.needs_network(maps=True)
        return await desk.heavy.run(_maps_of_number, desk, desk.number(number))


def _add_uploads(app: FastAPI, desk: Desk) -> None:
    """What an image is sent to."""
    searcher = desk.searcher

    @app.post("/api/search", summary="The nearest to an image", openapi_extra=IMAGE_BODY)
    async def search(
        request: Request, query: Annotated[schemas.SearchQuery, Query()]
    ) -> schemas.Hits:
        desk.needs_network()
        weights = desk.weights(query)

        def work(content: bytes) -> list[Found]:
            code = searcher.by_image(content, desk.limits.pixels)
            return searcher.search(code, query.k, weights)

        return desk.hits(await desk.upload(request, work), weights)

    @app.post("/api/maps", summary="Attention maps over an image", openapi_extra=IMAGE_BODY)
    async def maps(
        request: Request, query: Annotated[schemas.NoQuery, Query()]
    ) -> schemas.AttentionMaps:
        desk.needs_network(maps=True)

        def work(content: bytes) -> schemas.AttentionMaps:
            found = searcher.maps(decode_bytes(content, max_pixels=desk.limits.pixels))
            assert found is not None
            return desk.maps(found)

        return await desk.upload(request, work)


def _maps_of_number(desk: Desk, number: int) -> schemas.AttentionMaps:
    found = desk.searcher.maps(desk.pictures.pixels(number))
    assert found is not None
    return desk.maps(found)


def _add_page(app: FastAPI) -> None:
    """The page and what it loads, read once: no name from outside becomes a path."""
    folder = resources.files(__package__) / "static"
    for file in folder.iterdir():
        media_type = STATIC.get(file.name.rpartition(".")[2])
        if media_type is None:
            continue
        address = "/" if file.name == "index.html" else f"/{file.name}"
        app.add_route(address, _static(file.read_bytes(), media_type), ["GET"])


def _static(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def static(request: Request) -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return static
