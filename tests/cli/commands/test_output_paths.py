"""The paths of files that commands write: which are refused before anything is sent, and which is stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmroute.ledger.sqlite.store import Ledger
from tests.ledger.calls import row, settled
from tests.support.model_server import ModelServer
from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path

OWN = (
    "ledger.db",
    "ledger.db-wal",
    "ledger.db.spool",
    "ledger.db.spool.bad",
    "ledger.db.replaced-20261128",
    "ledger.db.corrupt-20261128",
    "ledger.db.corrupt-20261128-wal",
    "ledger.db.jobs/a-job.jsonl",
    "config.toml",
    "config.snapshot.json",
    ".env",
    "catalogue.json",
    "catalogue.previous.json",
    "otlp-export.json",
)
WRITING = {
    "a page": ("costs", "--html"),
    "the results of a batch": ("gen", "--batch", "batch.jsonl", "-o"),
    "the record of an answer": ("gen", "hi", "--meta"),
    "charges": ("costs", "export", "--format", "focus"),
}


@pytest.mark.parametrize("command", WRITING.values(), ids=WRITING)
def test_no_output_replaces_a_file_of_our_own(tmp_path: Path, command: tuple[str, ...]) -> None:
    folder = tmp_path / "llmroute"
    folder.mkdir()
    (tmp_path / "batch.jsonl").write_text('{"prompt": "hi"}\n')
    (tmp_path / ".env").write_text("LLM_MAX_LATENCY_MS=5000\n")
    (folder / "config.toml").write_text("[budgets]\nmonth = 5\n")
    with Ledger(folder / "ledger.db") as ledger:
        ledger.settle(settled(row("one"), 7))
    (folder / "ledger.db.jobs").mkdir()
    for name in OWN:
        if name.startswith(("ledger.db.replaced", "ledger.db.corrupt", "ledger.db.jobs")):
            (folder / name).write_text("kept")
    before = {path: path.read_bytes() for path in (*folder.rglob("*"), tmp_path / ".env") if path.is_file()}
    for file in (*(folder / name for name in OWN), tmp_path / ".env"):
        # As a link of another name: exports go by the suffix.
        link = tmp_path / "link.csv"
        link.unlink(missing_ok=True)
        link.symlink_to(file)
        with ModelServer() as server:
            ran = run(*command, str(link), home=tmp_path, **server.settings)
            assert (ran.code, "is a file of llmroute itself" in ran.err) == (2, True), (file, ran.err)
            assert server.requests == []
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("command", WRITING.values(), ids=WRITING)
def test_with_an_invalid_configuration_no_output_is_written(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "batch.jsonl").write_text('{"prompt": "hi"}\n')
    (tmp_path / "llmroute").mkdir()
    config = tmp_path / "llmroute" / "config.toml"
    config.write_text("broken")
    older = tmp_path / "older.csv"
    older.write_text("older")
    for file, text in ((config, "broken"), (older, "older")):
        ran = run(*command, str(file), home=tmp_path)
        assert (ran.code, ran.out, "does not parse" in ran.err, file.read_text()) == (2, "", True, text)


@pytest.mark.parametrize("command", [*WRITING.values(), ("costs", "backup")], ids=[*WRITING, "a backup"])
def test_a_path_that_ends_in_a_slash_or_is_empty_names_no_file(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "batch.jsonl").write_text('{"prompt": "hi"}\n')
    with ModelServer() as server:
        for path in ("new.csv/", ""):
            ran = run(*command, path, home=tmp_path, **server.settings)
            assert (ran.code, ran.out) == (2, "")
            assert f": {path!r} does not name a file (see llmroute " in ran.err
        assert server.requests == []
    assert not (tmp_path / "new.csv").exists()


@pytest.mark.parametrize("file", ["loop.csv", "a" * 300 + ".csv"], ids=["a link to itself", "too long a name"])
@pytest.mark.parametrize("command", [*WRITING.values(), ("costs", "backup")], ids=[*WRITING, "a backup"])
def test_a_path_that_no_file_can_have_is_a_usage_error(tmp_path: Path, command: tuple[str, ...], file: str) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "batch.jsonl").write_text('{"prompt": "hi"}\n')
    Ledger(tmp_path / "llmroute" / "ledger.db").close()
    with ModelServer() as server:
        ran = run(*command, file, home=tmp_path, **server.settings)
        assert (ran.code, ran.out, ran.err.count("\n"), server.requests) == (2, "", 1, []), ran.err
    assert (tmp_path / "loop.csv").is_symlink()


@pytest.mark.parametrize(
    "command", [WRITING["a page"], WRITING["the results of a batch"]], ids=["a page", "the results of a batch"]
)
def test_a_hyphen_with_its_folder_names_a_file(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "batch.jsonl").write_text('{"prompt": "hi"}\n')
    with ModelServer() as server:
        for path in ("./-", ".//-"):
            ran = run(*command, path, home=tmp_path, **server.settings)
            assert (ran.code, ran.out) == (0, ""), ran.err
            assert (tmp_path / "-").stat().st_size > 0
            (tmp_path / "-").unlink()


def test_an_export_to_a_hyphen_with_its_folder_has_no_format(tmp_path: Path) -> None:
    ran = run("costs", "export", "./-", home=tmp_path)
    assert (ran.code, ran.out, "/-: the suffix" in ran.err) == (2, "", True), ran.err


@pytest.mark.parametrize("command", [WRITING["the record of an answer"], ("costs", "backup")], ids=["--meta", "backup"])
def test_where_stdout_is_no_output_a_hyphen_is_refused(tmp_path: Path, command: tuple[str, ...]) -> None:
    with ModelServer() as server:
        ran = run(*command, "-", home=tmp_path, **server.settings)
        assert (ran.code, ran.out, server.requests) == (2, "", [])
    assert "- does not name a file (./- does)" in ran.err
    assert not (tmp_path / "-").exists()
