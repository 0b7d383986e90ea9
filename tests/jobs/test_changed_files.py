"""Files that are changed, moved or deleted while jobs run, and outputs that keep nothing."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.jobs.homes import GEN
from tests.support.batch_vendor import MODELS
from tests.support.shell import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.jobs.homes import Home
    from tests.support.fault_server import Received, Script

PROMPTS = ["one", "two"]
ORDINARY = ("gen", "--batch", "in.jsonl", "-o", "out.jsonl", "--max-tokens", "50")


def before(home: Home, path_ends: str, change: Callable[[], object]) -> None:
    """Make a change before the first response to a request whose path has this end."""
    serve, changes = home.server.answer, [change]

    def answer(received: Received) -> Script:
        if changes and received.path.endswith(path_ends):
            changes.pop()()
        return serve(received)

    home.server.answer = answer


def replaced(path: Path) -> None:
    path.write_text('{"id": "x0", "prompt": "other"}\n{"id": "x1", "prompt": "other"}\n')


def extended(path: Path) -> None:
    with path.open("a") as file:
        file.write('{"id": "x2", "prompt": "other"}\n')


@pytest.mark.parametrize("change", [replaced, extended, os.unlink])
def test_a_run_goes_on_with_its_input_as_it_was(home: Home, change: Callable[[Path], object]) -> None:
    home.vendor.runs_at_most = 1
    home.write(PROMPTS, [MODELS["openai"]])
    before(home, "/batches", lambda: change(home.folder / "in.jsonl"))
    ran = home.run("--rescue")
    assert ran.code == 0, ran.err
    assert [(each["id"], each["tier"]) for each in home.results()] == [("r0", "batch"), ("r1", "standard")]
    assert home.vendor.ordinary == ["two"]


@pytest.mark.parametrize("change", [replaced, extended, os.unlink])
def test_lines_without_an_answer_are_listed_from_the_input_as_it_was(
    home: Home, change: Callable[[Path], object]
) -> None:
    home.vendor.runs_at_most = 1
    home.write(PROMPTS, [MODELS["openai"]])
    before(home, "/batches", lambda: change(home.folder / "in.jsonl"))
    assert home.run().code == 4
    (listed,) = (home.folder / "out.jsonl.failed").read_text().splitlines()
    assert json.loads(listed)["prompt"] == "two"
    assert not [path for path in (home.folder / "ledger.db.jobs").iterdir() if path.suffix == ".jsonl"]


def test_a_line_whose_schema_is_gone_when_it_is_rescued_fails_with_the_reason(home: Home) -> None:
    home.vendor.runs_at_most = 0
    (home.folder / "schema.json").write_text('{"type": "object"}')
    line = {"id": "r0", "prompt": "one", "model": MODELS["openai"], "schema": "schema.json"}
    (home.folder / "in.jsonl").write_text(json.dumps(line) + "\n")
    before(home, "/batches", (home.folder / "schema.json").unlink)
    ran = home.run("--rescue")
    assert (ran.code, "schema.json" in ran.err, "a bug" in ran.err) == (2, True, False)


def moved(path: Path) -> None:
    path.rename(path.with_name("moved.jsonl"))


@pytest.mark.parametrize("change", [os.unlink, moved])
def test_answers_stay_at_the_provider_when_the_results_file_is_gone(
    home: Home, change: Callable[[Path], object]
) -> None:
    home.write(PROMPTS, [MODELS["openai"]])
    before(home, "/content", lambda: change(home.folder / "out.jsonl"))
    ran = home.run()
    assert (ran.code, "was deleted, moved or replaced while the batch ran" in ran.err) == (3, True)
    assert len(home.vendor.files) == 2
    # It is written again.
    home.assert_all_answered_once(PROMPTS)
    (home.folder / "out.jsonl").unlink()
    assert home.run("--resume").code == 0
    home.assert_all_answered_once(PROMPTS)
    assert not home.vendor.files


def test_a_file_that_has_taken_the_place_of_the_results_is_not_overwritten(home: Home) -> None:
    path = home.folder / "out.jsonl"
    home.write(PROMPTS, [MODELS["openai"]])

    def replace() -> None:
        path.unlink()
        path.write_text("mine\n")

    before(home, "/content", replace)
    assert home.run().code == 3
    assert path.read_text() == "mine\n"
    path.unlink()
    assert home.run("--resume").code == 0
    home.assert_all_answered_once(PROMPTS)


def test_ordinary_results_are_written_again_where_their_file_was_deleted(home: Home) -> None:
    home.write(PROMPTS, [MODELS["openai"]])
    before(home, "/chat/completions", (home.folder / "out.jsonl").unlink)
    assert run(*ORDINARY, home=home.folder, **home.settings).code == 0
    assert [each["id"] for each in home.results()] == ["r0", "r1"]


def test_ordinary_results_whose_file_was_replaced_are_reported(home: Home) -> None:
    path = home.folder / "out.jsonl"
    home.write(PROMPTS, [MODELS["openai"]])

    def replace() -> None:
        path.unlink()
        path.write_text("mine\n")

    before(home, "/chat/completions", replace)
    ran = run(*ORDINARY, home=home.folder, **home.settings)
    assert (ran.code, "was replaced by another file" in ran.err) == (3, True)
    assert path.read_text() == "mine\n"


@pytest.mark.parametrize("command", [(*GEN,), (*GEN, "--resume"), (*ORDINARY, "--resume")])
def test_a_pipe_is_rejected_where_results_must_stay(home: Home, command: tuple[str, ...]) -> None:
    home.write(PROMPTS, [MODELS["openai"]])
    os.mkfifo(home.folder / "out.jsonl")
    ran = run(*command, home=home.folder, **home.settings)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert "out.jsonl is not a file" in ran.err
    assert not home.vendor.requests


def test_the_null_device_is_rejected_for_batch_jobs(home: Home) -> None:
    home.write(PROMPTS, [MODELS["openai"]])
    (home.folder / "out.jsonl").symlink_to(os.devnull)
    ran = home.run()
    assert (ran.code, "is not a file" in ran.err) == (2, True)
    assert not home.vendor.requests
