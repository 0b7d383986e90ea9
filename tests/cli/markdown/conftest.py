"""Markdown written into a buffer instead of a terminal, and what it costs."""

from __future__ import annotations

import io
import os
from types import SimpleNamespace

import markdown_it
import pytest

from llmroute.cli.markdown import live
from tests.cli.markdown.growing_markdown import ROWS


@pytest.fixture
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Have the program write into a buffer, on a terminal as large as the test's parameter says, else 80 by 24."""
    columns = getattr(request, "param", 80)
    written = io.StringIO()
    monkeypatch.setattr(live, "sys", SimpleNamespace(stdout=written))
    monkeypatch.setattr(os, "get_terminal_size", lambda _descriptor=0: os.terminal_size((columns, ROWS)))
    monkeypatch.setattr("llmroute.cli.markdown.live.width", lambda: columns)
    return written


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many characters each parse was of."""
    sizes: list[int] = []
    parse = markdown_it.MarkdownIt.parse

    def counted(self: markdown_it.MarkdownIt, text: str, env: dict[str, object] | None = None) -> object:
        sizes.append(len(text))
        return parse(self, text, env)

    monkeypatch.setattr(markdown_it.MarkdownIt, "parse", counted)
    return sizes


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be refreshed but what a test refreshes."""
    monkeypatch.setattr(live, "REFRESHES_PER_S", 0.001)
