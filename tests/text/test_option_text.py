"""Texts name options to programs and flags to the command line; which flag is which is one table."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from pathlib import Path

import pytest

import llmroute
from llmroute.cli.app import SUMMARIES, called
from llmroute.cli.flag_names import flag_of, in_flags
from llmroute.text.option_text import OptionText, Remedy, remedies_of

PACKAGE = Path(llmroute.__file__).parent
# The meaning of an exit code is for scripts; the compiler of the catalogue is a program of its own; what installs the
# engine is a command of pip or uv.
ELSEWHERE = ("cli/", "exit_codes.py", "catalogue_build/", "planning/local/engine_install.py", "__main__.py")
MODULES = [path for path in PACKAGE.rglob("*.py") if not path.relative_to(PACKAGE).as_posix().startswith(ELSEWHERE)]


def texts(tree: ast.AST) -> list[str]:
    """Return the texts of a module that are no docstrings, nor whole commands to be typed."""
    docs = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
    return [
        each.value
        for each in ast.walk(tree)
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in docs
        if not each.value.startswith(("pip install ", "llmroute "))
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_text_below_the_command_line_names_a_flag(path: Path) -> None:
    said = [text for text in texts(ast.parse(path.read_text())) if re.search(r"(^|[^-\w])--[a-z]", text)]
    assert said == []


def named_options() -> set[str]:
    """Return the options that any text names."""
    calls = [each for path in MODULES for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Call)]
    remedies = [each for each in calls if ast.unparse(each.func) == "Remedy"]
    return {str(each.args[0].value) for each in remedies if isinstance(each.args[0], ast.Constant)}


def flags_there_are() -> set[str]:
    commands = [called(name) for name in SUMMARIES]
    for each in commands:
        commands += getattr(each, "commands", {}).values()
    return {flag for each in commands for parameter in each.params for flag in parameter.opts}


def test_every_option_that_a_text_names_has_its_flag_and_each_flag_exists() -> None:
    assert {"timeout_s", "max_tokens", "force"} <= named_options()
    flags = [flag_of(option) for option in named_options()]
    assert {flag for text in flags for flag in re.findall(r"--[a-z-]+", text)} <= flags_there_are()


TOLD = OptionText("use ", Remedy("max_tokens"), " or ", (Remedy("budget_remaining", 2e-6), Remedy("min_quality", 80)))


def test_a_text_is_read_by_programs_and_spelled_in_flags() -> None:
    assert TOLD == "use max_tokens or budget_remaining=0.000002, min_quality=80"
    assert in_flags(TOLD) == "use --max-tokens or --budget 0.000002 --min-quality 80"
    assert (
        in_flags(OptionText(Remedy("upgrade", value=False), "; ", Remedy("force", value=True)))
        == "--no-upgrade; --force"
    )
    assert in_flags("as it stands: max_tokens") == "as it stands: max_tokens"
    assert str(Remedy("prompt", words="prompt or messages")) == "prompt or messages"


def test_a_text_keeps_its_parts_in_copies_pickles_and_longer_texts() -> None:
    longer = OptionText("first, ", TOLD, "!")
    for same in (copy.copy(longer), copy.deepcopy(longer), pickle.loads(pickle.dumps(longer))):
        assert (same, same.parts, type(same)) == (longer, longer.parts, OptionText)
    assert in_flags(longer) == f"first, {in_flags(TOLD)}!"
    assert remedies_of("plain", None, longer) == remedies_of(TOLD)
    assert [remedy.option for remedy in remedies_of(TOLD)] == ["max_tokens", "budget_remaining", "min_quality"]
