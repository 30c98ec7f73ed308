"""The report in a real browser: no console error, pictures drawn, nothing fetched, on a phone and in the dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from ssl_registry.workflows.report import write_report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="needs a browser: apt-get install chromium chromium-driver"
)

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
    "--disable-sync --no-first-run --disable-dev-shm-usage"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install 'ssl-registry[dev]'")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def show(browser, page, width=1280, height=900, scheme="light"):
    """Open a page on a screen of this size and scheme."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": feature})
    browser.get(page.resolve().as_uri())
    # Curves are drawn when the browser tells their size, which is after loading.
    browser.set_script_timeout(20)
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    assert browser.get_log("browser") == []


SCREENS = [(1280, 900, "light"), (390, 844, "light"), (1280, 900, "dark"), (390, 844, "dark")]


@pytest.mark.parametrize("screen", SCREENS)
def test_everything_is_drawn_on_every_screen(browser, run, screen):
    """Curves with points, a dot for each sample, pictures that hold ink, and no sideways scrolling of the page."""
    show(browser, run / "report.html", *screen)
    charts, curves, dots = browser.execute_script(
        "return ['.chart', '.chart path', '.map circle'].map(s => document.querySelectorAll(s).length)"
    )
    assert charts == 5
    assert curves >= charts
    assert dots == 497
    assert browser.execute_script("return document.documentElement.scrollWidth") <= screen[0]
    # Within a card what is wide scrolls; the curves themselves fit.
    assert browser.execute_script("return [...document.querySelectorAll('.chart svg')].every(s => s.clientWidth > 250)")


def test_pictures_hold_ink(browser, run):
    """Each picture's image loads and is not of one colour."""
    show(browser, run / "report.html")
    colors = browser.execute_async_script(
        """
        const done = arguments[0];
        const urls = [...new Set([...document.querySelectorAll('.pic')].map(e => getComputedStyle(e).backgroundImage))];
        Promise.all(urls.map(async url => {
            const image = new Image();
            image.src = url.slice(5, -2);
            await image.decode();
            const canvas = new OffscreenCanvas(image.width, image.height);
            const context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            const pixels = context.getImageData(0, 0, image.width, image.height).data;
            return new Set(pixels.filter((_, i) => i % 4 === 0)).size;
        })).then(done);
        """
    )
    assert len(colors) == 2  # the views, and the samples of map and neighbours
    assert min(colors) > 10


def test_pointing_at_the_map_shows_the_sample(browser, run):
    """A picture and the class; away from the dots it hides again. And the other map is a click away."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    show(browser, run / "report.html")
    area = browser.find_element(By.CSS_SELECTOR, ".map")
    dot = browser.find_elements(By.CSS_SELECTOR, ".map circle")[30]
    ActionChains(browser).scroll_to_element(area).move_to_element(dot).perform()
    tip = area.find_element(By.CSS_SELECTOR, ".tip")
    assert tip.is_displayed()
    assert tip.find_element(By.CSS_SELECTOR, ".pic").size["width"] >= 64
    assert tip.text.strip() in "0123456789"
    before = dot.get_attribute("cx")
    (pca,) = (tab for tab in browser.find_elements(By.CSS_SELECTOR, ".tabs button") if tab.text == "PCA")
    pca.click()
    assert not tip.is_displayed()
    assert browser.find_elements(By.CSS_SELECTOR, ".map circle")[30].get_attribute("cx") != before
    assert browser.get_log("browser") == []


def test_dark_is_dark(browser, run):
    """Background and ink change places, in the curves too."""
    shades = {}
    for scheme in ("light", "dark"):
        show(browser, run / "report.html", scheme=scheme)
        shades[scheme] = browser.execute_script(
            """
            const light = text => { const [r, g, b] = text.match(/[0-9.]+/g).map(Number); return (r + g + b) / 765; };
            const of = (selector, name) => light(getComputedStyle(document.querySelector(selector))[name]);
            return [of('body', 'backgroundColor'), of('body', 'color'), of('.card', 'backgroundColor'),
                    of('.chart text', 'fill')];
            """
        )
    ground, ink, card, axis = shades["light"]
    assert min(ground, card) > 0.9
    assert max(ink, axis) < 0.5
    ground, ink, card, axis = shades["dark"]
    assert max(ground, card) < 0.15
    assert min(ink, axis) > 0.5


def test_several_runs_on_one_page(browser, run, other_run, tmp_path):
    """Two maps, two colours in each chart, on a phone as well."""
    page = write_report(run, other_run, out=tmp_path / "both.html", trust=True)
    for width in (1280, 390):
        show(browser, page, width)
        assert browser.execute_script("return document.querySelectorAll('.map svg').length") == 2
        assert browser.execute_script("return document.querySelector('.chart').querySelectorAll('path').length") == 2
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_nothing_is_fetched(browser, run):
    """The file is all that the browser loads."""
    show(browser, run / "report.html")
    fetched = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in fetched if not name.startswith("data:")] == []
