"""The page in headless Chromium: no console message, no request, exact sums, sortable, narrow, light, dark, printed."""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.costs_page.ledgers import fill
from tests.cli.costs_page.screens import SCREENS, SIZES, sample, shot
from tests.support.shell import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("jinja2")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

# In CSS pixels, without the margins of Chromium.
A4_WIDTH = 718
SUM = """(id) => [...document.querySelectorAll(`#${id} tbody tr`)]
    .map((row) => Number(row.cells[1].dataset.v || 0)).reduce((one, other) => one + other, 0)"""
CELLS = "(id) => [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => Number(row.cells[1].dataset.v || -1))"
# The contrast of text and its background, as WCAG defines it, for each element with text of its own.
CONTRAST = """() => {
    const channels = (color) => color.match(/[\\d.]+/g).map(Number);
    const luminance = (color) => {
        const [red, green, blue] = channels(color).slice(0, 3).map((value) => value / 255)
            .map((value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const background = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = getComputedStyle(at).backgroundColor;
            if ((channels(color)[3] ?? 1) > 0) return color;
        }
    };
    const isText = (node) => node.nodeType === 3 && node.data.trim();
    const texts = [...document.body.querySelectorAll("*")].filter((element) =>
        !element.closest("script, svg") && [...element.childNodes].some(isText));
    return Math.min(...texts.map((element) => {
        const [one, other] = [getComputedStyle(element).color, background(element)].map(luminance);
        return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    }));
}"""

# The texts that are cut by the window, and the pairs of which one covers the other.
MISPLACED = """() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
        const node = walker.currentNode, range = document.createRange();
        range.selectNodeContents(node);
        if (node.data.trim() && !node.parentElement.closest("script, title") && node.parentElement.checkVisibility())
            for (const box of range.getClientRects()) found.push({text: node.data.trim(), box});
    }
    const cut = found.filter(({box}) => box.left < 0 || box.right > innerWidth + 0.5).map(({text}) => text);
    const covers = (one, other) =>
        Math.min(one.right, other.right) - Math.max(one.left, other.left) > 2 &&
        Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > Math.min(one.height, other.height) / 2;
    const covered = found.flatMap((one, place) => found.slice(place + 1)
        .filter((other) => covers(one.box, other.box)).map((other) => [one.text, other.text]));
    return [found.length > 5, cut, covered];
}"""
# The bars of the chart and of the tables as a screenshot shows them: where they are, and the color in their middle.
BARS = """async (source) => {
    const image = new Image();
    image.src = "data:image/png;base64," + source;
    await image.decode();
    const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
    context.drawImage(image, 0, 0);
    const seen = (bar, color) => {
        const box = bar.getBoundingClientRect();
        const [x, y] = [box.left + box.width / 2 + scrollX, box.top + box.height / 2 + scrollY];
        const pixel = [...context.getImageData(x, y, 1, 1).data].slice(0, 3);
        const {left, top, width, height} = box;
        return {left, top, width, height, is_painted: `rgb(${pixel.join(", ")})` === color};
    };
    const chart = [...document.querySelectorAll("svg rect")].map((bar) =>
        seen(bar, getComputedStyle(bar).fill));
    const table = [...document.querySelectorAll("#t-model tbody i")].map((bar) =>
        seen(bar, getComputedStyle(bar).backgroundColor));
    return [chart, table];
}"""
# The words of figures that go over two lines.
BROKEN = """() => [...document.querySelectorAll("td:not(.text), dd:not(.note)")].flatMap((cell) => {
    const node = [...cell.childNodes].find((one) => one.nodeType === 3);
    return [...(node?.data ?? "").matchAll(/\\S+/g)].filter((word) => {
        const range = document.createRange();
        range.setStart(node, word.index);
        range.setEnd(node, word.index + word[0].length);
        return range.getClientRects().length > 1;
    }).map((word) => word[0]);
})"""
# The mean difference of two images by tiles, from 0 to 1: too coarse for the fonts of a machine.
DIFFERENCE = """async ([one, other]) => {
    const tiles = async (source) => {
        const image = new Image();
        image.src = "data:image/png;base64," + source;
        await image.decode();
        const canvas = new OffscreenCanvas(8, 20), context = canvas.getContext("2d");
        context.imageSmoothingQuality = "high";
        context.drawImage(image, 0, 0, 8, 20);
        return [...context.getImageData(0, 0, 8, 20).data];
    };
    const [left, right] = [await tiles(one), await tiles(other)];
    return left.reduce((sum, value, place) => sum + Math.abs(value - right[place]), 0) / left.length / 255;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    fill(home, 400)
    for calls in (0, 1):
        fill(home / str(calls), calls)
        run("costs", "--html", str(home / f"{calls}.html"), home=home / str(calls))
    ran = run("costs", "--period", "all", "--html", "page.html", home=home)
    assert ran.code == 0, ran.err
    return home


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample(tmp_path_factory.mktemp("sample"))


def opened(browser: Any, path: Path, **settings: Any) -> Any:
    """Open a page, which may neither send a request nor write to the console."""
    page = browser.new_page(**settings)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    assert said == [path.as_uri()]
    return page


@pytest.mark.parametrize("name", ["page", "0", "1"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_a_page_loads_nothing_fits_its_window_and_is_readable(
    name: str, scheme: str, width: int, browser: Any, home: Path
) -> None:
    size = {"width": width, "height": 900}
    page = opened(browser, home / f"{name}.html", viewport=size, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(MISPLACED) == [True, [], []]
    assert page.evaluate(CONTRAST) >= 4.5
    is_dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert is_dark == (scheme == "dark")
    assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
    page.close()


def test_the_sums_on_the_page_are_those_of_the_json_report(browser: Any, home: Path) -> None:
    told = json.loads(run("costs", "--period", "all", "--json", home=home).out)
    page = opened(browser, home / "page.html")
    assert page.evaluate("Number(document.querySelector('#total').dataset.v)") == told["total_cost_usd"]
    for name in ("t-model", "t-provider", "t-workspace", "t-task", "t-day"):
        assert page.evaluate(SUM, name) == pytest.approx(told["total_cost_usd"])
    page.close()


def test_a_click_on_a_column_sorts_by_it_and_another_one_turns_it_round(browser: Any, home: Path) -> None:
    page = opened(browser, home / "page.html")
    button = page.locator("#t-model thead th:nth-child(2) button")
    button.click()
    falling = page.evaluate(CELLS, "t-model")
    assert falling == sorted(falling, reverse=True)
    button.click()
    assert page.evaluate(CELLS, "t-model") == falling[::-1]
    page.close()


def test_without_scripts_all_is_there_and_nothing_looks_like_a_button(browser: Any, home: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((home / "page.html").as_uri())
    assert page.locator("#t-model tbody tr").count() == 4
    assert page.locator("button").count() == 0
    context.close()


@pytest.mark.parametrize("width", [1280, 1024, 768, 360])
def test_every_figure_of_a_table_is_in_sight(width: int, browser: Any, home: Path) -> None:
    page = opened(browser, home / "page.html", viewport={"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    hidden = """() => [...document.querySelectorAll(".scroll")].filter((one) => one.scrollWidth > one.clientWidth)
        .map((one) => one.querySelector("table").id)"""
    assert page.evaluate(hidden) == []
    assert page.evaluate(BROKEN) == []
    page.close()


def test_a_print_has_dark_text_on_white(browser: Any, home: Path) -> None:
    page = opened(browser, home / "page.html", color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF")
    page.close()


def test_no_text_of_a_print_covers_another_one_or_is_cut_by_the_edge_of_the_paper(browser: Any, home: Path) -> None:
    page = opened(browser, home / "page.html", viewport={"width": A4_WIDTH, "height": 900})
    page.emulate_media(media="print")
    assert page.evaluate(MISPLACED) == [True, [], []]
    assert page.evaluate(BROKEN) == []
    page.close()


@pytest.mark.parametrize("screen", SIZES)
def test_every_bar_is_painted_as_high_or_wide_as_its_cost_in_the_json_report(
    screen: str, browser: Any, sampled: Path
) -> None:
    def costs(by: str) -> list[float]:
        told = json.loads(run("costs", "--period", "all", "--by", by, "--json", home=sampled.parent).out)
        return [line["cost_usd"] for line in told["groups"] if line["cost_usd"]]

    width, height, scheme = SIZES[screen]
    page = opened(browser, sampled, viewport={"width": width, "height": height}, color_scheme=scheme)
    chart, table = page.evaluate(BARS, b64encode(page.screenshot(full_page=True)).decode())
    page.close()
    for bars, length, known in ((chart, "height", costs("day")), (table, "width", costs("model"))):
        lengths = [bar[length] for bar in bars if bar[length]]
        assert max(lengths) > 60
        assert lengths == pytest.approx([cost / max(known) * max(lengths) for cost in known], abs=1)
        assert all(bar["is_painted"] for bar in bars if bar[length] > 3)
    assert {round(bar["top"] + bar["height"]) for bar in chart} == {round(chart[0]["top"] + chart[0]["height"])}
    assert all(one["left"] + one["width"] < other["left"] for one, other in pairwise(chart))


@pytest.mark.parametrize("screen", SIZES)
def test_a_page_looks_as_the_kept_screenshot(screen: str, browser: Any, sampled: Path) -> None:
    shown = shot(browser, sampled, screen)
    other = "360" if screen == "1280" else "1280"
    kept, of_other = ((SCREENS / f"{name}.png").read_bytes() for name in (screen, other))
    page = browser.new_page()

    def difference(kept: bytes) -> float:
        found: float = page.evaluate(DIFFERENCE, [b64encode(image).decode() for image in (shown, kept)])
        return found

    assert difference(kept) < 0.03
    assert difference(of_other) > 0.2
    page.close()
