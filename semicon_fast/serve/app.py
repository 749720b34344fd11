"""The FastAPI application: routes for the page, thumbnails, searches and attention maps."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from importlib import resources
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Path, Query, Request, Response
from starlette.types import ASGIApp

from .. import __version__
from ..data.decode import decode_bytes
from . import schemas
from .errors import PROBLEMS, add_error_handlers, problems
from .handlers import UPLOAD_BODY, HandlerContext, refuse_repeated
from .limits import Limits
from .middleware import RequestGuard
from .pictures import Pictures
from .responses import ExactJSON
from .searcher import Searcher, SearchHit
from .workers import Pool

Number = Annotated[
    int,  # its bounds stand before DECIMAL, or pydantic leaves them out of the description
    Path(ge=0, le=schemas.MAX_NUMBER, description="Number of an image in the gallery."),
    schemas.DECIMAL,
]
DESCRIPTION = """Nearest neighbours of images by their binary codes.

Every error response is JSON with a one-sentence `detail`. Parameters that an address does not have
and parameters given more than once are refused with status 422. Addresses are exact: none ends in a
slash. `HEAD` is answered as `GET` without the body; every other method that is not listed gets
status 405 with `Allow`."""
CACHE_HEADERS = {
    name: {"description": text, "required": True, "schema": {"type": "string"}}
    for name, text in (
        ("ETag", "Changes with the file and with `side`."),
        ("Cache-Control", "The copy may be kept, and is to be checked at each use."),
    )
}
UPLOAD_PROBLEMS = (408, 409, 411, 413, 415)
MEDIA_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


def create_app(
    searcher: Searcher, pictures: Pictures, limits: Limits, names: Collection[str] = ()
) -> ASGIApp:
    """Build the ASGI application.

    Args:
        searcher: the gallery, its index and, optionally, the network.
        pictures: reads the gallery's image files.
        limits: bounds on uploads, time and concurrency.
        names: accepted values of the Host header besides localhost and IP addresses.
    """
    heavy = Pool("network", limits.workers, limits.places, limits.held_bytes)
    light = Pool("pictures", 2, limits.connections)
    context = HandlerContext(searcher, pictures, limits, heavy, light)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        heavy.close()
        light.close()

    app = FastAPI(
        lifespan=lifespan,
        title="semicon_fast gallery",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=PROBLEMS,
        default_response_class=ExactJSON,
        dependencies=[Depends(refuse_repeated)],
    )
    add_error_handlers(app)
    _add_gallery(app, context)
    _add_queries_by_number(app, context)
    _add_uploads(app, context)
    _add_page(app)
    _describe_parts(app, searcher)
    return RequestGuard(app, names, limits.request_seconds)


def _add_gallery(app: FastAPI, context: HandlerContext) -> None:
    """Routes for the gallery and its images."""
    searcher = context.searcher

    @app.get("/api/gallery", summary="Size, code layout and capabilities of the gallery")
    async def gallery(query: Annotated[schemas.NoQuery, Query()]) -> schemas.About:
        return schemas.About(
            count=len(searcher.gallery),
            bits=searcher.gallery.bits,
            parts=[schemas.Part(name=n, bits=b) for n, b in searcher.parts.items()],
            network=None if searcher.network is None else searcher.network.network,
            has_maps=searcher.has_maps,
            max_bytes=context.limits.upload_bytes,
            max_pixels=context.limits.pixels,
        )

    @app.get("/api/images", summary="A range of the gallery's images")
    async def images(query: Annotated[schemas.ListQuery, Query()]) -> schemas.Pictures:
        count = len(searcher.gallery)
        numbers = range(min(query.start, count), min(query.start + query.count, count))
        listed = [schemas.Picture(**context.picture_fields(number)) for number in numbers]
        return schemas.Pictures(count=count, images=listed)

    @app.get(
        "/api/images/{number}",
        summary="A JPEG thumbnail of a gallery image",
        response_class=Response,
        responses={
            200: {"content": {"image/jpeg": {}}, "headers": CACHE_HEADERS},
            304: {"description": "The client's copy is current.", "headers": CACHE_HEADERS},
            **problems(404),
        },
    )
    async def image(
        number: Number,
        query: Annotated[schemas.PictureQuery, Query()],
        if_none_match: Annotated[
            str,
            Header(
                description="`ETag` of the client's copy, several with commas, or `*`.",
                examples=["*"],
            ),
        ] = "",
    ) -> Response:
        context.valid_number(number)
        version = await context.light.run(context.pictures.version, number, query.side)
        headers = {"ETag": f'"{version}"', "Cache-Control": "private, no-cache"}
        copies = {copy.strip().removeprefix("W/") for copy in if_none_match.split(",")}
        if copies & {headers["ETag"], "*"}:
            return Response(status_code=304, headers=headers)
        small = await context.light.run(context.pictures.small, number, query.side)
        return Response(small, media_type="image/jpeg", headers=headers)


def _add_queries_by_number(app: FastAPI, context: HandlerContext) -> None:
    """Routes for searches and attention maps by image number."""
    searcher = context.searcher

    @app.get(
        "/api/images/{number}/neighbours",
        summary="Nearest neighbours of a gallery image",
        responses=problems(404, 409),
    )
    async def neighbours(
        number: Number, query: Annotated[schemas.SearchQuery, Query()]
    ) -> schemas.Hits:
        weights = context.part_weights(query)
        found = await context.light.run(
            searcher.by_number, context.valid_number(number), query.k, weights
        )
        return context.hits_response(found, weights)

    @app.get(
        "/api/images/{number}/maps",
        summary="Attention maps of a gallery image",
        responses=problems(404, 409),
    )
    async def maps(
        number: Number, query: Annotated[schemas.NoQuery, Query()]
    ) -> schemas.AttentionMaps:
        context.require_network(maps=True)
        return await context.heavy.run(_maps_of_number, context, context.valid_number(number))


def _add_uploads(app: FastAPI, context: HandlerContext) -> None:
    """Routes that take an uploaded image."""
    searcher = context.searcher

    @app.post(
        "/api/search",
        summary="Nearest neighbours of an uploaded image",
        openapi_extra=UPLOAD_BODY,
        responses=problems(*UPLOAD_PROBLEMS),
    )
    async def search(
        request: Request, query: Annotated[schemas.SearchQuery, Query()]
    ) -> schemas.Hits:
        context.require_network()
        weights = context.part_weights(query)

        def work(content: bytes) -> list[SearchHit]:
            code = searcher.by_image(content, context.limits.pixels)
            return searcher.search(code, query.k, weights)

        return context.hits_response(await context.process_upload(request, work), weights)

    @app.post(
        "/api/maps",
        summary="Attention maps of an uploaded image",
        openapi_extra=UPLOAD_BODY,
        responses=problems(*UPLOAD_PROBLEMS),
    )
    async def maps(
        request: Request, query: Annotated[schemas.NoQuery, Query()]
    ) -> schemas.AttentionMaps:
        context.require_network(maps=True)

        def work(content: bytes) -> schemas.AttentionMaps:
            found = searcher.maps(decode_bytes(content, max_pixels=context.limits.pixels))
            assert found is not None
            return context.maps_response(found)

        return await context.process_upload(request, work)


def _maps_of_number(context: HandlerContext, number: int) -> schemas.AttentionMaps:
    found = context.searcher.maps(context.pictures.pixels(number))
    assert found is not None
    return context.maps_response(found)


def _describe_parts(app: FastAPI, searcher: Searcher) -> None:
    """Say in the OpenAPI description which values this gallery's parts leave to a search."""
    example = ",".join(["2"] + ["1"] * (len(searcher.parts) - 1))
    values: dict[str, dict[str, Any]] = {
        "part": {"enum": [*searcher.parts]},
        "weights": {"pattern": searcher.weights_pattern, "examples": [example]},
    }
    for address in app.openapi()["paths"].values():
        for operation in address.values():
            for parameter in operation.get("parameters", ()):
                parameter["schema"] |= values.get(parameter["name"], {})


def _add_page(app: FastAPI) -> None:
    """Routes for the static files.

    They are read into memory once, so a request can never name a path on disk.
    """
    folder = resources.files(__package__) / "static"
    for file in folder.iterdir():
        media_type = MEDIA_TYPES.get(file.name.rpartition(".")[2])
        if media_type is None:
            continue
        address = "/" if file.name == "index.html" else f"/{file.name}"
        app.add_route(address, _static_route(file.read_bytes(), media_type), ["GET"])


def _static_route(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def static(request: Request) -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return static
