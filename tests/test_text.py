"""Text for people: printable whatever it holds. CSV rows: exactly what was written."""

import csv
import io
import os
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nasty_names import ANY_TEXT, NAMES

from semicon_fast.text import printable, read_rows


@pytest.mark.parametrize(
    "text, shown",
    [
        ("a name, 100% [plain] $x$ C:\\new", "a name, 100% [plain] $x$ C:\\new"),
        ("two\nlines\r\n\ttab", r"two\nlines\r\n\ttab"),
        ("\x1b[31mred\x07\x00", r"\x1b[31mred\x07\x00"),
        (os.fsdecode(b"K\xf6nig"), r"K\xf6nig"),
        ("half \ud83d of a pair", r"half \ud83d of a pair"),
        ("\u202eexe.jpg\u2028", r"\u202eexe.jpg\u2028"),
        *((text, text) for text in ("\u732b\u3000", "\u05d0\u05e8", "\U0001f426\u200d\u2b1b")),
        ("", ""),
    ],
)  # fmt: skip
def test_only_what_cannot_be_shown_is_escaped(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    "longest, shown", [(10, "0123456789"), (9, "0123…6789"), (4, "01…9"), (2, "0…"), (1, "…")]
)
def test_long_text_loses_its_middle(longest, shown):
    assert printable("0123456789", longest) == shown


@given(st.text(st.characters()), st.integers(1, 30))
def test_any_text_becomes_one_line_that_files_and_svg_can_hold(text, longest):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1 and shown.encode() is not None
    assert printable(shown) == shown
    assert len(printable(text, longest)) == min(longest, len(shown))
    element = ElementTree.Element("text")
    element.text = shown
    assert (ElementTree.fromstring(ElementTree.tostring(element)).text or "") == shown


@settings(max_examples=50)
@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=8))
def test_rows_of_any_text_are_read_as_they_were_written(rows):
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("image", "label"), *rows])
    file.seek(0)
    assert [(row["image"], row["label"]) for row in read_rows(file)] == rows


def test_a_field_may_be_longer_than_the_limit_of_the_csv_module():
    limit = csv.field_size_limit()
    text = "l" * (limit + 1)
    assert read_rows(io.StringIO(f"label\r\n{text}\r\n", newline="")) == [{"label": text}]
    assert csv.field_size_limit() == limit


def test_nasty_names_are_all_different_when_shown():
    assert len({printable(name) for name in NAMES}) == len(NAMES)
