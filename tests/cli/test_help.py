"""Help teaches: a purpose, flags in groups, examples that run, exit codes; and a word that was mistyped is guessed."""

from __future__ import annotations

import json
import re
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from llmroute import exit_codes
from llmroute.cli import app
from llmroute.cli.app import SUMMARIES, called
from llmroute.cli.errors import report_usage
from llmroute.cli.help import PAGES
from tests.support.shell import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CODE = re.compile(r"(?:codes: |; )(\d+) ")


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return every command that there is, and those of its own."""
    if path:
        yield path
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, (*path, name))


def help_of(*command: str) -> str:
    return CliRunner().invoke(app, [*command, "--help"], prog_name="llmroute", terminal_width=80).output


def said(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return the exit code, stdout and stderr of a command; as `main` runs it, in this process."""
    try:
        code = app(arguments, prog_name="llmroute", standalone_mode=False)
    except Exception as error:  # noqa: BLE001 (as main does)
        code = report_usage(error)
    sys.stdout.flush()
    return code, *capfd.readouterr()


COMMANDS = [" ".join(path) for name in SUMMARIES for path in commands(called(name), (name,))]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_purpose_two_examples_and_its_exit_codes(command: str) -> None:
    told = help_of(*command.split())
    purpose = told.splitlines()[2]
    assert purpose.endswith(".")
    assert told.splitlines()[3] == ""
    page = PAGES[command]
    assert f"\n  Examples:\n    {page.first}\n    {page.second}\n" in told
    codes = {int(code) for code in CODE.findall(" ".join(told.split()))}
    assert codes == {*page.codes, exit_codes.BUG, exit_codes.INTERRUPTED, exit_codes.TERMINATED}
    assert max(map(len, told.splitlines())) <= 80
    assert "\x1b" not in told
    # The list of commands tells the purpose, and not half of it.
    *path, name = command.split()
    assert any(line.split(maxsplit=1) == [name, purpose.strip()] for line in help_of(*path).splitlines())


def test_there_is_a_page_for_each_command_and_no_other() -> None:
    assert set(PAGES) == set(COMMANDS)


@pytest.mark.parametrize("example", [example for page in PAGES.values() for example in page[:2]])
def test_the_flags_of_every_example_exist(example: str) -> None:
    words = shlex.split(re.sub(r'.*\| |.*"\$\(|\)"$| < .*', "", example))
    assert words[0] == "llmroute"
    own = max((path.split() for path in COMMANDS if words[1:][: len(path.split())] == path.split()), key=len)
    known = help_of(*own)
    for word in words[1:]:
        assert not word.startswith("-") or f"{word} " in known.replace(",", " "), f"{word} is no flag of {own}"


def test_the_whole_help_fits_one_screen(tmp_path: Path) -> None:
    assert len(run("--help", home=tmp_path).out.splitlines()) <= 24


def test_with_nothing_set_up_five_lines_say_how_to_start(tmp_path: Path) -> None:
    told = run(home=tmp_path).out.splitlines()
    assert len(told) == 5
    assert any("API_KEY=" in line for line in told)
    assert any('llmroute gen "' in line for line in told)
    whole = run(home=tmp_path, MISTRAL_API_KEY="sk-0123456789").out
    assert whole == run("--help", home=tmp_path).out


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        (("gne", "hi"), "gen"),
        (("costs", "cals"), "calls"),
        (("costs", "budget", "ste"), "set"),
        (("gen", "hi", "--stratgy", "balanced"), "--strategy"),
        (("gen", "hi", "-m", "gpt-5.4-mni"), "openai/gpt-5.4-mini"),
        (("gen", "hi", "-m", "opnai/gpt-5.4-mini"), "openai/gpt-5.4-mini"),
        (("gen", "hi", "-p", "opnai"), "openai"),
        (("gen", "hi", "--strategy", "Cost-optimized"), "cost_optimized"),
        (("gen", "hi", "--chain", "HIGH_QUALTY"), "HIGH_QUALITY"),
        (("gen", "hi", "--capability", "vison"), "vision"),
        (("gen", "hi", "--task", "translaton"), "translation"),
        (("gen", "hi", "--effort", "hgh"), "high"),
        (("gen", "hi", "--on-budget", "refus"), "refuse"),
        (("models", "-p", "anthropc"), "anthropic"),
        (("models", "show", "claude-haku-4-5"), "anthropic/claude-haiku-4-5"),
        (("models", "--sort", "pric"), "price"),
        (("health", "-p", "mistrl"), "mistral"),
        (("health", "--reset", "mistrl"), "mistral"),
        (("chains", "show", "fast_latncy"), "FAST_LATENCY"),
        (("costs", "--period", "mnth"), "month"),
        (("costs", "--by", "modle"), "model"),
        (("costs", "--color", "nevr"), "never"),
    ],
    ids=" ".join,
)
def test_what_is_mistyped_is_guessed_in_one_line(
    mistyped: tuple[str, ...], meant: str, capfd: pytest.CaptureFixture[str]
) -> None:
    quiet = ("--no-stdin",) if mistyped[0] == "gen" else ()
    code, out, err = said(capfd, *mistyped, *quiet)
    assert (code, out, len(err.splitlines())) == (exit_codes.USAGE, "", 1)
    guessed = re.search(r"(?:[Dd]id you mean|Possible options:) ([^?)]*)", err)
    assert guessed is not None, err
    assert meant in re.split(r"[ ,']+", guessed[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gen", "hi", "--temperature", "warm"), "--temperature: 'warm' is not a number"),
        (("gen", "hi", "--max-tokens", "1.5"), "--max-tokens: '1.5' is not an integer"),
        (("costs", "calls", "--last", "0"), "--last: 0 is not from 1 to 1000000"),
        (("models", "--max-cost", "-1"), "--max-cost: -1.0 is below 0"),
        (("models", "--sort", "prise"), "--sort: 'prise' is not one of 'price', 'quality', 'latency', 'context'"),
        (("models", "show"), "missing argument 'name'"),
        (("gen", "Why", "is"), "unexpected argument 'is': put the prompt in quotes, \"Why is ...\""),
    ],
)
def test_a_value_that_the_parser_rejects_is_a_json_error_with_json(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    ran = run(*arguments, "--json", home=tmp_path)
    assert ran.code == exit_codes.USAGE
    assert ran.err.startswith(f"llmroute: {message} (")
    error = json.loads(ran.out)["error"]
    assert (error["type"], error["message"], error["attempts"]) == ("usage", message, [])
    assert "--help" in error["hint"]
    assert run(*arguments, home=tmp_path).out == ""


def test_a_mistyped_option_is_a_json_error_with_json(tmp_path: Path) -> None:
    ran = run("gen", "hi", "--json", "--stratgy", "balanced", home=tmp_path)
    error = json.loads(ran.out)["error"]
    assert error["message"] == "no such option: --stratgy"
    assert error["hint"] == "did you mean --strategy? see llmroute gen --help"
