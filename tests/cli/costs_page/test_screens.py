"""The kept screenshots of the page: of both widths, and small.  `test_in_chromium` compares pages with them."""

from __future__ import annotations

from tests.cli.costs_page.screens import SCREENS, SIZES

MOST_BYTES = 200_000


def test_there_is_a_small_screenshot_of_each_width() -> None:
    for name, (width, height, _) in SIZES.items():
        content = (SCREENS / f"{name}.png").read_bytes()
        assert len(content) < MOST_BYTES
        assert (content[16:20], content[20:24]) == (width.to_bytes(4, "big"), height.to_bytes(4, "big"))
