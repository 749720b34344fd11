"""Request and response schemas, from which the OpenAPI description is generated."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from .searcher import MAX_WEIGHT

MAX_HITS = 100
MAX_NUMBER = 2**62


def _decimal(value: Any) -> Any:
    """`value`, if it is what JSON calls an integer: int() would take "+1", "1_0" and " 1" too."""
    if isinstance(value, str) and not re.fullmatch("-?(0|[1-9][0-9]{0,18})", value):
        raise PydanticCustomError("decimal", "must be a whole number of at most 19 decimal digits")
    return value


DECIMAL = BeforeValidator(_decimal)
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Query(BaseModel):
    """Base of the query strings; unknown parameters are rejected so that typos are noticed."""

    model_config = ConfigDict(extra="forbid")


class SearchQuery(Query):
    k: Annotated[int, DECIMAL] = Field(
        12, ge=1, le=MAX_HITS, description="Number of hits to return."
    )
    part: str | SkipJsonSchema[None] = Field(
        None,
        description="Compare only the bits of this part and ignore all others. Excludes `weights`.",
    )
    weights: str | SkipJsonSchema[None] = Field(
        None,
        description="Weight of each part's distance, in the order of the gallery's parts: "
        "comma-separated integers from 0 to 9, not all of them 0. "
        "Excludes `part`.",
    )


class ListQuery(Query):
    start: Annotated[int, DECIMAL] = Field(
        0, ge=0, le=MAX_NUMBER, description="Number of the first image."
    )
    count: Annotated[int, DECIMAL] = Field(
        24, ge=1, le=MAX_HITS, description="Number of images to return."
    )


class PictureQuery(Query):
    side: Annotated[int, DECIMAL] = Field(
        320, ge=16, le=1024, description="Longest side in pixels."
    )


class NoQuery(Query):
    pass


class Problem(BaseModel):
    """Body of every response with a status of 400 or above."""

    detail: str = Field(description="What went wrong, in one sentence.")


class Part(BaseModel):
    name: str
    bits: int = Field(ge=1)


class About(BaseModel):
    count: Count = Field(description="Number of images in the gallery.")
    bits: int = Field(ge=1, description="Length of a code.")
    parts: list[Part] = Field(description="Parts of a code, in order.")
    network: str | None = Field(
        description="Name of the network; null if no model is loaded, so that only searches by "
        "image number are possible."
    )
    has_maps: bool = Field(description="Whether the network has attention maps.")
    max_bytes: int = Field(ge=1, description="Largest image file that can be uploaded.")
    max_pixels: int = Field(ge=1, description="Most pixels of an image that can be uploaded.")


class Picture(BaseModel):
    number: Count
    name: str = Field(description="File name without its folder.")
    label: str = Field(description="Class name; empty if unknown.")
    image: str = Field(
        description="Address of the thumbnail.", json_schema_extra={"format": "uri-reference"}
    )


class Hit(Picture):
    distance: Count = Field(description="Hamming distance: number of differing bits.")
    by_part: list[Count] = Field(
        description="Hamming distance within each part; the sum is `distance`."
    )
    score: Count = Field(description="Weighted distance, by which hits are ordered.")


class Pictures(BaseModel):
    count: Count = Field(description="Number of images in the whole gallery.")
    images: list[Picture] = Field(max_length=MAX_HITS)


class Hits(BaseModel):
    parts: list[str]
    weights: list[Annotated[int, Field(ge=0, le=MAX_WEIGHT)]] = Field(
        description="Weight of each part's distance."
    )
    hits: list[Hit] = Field(max_length=MAX_HITS, description="Ascending by (score, number).")


class AttentionMaps(BaseModel):
    parts: list[str] = Field(
        description="For each map the part of the code that comes from it, or `code` for all of it."
    )
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    values: list[list[Fraction]] = Field(
        description="The maps, in row-major order, each scaled so that its maximum is 1."
    )
    peaks: list[float] = Field(description="Maximum of each map before scaling.")
    # A tuple would be `prefixItems` in the description, which many readers of OpenAPI do not know.
    box: list[Fraction] = Field(
        min_length=4,
        max_length=4,
        description="Left, top, width and height of the region that the maps cover, as fractions "
        "of the image.",
    )
