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

SCREENS = Path(__file__).parent / "screens"
# Width, height and color scheme in CSS pixels.
SIZES: dict[str, tuple[int, int, Literal["light", "dark"]]] = {
    "1280": (1280, 1600, "light"),
    "360": (360, 1600, "dark"),
}


def write() -> None:
    """Write a screenshot of a page with hostile names in each size."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as running:
        home = Path(name)
        fill(home, 400, days=90)
        run("costs", "--period", "all", "--html", "page.html", home=home)
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for screen, (width, height, scheme) in SIZES.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto((home / "page.html").as_uri())
            page.screenshot(path=SCREENS / f"{screen}.png")
        browser.close()


if __name__ == "__main__":
    write()
