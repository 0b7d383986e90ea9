"""Links lead to pages, headings and files that exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import DOCS, PAGES, README, ROOT

if TYPE_CHECKING:
    from pathlib import Path

LINKING = (*PAGES, ROOT / "CONTRIBUTING.md")
MOST_LINES = 250


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """Return the targets that are not addresses on the web."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [target for target in targets if not target.startswith("https://")]


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_is_short_and_leads_to_every_page() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 160
    assert {(ROOT / link.partition("#")[0]).resolve() for link in links(README)} >= set(DOCS.glob("*.md"))


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_a_page_has_one_title_and_can_be_read_in_one_go(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert page.name == "commands.md" or len(text.splitlines()) <= MOST_LINES


def test_no_text_of_the_program_points_to_a_page_that_an_installed_program_lacks() -> None:
    package = ROOT / "llmroute"
    pointing = [
        path.relative_to(package).as_posix()
        for path in sorted(package.rglob("*.py"))
        if "catalogue_build" not in path.parts and re.search(r"README|docs/|CONTRIBUTING", path.read_text())
    ]
    assert pointing == []
