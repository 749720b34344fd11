"""The server's questions and answers, from which the OpenAPI description is made."""

from pydantic import BaseModel, ConfigDict, Field

MAX_HITS = 100


class Query(BaseModel):
    """A query string: what is not known is refused, so that a slip of the pen shows."""

    model_config = ConfigDict(extra="forbid")


class SearchQuery(Query):
    k: int = Field(12, ge=1, le=MAX_HITS, description="Hits wanted.")
    part: str | None = Field(
        None, description="Compare the bits of this part alone, any other may differ."
    )
    weights: str | None = Field(
        None,
        description="What to count each part's distance by, in the order of the gallery's parts: "
        'whole numbers from 0 to 9, as "1,0,0,2".',
    )


class ListQuery(Query):
    start: int = Field(0, ge=0, le=2**62, description="First number.")
    count: int = Field(24, ge=1, le=MAX_HITS, description="Images wanted.")


class PictureQuery(Query):
    side: int = Field(320, ge=16, le=1024, description="Longest side in pixels.")


class NoQuery(Query):
    pass


class Problem(BaseModel):
    """Every answer from 400 on."""

    detail: str = Field(description="One sentence for people.")


class Part(BaseModel):
    name: str
    bits: int


class About(BaseModel):
    count: int = Field(description="Images in the gallery.")
    bits: int
    parts: list[Part]
    network: str | None = Field(description="None: no model, so search by number only.")
    has_maps: bool
    max_bytes: int = Field(description="Of an image that is sent.")
    max_pixels: int


class Picture(BaseModel):
    number: int
    name: str = Field(description="File name, without its folder.")
    label: str = Field(description="Class, empty where none is known.")
    image: str = Field(description="Address of the picture.")


class Hit(Picture):
    distance: int = Field(description="Bits that differ.")
    by_part: list[int] = Field(
        description="Bits that differ in each part; their sum is `distance`."
    )
    score: int = Field(description="What hits are ordered by: the weighted distance.")


class Pictures(BaseModel):
    count: int = Field(description="Images in the whole gallery.")
    images: list[Picture]


class Hits(BaseModel):
    parts: list[str]
    weights: list[int] = Field(description="What each part's distance was counted by.")
    hits: list[Hit] = Field(description="Ascending by (score, number).")


class AttentionMaps(BaseModel):
    parts: list[str]
    height: int
    width: int
    values: list[list[float]] = Field(
        description="A map a part, row by row, each from 0 to 1, its own largest value."
    )
    peaks: list[float] = Field(description="The largest value of each map before that.")
    box: tuple[float, float, float, float] = Field(
        description="Left, top, width and height of what the maps cover, as shares of the image."
    )
