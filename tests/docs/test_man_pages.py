"""The manual pages are those that the help of today makes, and `man` and `mandoc` read them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from llmroute.cli.help import PAGES
from tests.docs.generate import help_of
from tests.docs.man_pages import MAN, man_pages

PATHS = sorted(MAN.glob("*.1"))


def test_each_command_has_its_page_as_the_help_makes_it() -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in MAN.iterdir()}
    assert kept == man_pages(), "python -m tests.docs"
    assert len(kept) == len(PAGES) + 1


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_mandoc_finds_no_fault() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "error", *map(str, PATHS)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("name", ["gen", "costs", "costs budget set"])
def test_a_page_says_what_the_help_says(name: str) -> None:
    path = MAN / f"llmroute-{name.replace(' ', '-')}.1"
    command = ["groff", "-man", "-Tutf8", "-ww", "-P-cbou", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    shown = "".join(done.stdout.split()).replace("\u2212", "-").replace("\u2010", "-")
    words = [word for word in help_of(*name.split()).split() if word.startswith("--") or "$" in word]
    assert len(words) > 3
    assert [word for word in words if word not in shown] == []
