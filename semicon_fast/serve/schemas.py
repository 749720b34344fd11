"""Request and response schemas, from which the OpenAPI description is generated."""

from pydantic import BaseModel, ConfigDict, Field

MAX_HITS = 100


class Query(BaseModel):
    """Base of the query strings; unknown parameters are rejected so that typos are noticed."""

    model_config = ConfigDict(extra="forbid")


class SearchQuery(Query):
    k: int = Field(12, ge=1, le=MAX_HITS, description="Number of hits to return.")
    part: str | None = Field(
        None, description="Compare only the bits of this part and ignore all others."
    )
    weights: str | None = Field(
        None,
        description="Weight of each part's distance, in the order of the gallery's parts: "
        'comma-separated integers from 0 to 9, for example "1,0,0,2".',
    )


class ListQuery(Query):
    start: int = Field(0, ge=0, le=2**62, description="Number of the first image.")
    count: int = Field(24, ge=1, le=MAX_HITS, description="Number of images to return.")


class PictureQuery(Query):
    side: int = Field(320, ge=16, le=1024, description="Longest side in pixels.")


class NoQuery(Query):
    pass


class Problem(BaseModel):
    """Body of every response with a status of 400 or above."""

    detail: str = Field(description="What went wrong, in one sentence.")


class Part(BaseModel):
    name: str
    bits: int


class About(BaseModel):
    count: int = Field(description="Number of images in the gallery.")
    bits: int
    parts: list[Part]
    network: str | None = Field(
        description="Name of the network; null if no model is loaded, so that only searches by "
        "image number are possible."
    )
    has_maps: bool
    max_bytes: int = Field(description="Largest image file that can be uploaded.")
    max_pixels: int


class Picture(BaseModel):
    number: int
    name: str = Field(description="File name without its folder.")
    label: str = Field(description="Class name; empty if unknown.")
    image: str = Field(description="Address of the thumbnail.")


class Hit(Picture):
    distance: int = Field(description="Hamming distance: number of differing bits.")
    by_part: list[int] = Field(
        description="Hamming distance within each part; the sum is `distance`."
    )
    score: int = Field(description="Weighted distance, by which hits are ordered.")


class Pictures(BaseModel):
    count: int = Field(description="Number of images in the whole gallery.")
    images: list[Picture]


class Hits(BaseModel):
    parts: list[str]
    weights: list[int] = Field(description="Weight of each part's distance.")
    hits: list[Hit] = Field(description="Ascending by (score, number).")


class AttentionMaps(BaseModel):
    parts: list[str]
    height: int
    width: int
    values: list[list[float]] = Field(
        description="One map per part, in row-major order, scaled so that its maximum is 1."
    )
    peaks: list[float] = Field(description="Maximum of each map before scaling.")
    box: tuple[float, float, float, float] = Field(
        description="Left, top, width and height of the region that the maps cover, as fractions "
        "of the image."
    )
