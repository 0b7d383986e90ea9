"""Write what the page looks like in Chromium, for a look at it: `python -m tests.cli.costs_page.screens`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cli.costs_page.ledgers import fill
from tests.support.shell import run

if TYPE_CHECKING:
    from typing import Literal

    from playwright.sync_api import Browser

SCREENS = Path(__file__).parent / "screens"
# Width, height and color scheme in CSS pixels.
SIZES: dict[str, tuple[int, int, Literal["light", "dark"]]] = {
    "1280": (1280, 1600, "light"),
    "360": (360, 1600, "dark"),
}


def sample(home: Path) -> Path:
    """Write a page with hostile names; return its path."""
    fill(home, 400, days=90)
    run("costs", "--period", "all", "--html", "page.html", home=home)
    return home / "page.html"


def shot(browser: Browser, path: Path, screen: str) -> bytes:
    """Return the screenshot of a page in a size, as PNG."""
    width, height, scheme = SIZES[screen]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(path.as_uri())
    image = page.screenshot()
    page.close()
    return image


def write() -> None:
    """Write a screenshot of the page in each size."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as running:
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        path = sample(Path(name))
        for screen in SIZES:
            (SCREENS / f"{screen}.png").write_bytes(shot(browser, path, screen))
        browser.close()


if __name__ == "__main__":
    write()
