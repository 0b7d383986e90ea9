"""Pages cannot go stale: what the program prints, and what its tables say, is generated and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.generate import BLOCK, GENERATED, regenerated
from tests.docs.pages import PAGES

if TYPE_CHECKING:
    from pathlib import Path


def test_each_generated_part_is_on_one_page() -> None:
    found = [name for page in PAGES for name, _, _ in BLOCK.findall(page.read_text(encoding="utf-8"))]
    assert sorted(found) == sorted(GENERATED)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_parts_are_as_the_program_prints_them_today(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert regenerated(text) == text, "python -m tests.docs writes it anew"
