"""Names that file systems take and tools stumble over."""

import os

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
