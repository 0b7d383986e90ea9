"""Help teaches: a purpose, flags in groups, examples that run, exit codes."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from llmroute.cli.commands import SUMMARIES, called
from llmroute.cli.helping import EXAMPLES
from tests.shell import run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_list_of_commands_says_of_each_what_it_says_of_itself(name: str) -> None:
    told = called(name)
    assert told.name == name
    assert told.help.startswith(SUMMARIES[name].rstrip("."))


@pytest.mark.parametrize("command", EXAMPLES)
def test_every_command_has_a_purpose_two_examples_and_its_exit_codes(command: str, tmp_path: Path) -> None:
    told = run(command, "--help", home=tmp_path).out
    assert told.splitlines()[2].strip().endswith(".")
    assert told.count("\n    ") >= 2
    for example in EXAMPLES[command]:
        assert example in told
    assert "Exit codes: 0 ok" in told
    assert "\x1b" not in told


@pytest.mark.parametrize("example", [example for both in EXAMPLES.values() for example in both])
def test_the_flags_of_every_example_exist(example: str, tmp_path: Path) -> None:
    words = shlex.split(example.partition(" | jq")[0].rpartition("| ")[2].partition(" < ")[0])
    assert words[0] == "llmroute"
    known = run(words[1], *(words[2:3] if words[2:3] == ["show"] else []), "--help", home=tmp_path).out
    for word in words[2:]:
        assert not word.startswith("-") or f"{word} " in known.replace(",", " "), f"{word} is no flag of {words[1]}"


def test_the_whole_help_fits_one_screen(tmp_path: Path) -> None:
    assert len(run("--help", home=tmp_path).out.splitlines()) <= 24
