"""Any text, for people to read and in CSV files.

Names of files, labels and classes can be any string: with control characters, with bytes that are
not UTF-8 (which Python reads from the file system as lone surrogates), of any length. What people
read (console, figures, pages) goes through `printable`; what programs read keeps the exact text.
"""

import csv
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

# Control characters, line and paragraph separators, controls that change the direction of the
# text around them, surrogates, and the characters that XML (SVG) cannot hold.
_ESCAPED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
# The largest value on every platform; the csv module's own is 131,072.
_FIELD_LIMIT = 2**31 - 1
_field_limit_lock = threading.Lock()
_NUL = "\ud800"


def printable(value: object, longest: int | None = None) -> str:
    r"""`value` as one line of text that can be printed, drawn, and written as UTF-8.

    Control characters and the like become backslash escapes (a newline `\n`, an escape character
    `\x1b`), a byte of a file name that is not UTF-8 becomes `\xf6`; all else, every script and
    backslashes included, stays as it is.

    longest: shorten to this many characters (1 or more) by leaving out the middle, for an ellipsis;
    None keeps all.
    """
    text = _ESCAPED.sub(_escape, str(value))
    if longest is None or len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return f"{text[: longest - 1 - end]}…{text[len(text) - end :]}"


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def check_encodable(what: str, value: str) -> None:
    """Raises ValueError if `value` holds a surrogate that stands for no byte of a file name."""
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{what} must be text or a file name, got the surrogate "
            f"{printable(value[error.start])} at {error.start} of {printable(value, 60)!r}"
        ) from None


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def read_rows(file: Iterable[str]) -> list[dict[str, str]]:
    """The rows of a CSV file by column name; fields may have any length and hold any character.

    file: opened with newline="". Raises ValueError if it is no CSV file.
    """
    # The csv module of Python 3.10 refuses NUL. No file decodes to the lone surrogate in its place.
    lines = (line.replace("\0", _NUL) for line in file)
    with _any_field_length():
        try:
            rows = list(csv.DictReader(lines))
        except csv.Error as error:
            raise ValueError(f"it is no CSV file: {error}") from None
    for row in rows:
        for name, value in row.items():
            if value and _NUL in value:
                row[name] = value.replace(_NUL, "\0")
    return rows


@contextmanager
def _any_field_length() -> Iterator[None]:
    # The csv module has one limit for the whole process.
    with _field_limit_lock:
        before = csv.field_size_limit(_FIELD_LIMIT)
        try:
            yield
        finally:
            csv.field_size_limit(before)
