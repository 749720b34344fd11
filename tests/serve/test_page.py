"""The page as a person uses it, in headless Chromium."""

import base64

import pytest
from PIL import Image

pytest.importorskip("selenium", reason="selenium is not installed")

from selenium.webdriver import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], arguments[1], { type: arguments[2] }));
const target = document.getElementById("drop");
for (const type of ["dragenter", "dragover", "drop"]) {
  const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
  target.dispatchEvent(new DragEvent(type, options));
}
"""
# Ratio of luminances of a text and what is behind it (WCAG 2, success criterion 1.4.3).
CONTRAST = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (rgb) => {
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = rgb.slice(0, 3).map((v) => linear(v / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (node) => {
  const colour = channels(getComputedStyle(node).backgroundColor);
  return colour[3] === 0 && node.parentElement ? behind(node.parentElement) : colour;
};
const kinds = "p, dt, dd, label, small, button, h1, h2, a, figcaption";
const texts = [...document.querySelectorAll(kinds)];
const seen = texts.filter((n) => n.offsetParent && n.textContent.trim());
const ratio = (node) => {
  const [a, b] = [light(channels(getComputedStyle(node).color)), light(behind(node))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
const rows = seen.map((node) => [ratio(node), node.className || node.id || node.tagName]);
return rows.sort((a, b) => a[0] - b[0])[0];
"""
UNNAMED = """
const controls = [...document.querySelectorAll("button, input, select, img, a")];
const labels = (n) => [...(n.labels || [])].map((label) => label.textContent.trim()).join();
const own = (n) => (n.tagName === "SELECT" ? "" : n.textContent.trim());
const name = (n) => n.getAttribute("aria-label") || n.alt || own(n) || labels(n);
return controls.filter((n) => n.offsetParent && !name(n)).map((n) => n.outerHTML);
"""


class Page:
    def __init__(self, browser, address):
        self.browser, self.driver, self.address = browser, browser.driver, address

    def open(self, **look):
        self.browser.open(self.address, **look)
        self.until(lambda: self.all("#hits li") or self.problem())

    def until(self, holds, what="the page"):
        WebDriverWait(self.driver, 60, 0.05).until(lambda _: holds(), what)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def problem(self):
        return self.one("#problem").text

    def texts(self, selector):
        return [e.text for e in self.all(selector)]

    def settled(self, title):
        busy = "return document.body.classList.contains('busy')"
        self.until(
            lambda: not self.driver.execute_script(busy) and self.one("#results").text == title,
            title,
        )

    def give(self, path):
        self.one("#file").send_keys(str(path))
        self.settled("Nearest images")

    def choose(self, selector, value):
        script = (
            "arguments[0].value = arguments[1];"
            "for (const kind of ['input', 'change'])"
            "  arguments[0].dispatchEvent(new Event(kind, {bubbles: true}));"
        )
        self.driver.execute_script(script, self.one(selector), value)
        self.settled("Nearest images")

    def fine(self):
        """Nothing in the console, nothing asked of anybody else, nothing sticks out."""
        assert self.browser.complaints() == []
        assert self.browser.strangers(self.address) == []
        assert self.browser.too_wide() == 0


@pytest.fixture(scope="module")
def page(browser, server):
    return Page(browser, server.address)


@pytest.fixture(scope="module")
def image(photos):
    return photos / "odd" / "07.jpg"


def test_an_image_from_the_chooser_shows_hits_by_part_and_maps(page, image, tmp_path):
    page.open()
    assert "40 images, codes of 24 bits" in page.one("#about").text
    page.give(image)
    assert len(page.all("#hits li")) == 12 and page.one("#status").text.startswith("12 hits")
    first = page.one("#hits li").text
    assert "07.jpg" in first and "0 of 24 bits differ" in first
    assert page.texts("#hits li:first-child dt") == ["global", "part 1", "part 2", "part 3"]
    assert page.texts("#hits li:first-child .count") == ["0/12", "0/4", "0/4", "0/4"]
    page.one("#query-maps").click()
    page.one("#hits li:nth-child(2) .show-maps").click()
    for place in ("#query-tiles", "#hits li:nth-child(2) .maps"):
        page.until(lambda place=place: len(page.all(f"{place} canvas")) == 3)
        labels = [c.get_attribute("aria-label") for c in page.all(f"{place} canvas")]
        assert [label[:13] for label in labels] == [f"Map M{i}, of pa"[:13] for i in (1, 2, 3)]
    colours = page.driver.execute_script(
        "const c = document.querySelector('#query-tiles canvas');"
        "return [...new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)].length"
    )
    assert colours > 20, "the map is drawn over the picture"
    page.fine()
    page.browser.picture(tmp_path / "light.png")
    with Image.open(tmp_path / "light.png") as shot:
        assert shot.width == 1280


@pytest.mark.parametrize("name, kind", [("dropped.jpg", "image/jpeg"), ("no-suffix", "")])
def test_an_image_that_is_dropped_is_searched(page, image, name, kind):
    page.open()
    content = base64.b64encode(image.read_bytes()).decode()
    page.driver.execute_script(DROP, content, name, kind)
    page.settled("Nearest images")
    assert page.one("#query-name").text == name and "07.jpg" in page.one("#hits li").text
    page.fine()


def test_one_part_or_weights_change_the_order(page, image):
    page.open()
    page.give(image)
    page.choose("#compare", "part=part2")
    counts = [row.split("/")[0] for row in page.texts("#hits li .count:nth-of-type(6)")]
    assert counts == sorted(counts, key=int) and len(counts) == 12
    page.choose("#compare", "weights")
    assert page.one("#weights").is_displayed()
    page.choose("#weight0", "0")
    page.choose("#weight3", "5")
    page.choose("#k", "24")
    assert len(page.all("#hits li")) == 24
    assert page.all("#hits li:first-child dt.off") and "counted as" in page.one("#hits").text
    page.fine()


def test_the_keyboard_is_enough_and_back_goes_back(page):
    page.open()
    seen = []
    for _ in range(8):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        seen.append(page.driver.switch_to.active_element.get_attribute("id"))
    assert {"file", "compare", "k"} <= set(seen)
    button = page.one("#hits li:nth-child(4) .picture")
    name = button.get_attribute("aria-label").removeprefix("Search by ")
    page.driver.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    page.settled("Nearest images")
    assert (
        name.split(", ")[1] in page.one("#query-name").text
        and "#image=3" in page.driver.current_url
    )
    assert page.driver.switch_to.active_element.get_attribute("id") == "results"
    page.driver.back()
    page.settled("Gallery")
    page.driver.forward()
    page.settled("Nearest images")
    page.one("#browse").click()
    page.settled("Gallery")
    page.one("#next").click()
    page.until(lambda: page.one("#page").text == "25 to 40 of 40")
    page.fine()


@pytest.mark.parametrize(
    "width, dark", [(1280, False), (1280, True), (390, True), (320, False)], ids=str
)
def test_it_reads_well(page, image, tmp_path, width, dark):
    page.open(width=width, dark=dark)
    page.give(image)
    page.choose("#compare", "weights")
    assert page.browser.too_wide() == 0
    least, where = page.driver.execute_script(CONTRAST)
    assert least >= 4.5, where
    assert page.driver.execute_script(UNNAMED) == []
    page.choose("#compare", "all")
    page.browser.picture(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as shot:
        corner = shot.convert("L").getpixel((2, 2))
    assert shot.width == width and (corner < 60) == dark


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("words.txt", b"words", "words.txt is not an image."),
        ("empty.png", b"", "empty.png is empty."),
        ("big.png", b"x" * (2**20 + 1), "big.png has 1.0 MB; at most 1 MB can be sent."),
        (
            "bad.png",
            b"words",
            "The image cannot be decoded: the file is not an image of a known format.",
        ),
    ],
)
def test_every_failure_is_said(page, tmp_path, name, content, sentence):
    page.open()
    (tmp_path / name).write_bytes(content)
    page.one("#file").send_keys(str(tmp_path / name))
    page.until(lambda: page.problem() == sentence, sentence)
    # A failed request stands in the console; nothing else may.
    assert all("status of 422" in entry for entry in page.browser.complaints())
    assert page.browser.strangers(page.address) == []


def test_a_number_that_is_none_and_a_server_that_is_gone(browser, modelless):
    page = Page(browser, modelless.address)
    browser.open(page.address + "#image=999")
    page.until(lambda: page.problem() == "There is no image 999 in the gallery.")
    assert page.one("#no-model").is_displayed() and not page.one("#drop").is_displayed()
    browser.open(page.address + "#image=3")
    page.settled("Nearest images")
    assert not page.one("#hits .show-maps").is_displayed()
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    try:
        browser.driver.execute_cdp_cmd(
            "Network.emulateNetworkConditions", {**network, "offline": True}
        )
        page.one("#browse").click()
        page.until(lambda: page.problem() == "The server does not answer. Is it still running?")
    finally:
        browser.driver.execute_cdp_cmd(
            "Network.emulateNetworkConditions", {**network, "offline": False}
        )
    page.open()
    page.settled("Gallery")
