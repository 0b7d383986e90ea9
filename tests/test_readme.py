"""The README cannot go stale: the program writes its tables, and each recipe runs in a real shell."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.config_schema import Document
from llmroute.config_sources import VARIABLES
from llmroute.providers import PROVIDERS
from tests.model_server import ModelServer
from tests.readme import BLOCK, GENERATED, README, anew
from tests.shell import environment, rows
from tests.wire.ollama_server import OllamaServer, Pulled

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = README.read_text(encoding="utf-8")
RECIPES: dict[str, str] = dict(
    re.findall(
        r"^\*\*(.+?)\*\*[^\n]*\n(?:[^`\n][^\n]*\n)*\n```sh\n(.*?)^```$",
        TEXT.partition("\n## Recipes\n")[2].partition("\n## ")[0],
        re.DOTALL | re.MULTILINE,
    )
)


def test_what_the_program_tells_is_as_it_tells_it_today() -> None:
    assert {name for name, _, _ in BLOCK.findall(TEXT)} == set(GENERATED)
    assert anew(TEXT) == TEXT, "python -m tests.readme writes it anew"


def names(text: str) -> set[str]:
    return set(re.findall(r"\b(?:LLM|LLMROUTE|OPENAI|ANTHROPIC|MISTRAL|TOGETHER|OLLAMA)_[A-Z_]+\b", text))


def test_every_setting_is_in_the_readme_and_those_of_env_files_in_the_example() -> None:
    keyed = [name for name, row in PROVIDERS.items() if row.needs_key]
    read = {*VARIABLES, *(f"{name.upper()}_API_KEY" for name in keyed)}
    read |= {f"{name.upper()}_BASE_URL" for name in (*keyed, "ollama")}
    own = {"LLMROUTE_LEDGER", "LLMROUTE_CONFIG_DIR", "LLMROUTE_LOCAL_MODEL"}
    section = TEXT.partition("\n## Settings\n")[2].partition("\n## ")[0]
    assert names(section) == read | own
    example = (README.parent / ".env.example").read_text(encoding="utf-8")
    assert names(example) - {"OPENAI_BASE_URL"} >= read - {"OLLAMA_HOST", "OPENAI_BASE_URL"}
    for key in keys(Document.model_json_schema()):
        assert f"`{key}`" in section or f"[{key}" in section, key


def keys(schema: dict[str, Any]) -> set[str]:
    """Return every key that config.toml takes."""
    tables = (schema, *schema["$defs"].values())
    return {key for table in tables for key in table.get("properties", {})} - {"models", "workspaces"}


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


def read(home: Path, name: str) -> str:
    return (home / name).read_text(encoding="utf-8")


def committed(home: Path, _out: str) -> None:
    log = subprocess.run(["git", "log", "-1", "--format=%B"], cwd=home, capture_output=True, check=True, text=True)
    assert log.stdout.strip() == "one two three"


def digested(home: Path, _out: str) -> None:
    assert read(home, "digest.txt") == "one two three\n"
    (row,) = rows(home)
    assert (row["workspace"], row["strategy"]) == ("digest", "cost_optimized")


def triaged(home: Path, _out: str) -> None:
    assert read(home, "triage.tsv") == "one two three\tERROR disk\none two three\tERROR net | ' \" $(x)\n"


def reviewed(home: Path, _out: str) -> None:
    assert read(home, "review.md") == "one two three\n"
    (row,) = rows(home)
    assert (row["chain"], row["provider"]) == ("review", "openai")


def billed(home: Path, out: str) -> None:
    assert out == "month: 20 USD left\n"
    assert read(home, "bill.md").startswith("$0.00 since ")


def kept_here(home: Path, _out: str) -> None:
    assert read(home, "obligations.txt").strip()
    (row,) = rows(home)
    assert row["provider"] == "ollama"


def labelled(home: Path, _out: str) -> None:
    assert read(home, "labels.jsonl").count("one two three") == 2


def drained(home: Path, _out: str) -> None:
    assert read(home, "answers.jsonl").count("one two three") == 2


def caps(home: Path) -> None:
    (home / "llmroute").mkdir()
    (home / "llmroute" / "config.toml").write_text("[budgets]\nmonth = 20\n")


PROOFS: dict[str, tuple[Callable[[Path], None], Callable[[Path, str], None]]] = {
    "A commit message from what is staged": (committing, committed),
    "A digest every morning": (logging, digested),
    "Log triage": (logging, triaged),
    "A private document on local models": (letters, kept_here),
    "A column of a CSV file": (bulk, labelled),
    "Ten thousand prompts within five dollars": (bulk, drained),
    "JSON out of a letter": (letters, lambda _home, out: _equal(out, "12.5\n")),
    "A script that knows why": (letters, lambda home, _out: _equal(read(home, "note.de.txt"), "one two three\n")),
    "A reviewer of your own choosing": (committing, reviewed),
    "The month's bill by job": (caps, billed),
}


def _equal(found: str, expected: str) -> None:
    assert found == expected


def test_there_are_ten_recipes_and_each_is_proved() -> None:
    assert list(RECIPES) == list(PROOFS)
    assert len(PROOFS) == 10


@pytest.mark.parametrize("recipe", PROOFS)
def test_a_recipe_does_what_it_says(recipe: str, tmp_path: Path) -> None:
    prepare, prove = PROOFS[recipe]
    prepare(tmp_path)
    with ModelServer() as server, OllamaServer({"qwen3:latest": Pulled()}) as ollama:
        if recipe.startswith("JSON"):
            server.words = ('Here:\n```json\n{"name": "A", "total": 12.5}\n```\n',)
        settings = {"OLLAMA_BASE_URL": ollama.url} if recipe.startswith("A private") else {}
        prove(tmp_path, shell(RECIPES[recipe], tmp_path, server, **settings))


def test_a_script_that_knows_why_tells_the_reason(tmp_path: Path) -> None:
    letters(tmp_path)
    told = RECIPES["A script that knows why"].replace(">&2", "")
    with ModelServer() as server:
        assert shell(told.replace("0.02", "0.0000001"), tmp_path, server) == "the budget is spent\n"
    assert "the providers are down" in shell(told, tmp_path, server, LLM_ENABLE_FALLBACK="false")
