"""How an answer may be written: verbatim, its first fenced block, Markdown on a terminal; and the sign of life."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmroute.cli.writers import first_block
from tests.model_server import ModelServer
from tests.pseudo_terminal import run_on_terminal
from tests.shell import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = "openai/gpt-4o"
ANSWER = "Do this:\n\n```sh\nls -l\n```\n\nor this:\n\n```\nother\n```\n"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def on_terminal(server: ModelServer, home: Path, *arguments: str) -> str:
    settings = server.settings
    return run_on_terminal(
        *arguments,
        home=home,
        OPENAI_BASE_URL=settings["OPENAI_BASE_URL"],
        OPENAI_API_KEY=settings["OPENAI_API_KEY"],
    ).text


@pytest.mark.parametrize("command", ["gen", "stream"])
def test_extract_writes_the_first_fenced_block_only(command: str, server: ModelServer, tmp_path: Path) -> None:
    server.words = (ANSWER[:20], ANSWER[20:])
    assert run(command, "hi", "-m", MODEL, "-x", home=tmp_path, **server.settings).out == "ls -l\n"
    server.words = ("no block\n",)
    assert run(command, "hi", "-m", MODEL, "-x", home=tmp_path, **server.settings).out == "no block\n"


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("~~~\na\n```\nb\n~~~\n", "a\n```\nb\n"),
        ("````md\n```\nx\n```\n````", "```\nx\n```\n"),
        ("```\n```", ""),
        ("``` not closed\n", "``` not closed\n"),
        ("inline ``` is not one", "inline ``` is not one"),
    ],
)
def test_a_block_ends_with_its_own_fence(text: str, block: str) -> None:
    assert first_block(text) == block


@pytest.mark.parametrize("command", ["gen", "stream"])
def test_render_shows_markdown_on_a_terminal_and_leaves_a_pipe_alone(
    command: str, server: ModelServer, tmp_path: Path
) -> None:
    server.words = ("# Head\n\n", "some **bold** words")
    piped = run(command, "hi", "-m", MODEL, "--render", home=tmp_path, **server.settings)
    assert piped.out == "# Head\n\nsome **bold** words\n"
    screen = on_terminal(server, tmp_path, command, "hi", "-m", MODEL, "--render")
    assert "**" not in screen
    assert "bold" in screen
    verbatim = on_terminal(server, tmp_path, command, "hi", "-m", MODEL)
    assert "some **bold** words" in verbatim


def test_what_would_steer_the_terminal_is_made_harmless_there_and_only_there(
    server: ModelServer, tmp_path: Path
) -> None:
    hostile = "a\x1b]0;title\x07b\x1b[2Jc\u202ed\x9be"
    server.words = (hostile,)
    assert run("gen", "hi", "-m", MODEL, home=tmp_path, **server.settings).out == hostile + "\n"
    screen = on_terminal(server, tmp_path, "stream", "hi", "-m", MODEL)
    assert not set("\x1b\x07\u202e\x9b") & set(screen)
    assert "a\ufffd]0;title\ufffdb" in screen


def test_a_long_wait_is_shown_in_seconds_and_leaves_nothing_behind(server: ModelServer, tmp_path: Path) -> None:
    server.pause_s = 1.8
    screen = on_terminal(server, tmp_path, "gen", "hi", "-m", MODEL)
    assert " 1 s" in screen
    assert screen.endswith("\r     \rone two three\n")
    assert "\x1b" not in screen
    quiet = on_terminal(server, tmp_path, "gen", "hi", "-m", MODEL, "-q")
    assert quiet == "one two three\n"
    assert run("gen", "hi", "-m", MODEL, home=tmp_path, **server.settings).err == ""
