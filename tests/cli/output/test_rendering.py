"""How an answer may be written: verbatim, its first fenced block, Markdown on a terminal; and the sign of life."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from llmroute.cli.output.tables import usage_line
from llmroute.cli.output.writers import first_block
from llmroute.text.money import money
from llmroute.types import AttemptRecord, LLMResponse, Usage
from tests.support.pseudo_terminal import run_on_terminal
from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.model_server import ModelServer

MODEL = "openai/gpt-4o"
ANSWER = "Do this:\n\n```sh\nls -l\n```\n\nor this:\n\n```\nother\n```\n"


def on_terminal(server: ModelServer, home: Path, *arguments: str, **settings: str) -> str:
    return run_on_terminal(*arguments, home=home, columns=80, lines=24, **{**server.settings, **settings}).text


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
        ("```inline``` is not one\n```\na\n```\n", "a\n"),
        ("~~~ not closed\n```sh\nls\n```\n", "ls\n"),
        ("```\na\n~~~\n`````  \nb\n```\n", "a\n~~~\n"),
        ("   ```\r\na\r\n```\r\nb", "a\r\n"),
        ("```\na\u2028\x0c```\nb\n```", "a\u2028\x0c```\nb\n"),
    ],
)
def test_a_block_ends_with_its_own_fence(text: str, block: str) -> None:
    assert first_block(text) == block


@pytest.mark.parametrize("line", ["```\n", "~~~~ x\n", "`" * 50 + "x\n", "``` ` \n"])
def test_looking_for_a_block_takes_time_in_proportion_to_the_text(line: str) -> None:
    opened = "".join(f"{'`' * (3 + at % 50)}py\n" for at in range(40_000))
    began_s = time.monotonic()
    assert first_block(opened) == opened
    assert first_block("~" * 1_000_000) == "~" * 1_000_000
    first_block(line * 60_000)
    assert time.monotonic() - began_s < 30


def test_extract_gives_the_block_as_the_content_of_json_too(server: ModelServer, tmp_path: Path) -> None:
    server.words = (ANSWER[:20], ANSWER[20:])
    whole = json.loads(run("gen", "hi", "-m", MODEL, "-x", "--json", home=tmp_path, **server.settings).out)
    assert whole["content"] == "ls -l\n"
    lines = run("stream", "hi", "-m", MODEL, "-x", "--json", home=tmp_path, **server.settings).out.splitlines()
    start, delta, end = map(json.loads, lines)
    assert (start, delta) == ({"type": "start"}, {"type": "delta", "text": "ls -l\n"})
    assert (end["type"], end["content"]) == ("end", "ls -l\n")


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (None, "cost unknown"),
        (0.0, "$0.00"),
        (1234.5, "$1,234.50"),
        (0.25, "$0.2500"),
        (0.0001, "$0.0001"),
        (0.00009996, "$0.0001"),
        (0.00009, "$0.00009"),
        (0.0000123, "$0.000012"),
        (0.00000012, "$0.00000012"),
        (0.0000001, "$0.0000001"),
        (1e-12, "<$0.0000001"),
    ],
)
def test_money_is_shown_in_plain_decimals_however_little_it_is(usd: float | None, shown: str) -> None:
    assert money(usd) == shown


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


@pytest.mark.parametrize("command", ["gen", "stream"])
def test_rendered_blocks_stand_once_however_long_they_are(command: str, server: ModelServer, tmp_path: Path) -> None:
    server.words = ("# Head\n\n1. one\n\n2. two\n\n", *(f"- item {number}.\n" for number in range(1, 61)))
    screen = on_terminal(server, tmp_path, command, "hi", "-m", MODEL, "--render")
    last = screen.rpartition("\x1b[2K")[2]
    assert screen.count("item 60.") == 1, "what is longer than the screen is not shown twice"
    plain = on_terminal(server, tmp_path, command, "hi", "-m", MODEL, "--render", "--color", "never", "-q")
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    assert lines == ["Head", "1 one", "2 two", *(f"• item {number}." for number in range(1, 61))]
    assert "item 60." in last


@pytest.mark.parametrize(
    ("arguments", "settings"), [((), {"NO_COLOR": "1"}), ((), {"TERM": "dumb"}), (("--color", "never"), {})]
)
def test_where_no_colour_is_wanted_rendering_writes_not_one_escape(
    arguments: tuple[str, ...], settings: dict[str, str], server: ModelServer, tmp_path: Path
) -> None:
    server.words = ("**bold** `code`\n\n", "```python\nx = 1\n```\n")
    screen = on_terminal(server, tmp_path, "stream", "hi", "-m", MODEL, "-q", "--render", *arguments, **settings)
    assert "\x1b" not in screen
    assert "**" not in screen
    assert "bold code" in screen
    assert "x = 1" in screen


def test_hostile_markdown_steers_nothing(server: ModelServer, tmp_path: Path) -> None:
    hostile = (
        "[safe](http://evil.example)\n\na\x1b]0;title\x07b\x1b[2Jc\x9b1mq\u202ed <b>[red]x[/red]</b>\n\n`\x1b[31m`\n"
    )
    server.words = (hostile[:35], hostile[35:])
    screen = on_terminal(server, tmp_path, "stream", "hi", "-m", MODEL, "--render", "-q")
    assert not set("\x07\u202e\x9b") & set(screen)
    assert "\x1b]" not in screen, "no title, and no link whose address is hidden"
    assert "\x1b[2J" not in screen
    assert "http://evil.example" in screen
    assert "[red]x[/red]" in screen


def test_what_would_steer_the_terminal_is_made_harmless_there_and_only_there(
    server: ModelServer, tmp_path: Path
) -> None:
    hostile = "a\x1b]0;title\x07b\x1b[2Jc\u202ed\x9be"
    server.words = (hostile,)
    assert run("gen", "hi", "-m", MODEL, home=tmp_path, **server.settings).out == hostile + "\n"
    screen = on_terminal(server, tmp_path, "stream", "hi", "-m", MODEL, "-q")
    assert not set("\x1b\x07\u202e\x9b") & set(screen)
    assert "a\ufffd]0;title\ufffdb" in screen


def test_the_usage_line_tells_all_in_one_line() -> None:
    failed = AttemptRecord("openai", "gpt-y", "failed", "transient", 503, 80, None)
    answered = AttemptRecord("anthropic", "claude-x", "ok", None, 200, 1_800, 0.0031)
    usage = Usage(1204, 1024, None, 310, source="reported")
    response = LLMResponse(
        "hi", "anthropic", "claude-x", usage, 0.0031, 1_900, 400, "stop", (failed, answered), "r", "balanced", None
    )
    assert usage_line(response) == (
        "anthropic/claude-x · 1,204 in (1,024 cached) · 310 out · $0.0031 · 1.9 s · fallback from openai/gpt-y"
    )


@pytest.mark.parametrize("command", ["gen", "stream"])
def test_a_long_wait_is_shown_in_seconds_and_leaves_nothing_behind(
    command: str, server: ModelServer, tmp_path: Path
) -> None:
    server.pause_s = 1.8
    server.words = ("one two three",)
    screen = on_terminal(server, tmp_path, command, "hi", "-m", MODEL)
    assert re.search(r" [1-9][0-9]* s", screen)
    assert screen.endswith("\x1b[?25h\r\x1b[1A\x1b[2Kone two three\n"), "the line is removed, and the cursor is visible"
    quiet = on_terminal(server, tmp_path, command, "hi", "-m", MODEL, "-q")
    assert quiet == "one two three\n"
    assert run(command, "hi", "-m", MODEL, home=tmp_path, **server.settings).err == ""
