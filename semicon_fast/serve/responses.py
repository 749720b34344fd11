"""JSON responses that keep any text exactly."""

import json
from typing import Any

from starlette.responses import JSONResponse


class ExactJSON(JSONResponse):
    r"""JSON of ASCII characters, as Python's `json` writes and reads it.

    A byte of a file name that is not UTF-8 is an escaped surrogate, such as \udcf6 for the byte F6.
    """

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
