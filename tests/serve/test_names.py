"""Names that hold anything, on the page of the server."""

import numpy as np
import pytest
from nasty_names import NAMES, file_name

from semicon_fast.search.gallery import Gallery
from semicon_fast.text import printable

pytest.importorskip("selenium", reason="selenium is not installed")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

LABELS = [*NAMES, "l" * 200_000]


@pytest.fixture(scope="module")
def server(start, make_picture, tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    files = [folder / f"{number}{file_name(name)[:200]}.png" for number, name in enumerate(LABELS)]
    for number, file in enumerate(files):
        make_picture(number).save(file)
    codes = np.arange(len(files), dtype=np.uint8).reshape(-1, 1)
    Gallery(codes, 8, list(map(str, files)), LABELS).save(folder / "gallery")
    return start(folder / "gallery", "--no-model")


def test_the_page_shows_every_name_as_it_is(server, browser):
    browser.open(server.address)
    driver = browser.driver
    WebDriverWait(driver, 20).until(lambda d: d.find_elements(By.CSS_SELECTOR, "#hits img"))
    names = driver.find_elements(By.CSS_SELECTOR, "#hits .name")
    found = [element.get_property("textContent") for element in names]
    for number, label in enumerate(NAMES):
        assert found[number].startswith(f"{printable(label, 79)} {number}"[:80])
    assert max(map(len, found)) < 200
    titles = [element.get_attribute("title") for element in names]
    assert max(map(len, titles)) < 1100
    assert browser.complaints() == [] and browser.too_wide() <= 0
    loaded = "return [...document.querySelectorAll('#hits img')].map((i) => i.naturalWidth > 0)"
    driver.execute_script("document.querySelectorAll('img').forEach((i) => (i.loading = 'eager'))")
    WebDriverWait(driver, 20).until(lambda d: all(d.execute_script(loaded)))
