"""Names that file systems take and tools stumble over."""

import os

from hypothesis import strategies as st

# Every string that the file system or UTF-8 gives: surrogates are the bytes that are not UTF-8.
ANY_TEXT = st.text(st.characters(codec="utf-8") | st.integers(0xDC80, 0xDCFF).map(chr)).filter(
    lambda text: os.fsdecode(os.fsencode(text)) == text
)
# Square brackets, dollar signs, control characters, HTML, formats, bytes that are not UTF-8.
NAMES = (
    "[old]",
    "[/b] :dog: [link=x]",
    r"$x_1^2$ \frac{ $",
    '=1+1, "q"',
    "two\nlines\r\tand",
    "\x1b[31mred\x7f",
    "<script>alert(1)<b> & 'c'",
    "{0} %s %(x)s",
    "  ",
    "-rf x.jpg 3",
    "_hidden from legends",
    "\u05d0\u05e8\u05d2\u05de\u05df \u202egnp",
    "\u732b\u306e\u5199\u771f",
    "\U0001f426\u200d\u2b1b \ufffe",
    os.fsdecode(b"K\xf6nig \x80"),
    "l" * 200,
)


def file_name(text):
    """`text` as the name of one file or folder."""
    return text.replace("/", "\u2215").replace("\0", "")
