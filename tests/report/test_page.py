"""The page: everything inside, names escaped, nothing asked of the network, in a real browser."""

import os
import re
from html.parser import HTMLParser

import pytest
import torch

from semicon_fast import report, viz
from semicon_fast.viz import precision_recall_figure

NASTY = '<img src=x onerror="alert(1)"> & "quotes"'

# What the template has; anything else came out of a name.
TAGS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "div"}
TAGS |= {"table", "thead", "tr", "th", "tbody", "td", "figure", "img", "figcaption", "section"}
TAGS |= {"ol", "li", "br", "span", "dl", "dt", "dd"}


class Tags(HTMLParser):
    """Tags with attributes, and the text between."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def html(run, evaluation):
    tables = {f"Caption {NASTY}": (["a", NASTY], [[NASTY, 0.5]])}
    page = report.run_page(
        run,
        evaluation,
        report.of_run(run),
        title=f"Title {NASTY}",
        sentences=[f"Sentence {NASTY}"],
        tables=tables,
        facts={"command": f"semicon-fast {NASTY}", NASTY: "fact"},
    )
    return page.html()


@pytest.fixture(scope="module")
def file(html, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html, "utf-8")
    return path


def test_names_are_text_wherever_they_stand(html):
    found = Tags(html)
    assert {tag for tag, _ in found.tags} <= TAGS
    assert not any(name.startswith("on") for _, attrs in found.tags for name in attrs)
    assert all(a["src"].startswith("data:image/") for tag, a in found.tags if tag == "img")
    # Title and heading, sentence, caption, column, cell, a class as heading, command, fact.
    assert found.text.count(NASTY) >= 8
    titles = [a.get("title", "") for tag, a in found.tags if tag == "figure"]
    assert any(NASTY in title for title in titles)


def test_all_of_it_is_in_one_file(html, run):
    assert run.data.protocol in html
    for word in ("mAP", "Curves", "attention map M1", "attention map M2", "d = ", "command"):
        assert word in html
    assert not re.findall(r'(?:src|href)="(?!data:)', html)
    metas = [attrs for tag, attrs in Tags(html).tags if tag == "meta"]
    policy = next(a["content"] for a in metas if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:;") and "<script" not in html


def test_any_name_is_on_the_page_and_long_ones_are_short(tmp_path):
    name = "[old] " + os.fsdecode(b"K\xf6nig") + "\x1b[31m\n\ufffe " + "l" * 200_000
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    hit = report.Hit(image, name, name, 1, [1], None)
    seen = viz.Activations([image], torch.zeros(1, 8), None, None, None)
    examples = report.Examples([image], [name], [name], seen, [name], [[hit]])
    page = report.Page(name, [], {name: ([name], [[name]])}, [], examples, {name: "fact"})
    file = report.write(page, tmp_path / "page.html")
    found = Tags(file.read_text("utf-8"))
    assert found.text.count(r"[old] K\xf6nig\x1b[31m\n\ufffe l") >= 5
    assert file.stat().st_size < 20_000


def test_a_page_without_pictures_or_parts_is_short():
    curve = precision_recall_figure({"a": ([0, 1], [1, 0])})
    text = Tags(report.Page("only", ["words"], figures=[("curve", curve)]).html()).text
    assert "curve" in text and "Queries" not in text and "How it was made" not in text


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser(browser, file, tmp_path, dark, width):
    browser.open(file.as_uri(), width=width, height=844, dark=dark)
    assert browser.strangers(file.as_uri()) == [] and browser.complaints() == []
    assert browser.too_wide() <= 0
    read = browser.driver.execute_script
    ground = read("return getComputedStyle(document.body).backgroundColor")
    light = [int(v) for v in re.findall(r"\d+", ground)][0] > 128
    assert light is not dark
    # Every picture decodes, and the style sheet is the one that the policy names.
    assert read("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert read("return document.images.length") > 10
    assert read("return getComputedStyle(document.querySelector('.row')).display") == "flex"
    assert browser.picture(tmp_path / "page.png").stat().st_size > 10_000


def test_a_policy_stops_what_is_slipped_in(browser, html, tmp_path):
    """Were escaping to fail, no script would run and nothing would be loaded."""
    page = tmp_path / "slipped.html"
    slip = "<img src='http://127.0.0.1:9/x.png'><script>document.title = 'run'</script></main>"
    page.write_text(html.replace("</main>", slip), "utf-8")
    browser.open(page.as_uri())
    assert browser.driver.title != "run"
    assert any("Content Security Policy" in text for text in browser.complaints())
