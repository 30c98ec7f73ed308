"""The report in a real browser: no console error, pictures drawn, nothing fetched, on a phone and in the dark."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ssl_registry import registry
from ssl_registry.data import open_source
from ssl_registry.nn import evaluating, tokens
from ssl_registry.workflows.report import write_report
from ssl_registry.workflows.report.facts import read_facts
from ssl_registry.workflows.report.gallery import Confusion, build_gallery
from ssl_registry.workflows.report.page import render
from ssl_registry.workflows.report.run_page import RunPage

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


@pytest.fixture(scope="module")
def of_patches(run, tmp_path_factory):
    """A page of a token method beside its model, and the six samples whose patches it shows."""
    model = registry.create(
        "mae",
        backbone="vit_tiny_patch16_224",
        backbone_kwargs={"patch_size": 4, "depth": 1, "embed_dim": 24, "num_heads": 2},
        input_shape=(1, 16, 16),
        decoder_dim=16,
        decoder_depth=1,
        decoder_heads=2,
    )
    source = open_source("digits", image_size=16)
    page = tmp_path_factory.mktemp("patches") / "report.html"
    gallery = build_gallery(model, source)
    page.write_text(render([RunPage(0, read_facts(run), gallery)]), encoding="utf-8")
    count = len(source.test)
    mapped = min(500, count)
    shown = [source.test[number * count // mapped][0] for number in range(mapped)]
    return page, model, torch.stack(shown[:: mapped // 6][:6])


@pytest.mark.parametrize("width", [1280, 800, 390])
def test_a_clicked_patch_shows_what_is_like_it(browser, of_patches, width):
    """The mark stands on the patch, and each canvas holds the cosine similarities of the network's tokens to it."""
    from selenium.webdriver.common.by import By

    page, model, samples = of_patches
    show(browser, page, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    places = browser.find_elements(By.CSS_SELECTOR, "span.patch[data-image='2']")
    picture = places[0]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)
    mark = picture.find_element(By.CSS_SELECTOR, "b")
    boxes = "return arguments[0].getBoundingClientRect()"
    area = browser.execute_script(boxes, picture)
    # The patch in the first row and the last column of the third sample. Not by an offset from the element: the driver
    # takes that without the zoom of small screens.
    place = {"x": area["x"] + area["width"] * 7 / 8, "y": area["y"] + area["height"] / 8}
    for kind in ("mousePressed", "mouseReleased"):
        event = {"type": kind, "button": "left", "clickCount": 1, **place}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    box = browser.execute_script(boxes, mark)
    assert box["x"] - area["x"] == pytest.approx(area["width"] * 3 / 4, abs=1)
    assert box["y"] == pytest.approx(area["y"], abs=1)
    assert box["width"] == pytest.approx(area["width"] / 4, abs=1)
    shown = browser.execute_script(
        """
        return [...document.querySelectorAll('canvas.patch')].map(canvas => {
            const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            return [...pixels].filter((_, index) => index % 4 === 3);
        });
        """
    )
    low, high = (float(e.text) for e in browser.find_elements(By.CSS_SELECTOR, ".scale span"))
    with torch.no_grad(), evaluating(model.product):
        z = torch.nn.functional.normalize(tokens(model.product, model.prepared(samples)).patches, dim=2)
    wanted = (z @ z[2, 3]).numpy()
    found = low + np.array(shown) / 255 * (high - low)
    assert np.abs(found - wanted).max() < 0.03
    assert browser.get_log("browser") == []


def test_the_arrow_keys_move_the_chosen_patch(browser, of_patches):
    """From the middle of the first sample one to the left; at the edge it stays."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    show(browser, of_patches[0])
    place = browser.find_element(By.CSS_SELECTOR, "span.patch[data-image='0']")
    mark = place.find_element(By.CSS_SELECTOR, "b")
    assert mark.is_displayed()
    lefts = []
    for _ in range(4):
        lefts.append(browser.execute_script("return arguments[0].style.left", mark))
        place.send_keys(Keys.ARROW_LEFT)
    assert lefts == ["50%", "25%", "0%", "0%"]


def test_masked_patches_are_gray_in_the_browser(browser, of_patches):
    """The second picture of each row: its pixels as the browser decodes them, beside the mask."""
    page, model, samples = of_patches
    show(browser, page)
    data = browser.execute_async_script(
        """
        const done = arguments[0], image = new Image();
        image.src = getComputedStyle(document.querySelector('.pic.rebuilt0')).backgroundImage.slice(5, -2);
        image.decode().then(() => {
            const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            const pixels = context.getImageData(0, 0, image.width, image.height).data;
            done(btoa(String.fromCharCode(...pixels.filter((_, index) => index % 4 === 0))));
        });
        """
    )
    sheet = np.frombuffer(base64.b64decode(data), np.uint8).reshape(6 * 16, 3 * 16)
    mask = model.reconstruct(samples).mask.numpy().repeat(4, 1).repeat(4, 2)  # [6, 16, 16]
    masked = sheet[:, 16:32].reshape(6, 16, 16)
    assert (masked[mask] == 128).all()
    assert np.array_equal(masked[~mask], samples[:, 0].numpy()[~mask])
    assert 0.7 < mask.mean() < 0.8


def with_classes(page: RunPage, count: int, rng: np.random.Generator) -> RunPage:
    """The page of a run as if its samples had so many classes, with long names."""
    gallery = page.gallery
    assert gallery is not None
    names = [f"{'a long name of a class, ' * (number % 3)}{number}" for number in range(count)]
    counts = rng.integers(0, 3, (count, count)) + 20 * np.eye(count, dtype=np.int64)
    labels = [label % count for label in gallery.labels]
    changed = replace(gallery, classes=names, labels=labels, confusion=Confusion(names, counts.tolist()))
    return replace(page, gallery=changed)


@pytest.fixture(scope="module")
def run_page(run) -> RunPage:
    """A run with the pictures of an untrained network."""
    source = open_source("digits", image_size=12)
    model = registry.create("simclr", backbone="resnet10t", image_size=12, in_chans=1)
    return RunPage(0, read_facts(run), build_gallery(model, source), "")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("count", [2, 12, 30, 31, 200])
def test_confusion_of_many_classes(browser, run_page, count, width, tmp_path):
    """Headings do not run into each other, nothing is wider than its card, and beyond 30 a cell is a pixel."""
    page = tmp_path / "report.html"
    page.write_text(render([with_classes(run_page, count, np.random.default_rng(0))]))
    show(browser, page, width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    if count <= 30:
        boxes = browser.execute_script(
            "return [...document.querySelectorAll('.matrix thead th')].map(th => [th, th.firstElementChild]"
            ".map(e => e ? e.getBoundingClientRect() : null)).map(([a, b]) => b && [a.left, a.right, b.left, b.right])"
        )
        assert all(inner >= left - 1 and end <= right + 1 for left, right, inner, end in filter(None, boxes))
        assert len(list(filter(None, boxes))) == count
        return
    browser.execute_script("document.querySelector('canvas.heat').closest('details').open = true")
    told = browser.execute_script(
        "const canvas = document.querySelector('canvas.heat'), area = canvas.getBoundingClientRect();"
        "const at = number => (number + 0.5) / canvas.width;"
        "canvas.dispatchEvent(new PointerEvent('pointermove', {clientX: area.left + area.width * at(7),"
        " clientY: area.top + area.height * at(7)}));"
        "return canvas.parentElement.querySelector('.told').textContent"
    )
    counts = with_classes(run_page, count, np.random.default_rng(0)).gallery.confusion.counts
    names = with_classes(run_page, count, np.random.default_rng(0)).gallery.classes
    assert told == f"{names[7]} taken for {names[7]}: {counts[7][7]} of {sum(counts[7])}"
