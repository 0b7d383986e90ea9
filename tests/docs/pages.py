"""README and the pages of docs/."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = (README, *sorted(DOCS.glob("*.md")))


def read(page: str) -> str:
    """Return the text of a page of docs/."""
    return (DOCS / page).read_text(encoding="utf-8")


def examples(page: str, language: str) -> dict[str, str]:
    """Return the first fenced block of a language below each heading that has one, by the heading."""
    sections = re.split(r"^#+ (.+)\n", _with_headings_alone(read(page)), flags=re.MULTILINE)
    found = {}
    for heading, text in zip(sections[1::2], sections[2::2], strict=True):
        block = re.search(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        if block is not None:
            found[heading] = block[1].replace("\x00", "#")
    return found


def _with_headings_alone(text: str) -> str:
    """Return the text with each # of a fenced block replaced, so that no comment is taken for a heading."""
    return re.sub(r"^```.*?^```$", lambda block: block[0].replace("#", "\x00"), text, flags=re.DOTALL | re.MULTILINE)
