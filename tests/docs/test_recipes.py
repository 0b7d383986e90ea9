"""Each recipe of docs/recipes.md does what it says, in a real shell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import examples
from tests.support.attached_files import jpeg, pdf
from tests.support.batch_vendor import BatchVendor
from tests.support.fault_server import serving
from tests.support.model_server import ModelServer
from tests.support.ollama_server import OllamaServer, Pulled
from tests.support.shell import environment, rows

if TYPE_CHECKING:
    from collections.abc import Callable

OVERNIGHT = "Ten thousand labels overnight, at half price, within five dollars"
RECIPES = examples("recipes.md", "sh")


def committing(home: Path) -> None:
    subprocess.run(["git", "init", "-q", "."], cwd=home, check=True)
    for name, value in (("user.name", "A"), ("user.email", "a@example.com")):
        subprocess.run(["git", "config", name, value], cwd=home, check=True)
    for text in ("one\n", "two\n"):
        (home / "file").write_text(text)
        subprocess.run(["git", "add", "file"], cwd=home, check=True)
        subprocess.run(["git", "commit", "-qm", text], cwd=home, check=True)
    (home / "file").write_text("three\n")
    subprocess.run(["git", "add", "file"], cwd=home, check=True)


def logging(home: Path) -> None:
    (home / "app.log").write_text("ERROR disk\nINFO fine\nERROR disk\nERROR net | ' \" $(x)\n")


def letters(home: Path) -> None:
    for name in ("contract.txt", "invoice.txt", "note.txt"):
        (home / name).write_text("All that is written.\n")


def bulk(home: Path) -> None:
    (home / "reviews.csv").write_text("id,review\n1,Good.\n2,Bad.\n")
    (home / "prompts.jsonl").write_text('{"id": "a", "prompt": "Say a."}\n{"id": "b", "prompt": "Say b."}\n')


def shell(script: str, home: Path, server: ModelServer, **settings: str) -> str:
    env = environment(home, **{**server.settings, **settings})
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        env=env,
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def written(home: Path, name: str) -> str:
    return (home / name).read_text(encoding="utf-8")


def committed(home: Path, _out: str) -> None:
    log = subprocess.run(["git", "log", "-1", "--format=%B"], cwd=home, capture_output=True, check=True, text=True)
    assert log.stdout.strip() == "one two three"


def digested(home: Path, _out: str) -> None:
    assert written(home, "digest.txt") == "one two three\n"
    (row,) = rows(home)
    assert (row["workspace"], row["strategy"]) == ("digest", "cost_optimized")


def triaged(home: Path, _out: str) -> None:
    assert written(home, "triage.tsv") == "one two three\tERROR disk\none two three\tERROR net | ' \" $(x)\n"


def reviewed(home: Path, _out: str) -> None:
    assert written(home, "review.md") == "one two three\n"
    (row,) = rows(home)
    assert (row["chain"], row["provider"]) == ("review", "openai")


def billed(home: Path, out: str) -> None:
    assert out == "month: 20 USD left\n"
    assert written(home, "bill.md").startswith("$0.00 since ")


def kept_here(home: Path, _out: str) -> None:
    assert written(home, "obligations.txt").strip()
    (row,) = rows(home)
    assert row["provider"] == "ollama"


def labelled(home: Path, _out: str) -> None:
    assert written(home, "labels.jsonl").count("one two three") == 2


def drained(home: Path, _out: str) -> None:
    assert written(home, "answers.jsonl").count("one two three") == 2


def labelled_overnight(home: Path, _out: str) -> None:
    answers = [json.loads(line) for line in written(home, "labels.jsonl").split("\n") if line]
    assert [answer["tier"] for answer in answers] == ["batch", "batch"]
    assert {row["service_tier"] for row in rows(home)} == {"batch"}


def translated(home: Path, _out: str) -> None:
    assert written(home, "note.de.txt") == "one two three\n"


def receipts(home: Path) -> None:
    (home / "receipts").mkdir()
    (home / "receipts" / "1.jpg").write_bytes(jpeg(600, 800))
    (home / "receipts" / "2.pdf").write_bytes(pdf())


def caps(home: Path) -> None:
    (home / "llmroute").mkdir()
    (home / "llmroute" / "config.toml").write_text("[budgets]\nmonth = 20\n")


PROOFS: dict[str, tuple[Callable[[Path], None], Callable[[Path, str], None]]] = {
    "Write a commit message for staged changes": (committing, committed),
    "Summarize a log every morning": (logging, digested),
    "Classify log lines in a loop": (logging, triaged),
    "Keep a private document on this machine": (letters, kept_here),
    "Label a column of a CSV file": (bulk, labelled),
    "Answer ten thousand prompts for at most five dollars": (bulk, drained),
    OVERNIGHT: (bulk, labelled_overnight),
    "Extract JSON from a letter": (letters, lambda _home, out: _equal(out, "12.5\n")),
    "Read a folder of scanned receipts": (
        receipts,
        lambda home, _out: _equal(written(home, "receipts.txt"), "one two three\n" * 2),
    ),
    "React to the reason of a failure": (
        letters,
        lambda home, _out: _equal(written(home, "note.de.txt"), "one two three\n"),
    ),
    "Review code with models of your choice": (committing, reviewed),
    "Report a month's costs by workspace": (caps, billed),
}


def _equal(found: str, expected: str) -> None:
    assert found == expected


def test_each_recipe_is_proved() -> None:
    assert list(RECIPES) == list(PROOFS)


@pytest.mark.parametrize("recipe", PROOFS)
def test_a_recipe_does_what_it_says(recipe: str, tmp_path: Path) -> None:
    prepare, prove = PROOFS[recipe]
    prepare(tmp_path)
    vendor = BatchVendor(polls_to_end=0)
    with ModelServer() as server, serving(vendor.answer) as batches, OllamaServer({"qwen3:latest": Pulled()}) as ollama:
        if recipe.startswith("Extract JSON"):
            server.words = ('Here:\n```json\n{"sender": "A", "total": 12.5}\n```\n',)
        settings = {"OLLAMA_BASE_URL": ollama.url} if recipe.startswith("Keep a private") else {}
        if recipe == OVERNIGHT:
            settings["OPENAI_BASE_URL"] = f"{batches.url}/openai/v1"
        prove(tmp_path, shell(RECIPES[recipe], tmp_path, server, **settings))


def test_a_script_reacts_to_a_spent_budget_and_to_an_outage(tmp_path: Path) -> None:
    letters(tmp_path)
    told = RECIPES["React to the reason of a failure"].replace(">&2", "")
    with ModelServer() as server:
        assert shell(told.replace("0.02", "0.0000001"), tmp_path, server) == "the budget is spent\n"
    assert "the providers are down" in shell(told, tmp_path, server, LLM_ENABLE_FALLBACK="false")
