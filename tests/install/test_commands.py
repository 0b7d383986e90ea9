"""Every command of the installed program, against providers on loopback."""

from __future__ import annotations

import json
from shutil import copytree
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.cli.app import SUMMARIES, called
from llmroute.cli.completion.scripts import SCRIPTS
from llmroute.version import __version__
from tests.install.servers import ANSWER
from tests.support.fault_server import closed_port
from tests.support.pseudo_terminal import run_on_terminal
from tests.support.shell import rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.install.plain import PlainInstall
    from tests.install.servers import Providers

MODEL = ("-m", "openai/gpt-5.4-mini")
BATCH = "".join(json.dumps({"id": f"a{number}", "prompt": f"Say {number}."}) + "\n" for number in range(5))
OUT, ERR, FILE = "stdout", "stderr", "a file"
# What each command is called with, and a text that it writes or the file that it makes.
COMMANDS = {
    "gen Hello -m openai/gpt-5.4-mini": (OUT, ANSWER),
    "gen Hello -p anthropic": (OUT, ANSWER),
    "gen Hello -p mistral": (OUT, ANSWER),
    "gen Hello -p together": (OUT, ANSWER),
    "gen Hello -m ollama/mistral": (OUT, ANSWER),
    "gen Hello --json": (OUT, f'"content": "{ANSWER}"'),
    "gen Hello --render --usage": (ERR, "10 in · 5 out"),
    "gen Hello --dry-run": (OUT, "nothing is sent"),
    "gen --batch batch.jsonl -m openai/gpt-5.4-mini": (OUT, ANSWER),
    "gen --batch batch.jsonl --dry-run": (OUT, "nothing is sent"),
    "stream Hello -m openai/gpt-5.4-mini": (OUT, ANSWER),
    "stream Hello -p anthropic --json": (OUT, '"type": "end"'),
    "stream Hello -m ollama/mistral": (OUT, ANSWER),
    "health": (OUT, "openai     ok"),
    "models": (OUT, "openai/gpt-5.4-mini"),
    "models gpt-5.4-mini": (OUT, "openai/gpt-5.4-mini"),
    "models --live": (OUT, "gpt-5.4-mini"),
    "models show openai/gpt-5.4-mini": (OUT, "gpt-5.4-mini"),
    "models pull ollama/mistral": (ERR, "ollama/mistral is installed"),
    "models refresh --from prices.json --yes": (FILE, "llmroute/catalogue.json"),
    "costs": (OUT, "gpt-5.4-mini"),
    "costs --period week --by day --csv": (OUT, ",1,0,0,10,0,5,0"),
    "costs --json": (OUT, '"call_count": 1'),
    "costs calls": (OUT, "gpt-5.4-mini"),
    "costs export calls.csv": (FILE, "calls.csv"),
    "costs path": (OUT, "ledger.db"),
    "costs check": (OUT, "sound, 1 attempt"),
    "costs backup copy.db": (FILE, "copy.db"),
    "costs restore kept.db": (ERR, "1 attempt is in"),
    "costs correct 1 --cost 0.5": (OUT, "attempt 1 of openai/gpt-5.4-mini: $0.5000"),
    "costs prune --older-than 90d": (ERR, "0 attempts before"),
    "costs budget": (OUT, "$20.00"),
    "costs budget set --day 2": (OUT, ""),
    "batches": (ERR, "no batch jobs"),
    "chains": (OUT, "HIGH_QUALITY"),
    "chains show FAST_LATENCY": (OUT, "gpt-3.5-turbo"),
    "chains set OWN openai/gpt-5.4-mini ollama/mistral": (OUT, ""),
    "chains test MINE --yes": (OUT, "ok      ollama/mistral"),
    "chains remove MINE": (OUT, ""),
    "--help": (OUT, "Usage: llmroute"),
    "gen --help": (OUT, "Usage: llmroute gen"),
    "stream --help": (OUT, "Usage: llmroute stream"),
    "health --help": (OUT, "Usage: llmroute health"),
    "models --help": (OUT, "Usage: llmroute models"),
    "costs --help": (OUT, "Usage: llmroute costs"),
    "chains --help": (OUT, "Usage: llmroute chains"),
    "--version": (OUT, f"llmroute {__version__}"),
}


NEED_MORE = ("costs reconcile", "costs move", "batches show", "batches cancel")
"""Commands that do their work with a key, a package or a job that is not here."""


@pytest.fixture(scope="module")
def furnished(plain: PlainInstall, five: Providers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a chain, a budget, a batch, a catalogue to refresh from, a ledger with one call and its copy."""
    home = tmp_path_factory.mktemp("furnished") / "home"
    (home / "llmroute").mkdir(parents=True)
    settings = '[chains]\nMINE = ["openai/gpt-5.4-mini", "ollama/mistral"]\n[budgets]\nmonth = 20\n'
    (home / "llmroute" / "config.toml").write_text(settings)
    (home / "batch.jsonl").write_text(BATCH)
    shipped = plain.modules["llmroute.registry"].with_name("catalogue.json")
    (home / "prices.json").write_bytes(shipped.read_bytes())
    ran = plain.llmroute("gen", "Hello", *MODEL, home=home, **five.settings)
    assert ran.code == 0, ran.err
    assert plain.llmroute("costs", "backup", "kept.db", home=home).code == 0
    return home


@pytest.fixture
def home(furnished: Path, tmp_path: Path) -> Path:
    return copytree(furnished, tmp_path / "home")


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_does_its_work(line: str, plain: PlainInstall, served: Providers, home: Path) -> None:
    ran = plain.llmroute(*line.split(), home=home, PYTHONWARNINGS="error::ResourceWarning", **served.settings)
    assert ran.code == 0, ran.err
    where, expected = COMMANDS[line]
    if where == FILE:
        assert (home / expected).stat().st_size
    else:
        assert expected in (ran.out if where == OUT else ran.err)
    assert "Traceback" not in ran.err
    assert "Warning" not in ran.err


def test_reports_of_providers_need_an_admin_key(plain: PlainInstall, tmp_path: Path) -> None:
    ran = plain.llmroute("costs", "reconcile", home=tmp_path)
    assert ran.code == 3
    assert "OPENAI_ADMIN_KEY" in ran.err


def test_a_move_to_a_server_needs_its_driver(plain: PlainInstall, home: Path) -> None:
    ran = plain.llmroute("costs", "move", "postgresql://me@127.0.0.1:1/team", home=home)
    assert ran.code == 3
    assert "llmroute[postgres]" in ran.err


def test_every_command_and_sub_command_is_called_here() -> None:
    for name in SUMMARIES:
        for known in (name, *(f"{name} {sub}" for sub in getattr(called(name), "commands", ()))):
            assert any(f"{line} ".startswith(f"{known} ") for line in (*COMMANDS, *NEED_MORE)), known


def test_chains_and_budgets_are_kept(plain: PlainInstall, tmp_path: Path) -> None:
    assert plain.llmroute("chains", "set", "OWN", "openai/gpt-5.4-mini", home=tmp_path).code == 0
    assert plain.llmroute("costs", "budget", "set", "--day", "2", home=tmp_path).code == 0
    assert "OWN" in plain.llmroute("chains", home=tmp_path).out
    assert plain.llmroute("chains", "remove", "OWN", home=tmp_path).code == 0
    assert "OWN" not in plain.llmroute("chains", home=tmp_path).out
    assert "$2.00" in plain.llmroute("costs", "budget", home=tmp_path).out


def test_an_answer_is_on_the_bill(plain: PlainInstall, served: Providers, tmp_path: Path) -> None:
    ran = plain.llmroute("gen", *MODEL, home=tmp_path, stdin="Hello", **served.settings)
    assert (ran.code, ran.out, ran.err) == (0, f"{ANSWER}\n", "")
    (sent,) = served.bodies("openai")
    assert sent["messages"] == [{"role": "user", "content": "Hello"}]
    (row,) = rows(tmp_path)
    assert (row["provider"], row["status"]) == ("openai", "ok")
    bill = json.loads(plain.llmroute("costs", "--json", home=tmp_path).out)
    assert bill["total_cost_usd"] == pytest.approx(row["cost_picousd"] / 1e12)


def test_a_batch_is_answered_into_a_file(plain: PlainInstall, served: Providers, tmp_path: Path) -> None:
    (tmp_path / "batch.jsonl").write_text(BATCH)
    ran = plain.llmroute("gen", "--batch", "batch.jsonl", "-o", "out.jsonl", *MODEL, home=tmp_path, **served.settings)
    assert ran.code == 0, ran.err
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(one["id"], one["content"]) for one in found] == [(f"a{number}", ANSWER) for number in range(5)]
    assert len(served.bodies("openai")) == 5


def test_markdown_and_the_bill_are_shown_on_a_terminal(plain: PlainInstall, served: Providers, home: Path) -> None:
    settings = {**served.settings, "PATH": str(plain.prefix / "bin")}
    command = (str(plain.prefix / "bin" / "llmroute"),)
    sized: dict[str, Any] = {"home": home, "command": command, **settings}
    seen = run_on_terminal("gen", "Hello", *MODEL, "--render", **sized)
    assert seen.code == 0, seen.text
    assert ANSWER in seen.text
    seen = run_on_terminal("costs", **sized)
    assert seen.code == 0, seen.text
    assert "\x1b[1m$0.0000" in seen.text
    assert "openai/gpt-5.4-mini" in seen.text


@pytest.mark.parametrize(
    ("command", "file", "extra"),
    [(("costs", "--html"), "page.html", "html"), (("costs", "export"), "bill.parquet", "parquet")],
)
def test_a_file_without_its_extra_is_3_with_the_command_that_installs_it(
    command: tuple[str, ...], file: str, extra: str, plain: PlainInstall, tmp_path: Path
) -> None:
    ran = plain.llmroute(*command, file, home=tmp_path)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (3, "", 1)
    assert f"which is not installed (pip install 'llmroute[{extra}]')" in ran.err
    assert not (tmp_path / file).exists()


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_completion_script_of_a_named_shell_is_printed(shell: str, plain: PlainInstall, tmp_path: Path) -> None:
    ran = plain.llmroute("--show-completion", shell, home=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == plain.completion(shell).read_text()
    assert plain.llmroute(f"--show-completion={shell}", home=tmp_path).out == ran.out


def test_candidates_are_offered_at_a_tab(plain: PlainInstall, tmp_path: Path) -> None:
    asked = {"_LLMROUTE_COMPLETE": "complete_bash", "COMP_WORDS": "llmroute gen --strategy lat", "COMP_CWORD": "-1"}
    assert plain.llmroute(home=tmp_path, **asked).out.split() == ["latency_optimized"]


# The exit codes are those that docs/json-and-exit-codes.md documents.
MISTAKES = {
    "gen Hello -m no-such-model": (2, "no-such-model"),
    "gen Hello -p nobody": (2, "nobody"),
    "gen Hello --max-tokens many": (2, "many"),
    "gen": (2, "prompt"),
    "gen Hello --batch nothing.jsonl": (2, ""),
    "gen --batch nothing.jsonl": (2, "nothing.jsonl"),
    "models show no-such-model": (2, "no-such-model"),
    "chains show NOTHING": (2, "NOTHING"),
    "costs --period century": (2, "century"),
    "nothing": (2, "nothing"),
    "--show-completion tcsh": (2, "tcsh"),
    "gen Hello -p openai --no-fallback": (4, "openai"),
    "stream Hello -p openai --no-fallback": (4, "openai"),
    "models pull ollama/mistral": (4, "ollama"),
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_in_one_line(line: str, plain: PlainInstall, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{closed_port()}"
    settings = {"OPENAI_BASE_URL": nobody, "OPENAI_API_KEY": "sk-test-0123456789", "OLLAMA_BASE_URL": nobody}
    ran = plain.llmroute(*line.split(), home=tmp_path, **settings)
    code, named = MISTAKES[line]
    assert (ran.code, ran.out) == (code, ""), ran.err
    (told,) = ran.err.splitlines()
    assert told.startswith("llmroute: ")
    assert named in told


def test_a_mistake_in_a_program_is_a_typed_error(plain: PlainInstall, tmp_path: Path) -> None:
    code = """
import asyncio
from llmroute import RequestError, UnreachableError, get_llm_service
async def main():
    async with get_llm_service() as service:
        for options in ({"model": "no-such-model"}, {"provider": "openai", "enable_fallback": False}):
            try:
                await service.generate("Hello", **options)
            except (RequestError, UnreachableError) as error:
                print(type(error).__name__, error.exit_code)
asyncio.run(main())
"""
    nobody = f"http://127.0.0.1:{closed_port()}"
    settings = {"OPENAI_BASE_URL": nobody, "OPENAI_API_KEY": "sk-test-0123456789", "OLLAMA_BASE_URL": nobody}
    ran = plain.program("-c", code, home=tmp_path, **settings)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == ["RequestError 2", "UnreachableError 4"]
