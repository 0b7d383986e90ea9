"""The keeping of the ledger tells what it does, asks before it deletes, and brings back what was kept."""

from __future__ import annotations

import csv
import ctypes
import io
import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from llmroute.cli.commands import costs_ledger
from llmroute.ledger.sqlite.schema.migrations import MIGRATIONS
from llmroute.ledger.sqlite.store import Ledger
from llmroute.planning import settings
from llmroute.service.costs import attempts as export
from tests.ledger.calls import row, settled
from tests.support.model_server import ModelServer
from tests.support.pseudo_terminal import run_on_terminal
from tests.support.shell import LLMROUTE, Ran, environment, rows, run

if TYPE_CHECKING:
    from pathlib import Path

DAY_MS = 86_400_000
USD = 10**12


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with six calls over six hundred days, the last of them three days ahead of the clock."""
    path = tmp_path / "llmroute" / "ledger.db"
    now_ms = round(time.time() * 1000)
    with Ledger(path) as ledger:
        for call, days in enumerate((600, 500, 400, 300, 0, -3)):
            made = row(
                f"r{call}",
                at_ms=now_ms - days * DAY_MS,
                model=f"m{call % 2}",
                workspace=f"w{call % 3}",
                execution="nightly" if call < 4 else None,
            )
            ledger.settle(settled(made, USD, "failed" if call == 3 else "ok"))
    return path


def break_schema(ledger: Path) -> None:
    data = ledger.read_bytes()
    ledger.write_bytes(data.replace(b"CREATE TABLE attempts (", b"CREATE TABLE attempts \xa8", 1))


def total(home: Path, *more: str) -> float:
    told = json.loads(run("costs", "--period", "all", "--json", *more, home=home).out)
    return float(told["total_cost_usd"])


@pytest.mark.parametrize("long", [False, True])
def test_a_check_that_reads_much_says_so_first(
    long: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settings.load().ledger_path
    Ledger(path).close()
    monkeypatch.setattr(costs_ledger, "LONG_BYTES", path.stat().st_size - long)
    costs_ledger.check(repair=False, as_json=False)
    told = capsys.readouterr()
    assert told.out.endswith("sound, 0 attempts\n")
    assert ("this takes minutes" in told.err) is long


def test_a_repair_that_is_rehearsed_says_what_it_would_do_and_does_nothing(ledger: Path, tmp_path: Path) -> None:
    break_schema(ledger)
    before = ledger.read_bytes()
    tried = run("costs", "check", "--repair", "--dry-run", home=tmp_path)
    assert tried.code == 3
    assert "was wrong: " in tried.out
    assert "6 attempts could be read from it" in tried.out
    assert f"\nwould be moved aside: {ledger}.corrupt-" in tried.out
    assert "the ledger is unchanged" in tried.err
    assert ledger.read_bytes() == before
    assert [file.name for file in ledger.parent.glob("*corrupt*")] == []
    assert run("costs", "check", "--dry-run", home=tmp_path).code == 2
    mended = run("costs", "check", "--repair", "--json", home=tmp_path)
    assert mended.code == 0
    assert "would" not in mended.out
    told = json.loads(mended.out)
    assert (told["ok"], told["attempts_read"], told["attempts_lost"], told["lost_cost_usd"]) == (True, 6, 0, 0.0)
    assert total(tmp_path) == 6


def test_an_emptied_ledger_is_damage_where_caps_count_on_it(ledger: Path, tmp_path: Path) -> None:
    ledger.write_bytes(b"")
    config = tmp_path / "llmroute" / "config.toml"
    config.write_text("[budgets]\nmonth = 5\n")
    ask = ("gen", "hi", "-m", "openai/gpt-5.4-mini")
    ran = run(*ask, home=tmp_path, OPENAI_API_KEY="k", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert (ran.code, ran.out) == (5, "")
    assert "is empty: what was spent is not known; nothing was sent" in ran.err
    for command in ("costs", "costs budget", "costs check"):
        assert run(*command.split(), home=tmp_path).code == 3
        assert ledger.stat().st_size == 0, "no command makes a new one of it"
    mended = run("costs", "check", "--repair", "--yes", home=tmp_path)
    assert mended.code == 0
    assert "there is no record of past costs: reports and budgets restart at zero" in mended.out
    assert run("costs", "budget", home=tmp_path).code == 0


@pytest.mark.parametrize("damaged", [b"", bytes(range(256)) * 80], ids=["empty", "destroyed"])
def test_no_cap_begins_at_zero_by_a_repair_that_was_not_told_so(damaged: bytes, ledger: Path, tmp_path: Path) -> None:
    for place in ledger.parent.glob("ledger.db-*"):
        place.unlink()
    ledger.write_bytes(damaged)
    config = tmp_path / "llmroute" / "config.toml"
    config.write_text("[budgets]\nmonth = 5\n")
    ran = run("costs", "check", "--repair", home=tmp_path)
    assert (ran.code, ran.out) == (3, "")
    assert "the budgets would restart at zero" in ran.err
    assert "--repair --yes" in ran.err
    assert ledger.read_bytes() == damaged
    assert list(ledger.parent.glob("*corrupt*")) == []
    assert run("costs", "check", "--repair", "--yes", home=tmp_path).code == 0


def test_a_copy_is_restored_and_the_ledger_that_was_there_is_kept(ledger: Path, tmp_path: Path) -> None:
    assert run("costs", "backup", "copy.db", home=tmp_path).code == 0
    copy = (tmp_path / "copy.db").read_bytes()
    with Ledger(ledger) as open_all_the_time:
        open_all_the_time.settle(settled(row("later"), USD))
        ran = run("costs", "restore", "copy.db", home=tmp_path)
        assert (ran.code, ran.out) == (0, "")
    assert f"6 attempts are in {ledger} now" in ran.err
    (aside,) = (file for file in ledger.parent.glob("ledger.db.replaced-*") if file.name.count("-") == 2)
    assert str(aside) in ran.err
    assert total(tmp_path) == 6
    with Ledger(aside) as kept:
        assert kept.db.execute("SELECT count(*) FROM attempts").fetchone() == (7,)
    assert (tmp_path / "copy.db").read_bytes() == copy
    assert ledger.stat().st_mode & 0o777 == 0o600
    assert run("costs", "check", home=tmp_path).code == 0


@pytest.mark.parametrize("copy", ["absent", "no database", "damaged", "of another program", "the ledger itself"])
def test_what_is_no_sound_copy_is_not_restored(copy: str, ledger: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    if copy == "no database":
        path.write_bytes(b"junk" * 1000)
    elif copy == "damaged":
        assert run("costs", "backup", "copy.db", home=tmp_path).code == 0
        break_schema(path)
    elif copy == "of another program":
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE visits (url)")
    elif copy == "the ledger itself":
        path = ledger
    ran = run("costs", "restore", str(path), home=tmp_path)
    assert ran.code == (2 if copy in ("absent", "the ledger itself") else 3)
    assert len(ran.err.splitlines()) == 1
    assert ".new-" not in ran.err
    assert total(tmp_path) == 6
    assert [file.name for file in ledger.parent.iterdir() if ".db." in file.name] == []


def test_a_copy_takes_the_place_of_a_damaged_ledger_and_of_none(ledger: Path, tmp_path: Path) -> None:
    assert run("costs", "backup", "copy.db", home=tmp_path).code == 0
    ledger.write_bytes(os.urandom(9000))
    assert run("costs", "restore", "copy.db", home=tmp_path).code == 0
    assert total(tmp_path) == 6
    ledger.unlink()
    assert run("costs", "restore", "copy.db", home=tmp_path).code == 0
    assert total(tmp_path) == 6


@pytest.mark.parametrize("name", ["-", "all.csv", "all.jsonl"])
def test_without_a_ledger_an_export_is_empty_and_makes_none(name: str, tmp_path: Path) -> None:
    ran = run("costs", "export", name, "--since", "7d", home=tmp_path)
    assert ran.code == 0, ran.err
    assert "0 attempts written to" in ran.err
    text = ran.out if name == "-" else (tmp_path / name).read_text()
    assert not (tmp_path / "llmroute" / "ledger.db").exists()
    Ledger(tmp_path / "llmroute" / "ledger.db").close()
    of_an_empty_ledger = run("costs", "export", "-", home=tmp_path).out
    assert of_an_empty_ledger.startswith("id,")
    assert text == ("" if name == "all.jsonl" else of_an_empty_ledger)


def test_a_check_without_a_ledger_calls_nothing_sound(tmp_path: Path) -> None:
    ran = run("costs", "check", home=tmp_path)
    assert (ran.code, ran.out) == (0, f"there is no ledger at {tmp_path / 'llmroute' / 'ledger.db'} yet\n")


@pytest.mark.usefixtures("ledger")
def test_old_attempts_are_deleted_when_somebody_says_so(tmp_path: Path) -> None:
    prune = ("costs", "prune", "--older-than", "1y")
    assert "3 attempts" in run(*prune, "--dry-run", home=tmp_path).err
    ran = run(*prune, home=tmp_path)
    assert ran.code == 2
    assert "--yes" in ran.err
    for answer, left in (("n", 6), ("y", 3)):
        assert "delete 3 attempts" in run_on_terminal(*prune, home=tmp_path, typed=f"{answer}\n").text
        assert len(rows(tmp_path)) == left
    assert "0 attempts" in run(*prune, "--yes", home=tmp_path).err
    nothing = run(*prune, home=tmp_path)
    assert nothing.code == 0, "what deletes nothing needs no answer"
    assert "nothing to delete" in nothing.err
    assert total(tmp_path) == 6


@pytest.mark.usefixtures("ledger")
def test_attempts_are_exported_to_stdout_as_far_as_they_are_wanted(tmp_path: Path) -> None:
    ran = run("costs", "export", "-", "--model", "openai/m1", "--workspace", "w1", home=tmp_path)
    assert [line["request_id"] for line in csv.DictReader(io.StringIO(ran.out))] == ["r1"]
    assert ran.err == "llmroute: 1 attempt written to stdout\n"
    lines = run("costs", "export", "-", "--format", "jsonl", "--since", "1h", home=tmp_path).out.splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == ["r4", "r5"]
    assert run("costs", "export", "some.csv", "--status", "failed", home=tmp_path).code == 0
    assert len((tmp_path / "some.csv").read_text().splitlines()) == 2
    assert run("costs", "export", "some.csv", "--format", "jsonl", home=tmp_path).code == 2


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, "012345"),
        ({"status": "failed"}, "3"),
        ({"model": "m0"}, "024"),
        ({"model": "openai/m0", "since": "450d"}, "24"),
        ({"execution": "nightly", "since": "450d"}, "23"),
        ({"execution": ""}, "45"),
        ({"until": "450d"}, "01"),
    ],
)
def test_an_export_and_a_list_of_calls_have_what_is_wanted(
    wanted: dict[str, str], found: str, ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMROUTE_LEDGER", str(ledger))
    out = io.StringIO()
    written = export.export_to(settings.load(), out, ".jsonl", export.Selection(**wanted))
    assert [json.loads(line)["request_id"][1:] for line in out.getvalue().splitlines()] == list(found)
    assert written.row_count == len(found)
    asked = [word for name, value in wanted.items() for word in (f"--{name}", value)]
    listed = run("costs", "calls", "--json", *asked, home=tmp_path)
    assert [row["request_id"][1:] for row in json.loads(listed.out)] == list(found)
    latest = json.loads(run("costs", "calls", "--last", "1", "--json", *asked, home=tmp_path).out)
    assert latest == json.loads(listed.out)[-1:]


@pytest.mark.usefixtures("ledger")
def test_the_bill_by_execution_comes_to_the_whole_also_when_rows_were_pruned(tmp_path: Path) -> None:
    def groups() -> dict[str | None, float]:
        told = json.loads(run("costs", "--period", "all", "--by", "execution", "--json", home=tmp_path).out)
        assert sum(line["cost_usd"] for line in told["groups"]) == told["total_cost_usd"] == 6
        return {line["execution"]: line["cost_usd"] for line in told["groups"]}

    assert groups() == {"nightly": 4, None: 2}
    assert run("costs", "prune", "--older-than", "1y", "--yes", home=tmp_path).code == 0
    assert groups() == {"(pruned)": 3, "nightly": 1, None: 2}


@pytest.mark.usefixtures("ledger")
def test_calls_ahead_of_the_clock_are_on_the_whole_bill(tmp_path: Path) -> None:
    assert total(tmp_path) == 6
    assert total(tmp_path, "--by", "day") == 6


def without_overriding_modes() -> None:
    """Make modes hold for root too: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH go."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="drops capabilities of Linux")
@pytest.mark.parametrize("version", [len(MIGRATIONS), len(MIGRATIONS) - 1])
def test_a_closed_ledger_that_cannot_be_written_is_read(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "llmroute" / "ledger.db"
    with monkeypatch.context() as patch:
        patch.setattr("llmroute.ledger.sqlite.schema.migrations.MIGRATIONS", MIGRATIONS[:version])
        Ledger(path).close()
    insert = "INSERT INTO attempts (request_id, attempt, status, started_ms, provider, model, streaming, usage_source, "
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"{insert} cost_picousd) VALUES ('r', 1, 'ok', 1790000000000, 'openai', 'm', 0, 'none', ?)", (USD,))
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        for command in ("costs --period all", "costs check"):
            done = subprocess.run(
                [*LLMROUTE, *command.split()],
                env=environment(tmp_path),
                cwd=tmp_path,
                capture_output=True,
                timeout=60,
                check=False,
                preexec_fn=without_overriding_modes,
            )
            ran = Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
            assert ran.code == 0, (command, ran)
            assert "openai" in ran.out or "sound, 1 attempt" in ran.out
    finally:
        path.parent.chmod(0o755)


FILLED = """
import os, sys
from pathlib import Path
from llmroute.errors import LedgerError
from llmroute.ledger.sqlite.store import Ledger
folder = Path(sys.argv[1])
told = set()
for kib in range(0, 400, 16):
    for file in folder.rglob("*"):
        if file.is_file():
            file.unlink()
    state = os.statvfs(folder)
    (folder / "filling").write_bytes(b"x" * max(state.f_bavail * state.f_frsize - kib * 1024, 0))
    try:
        Ledger(folder / "home" / "ledger.db").close()
    except LedgerError as error:
        told.add(error.message.partition("cannot be used: ")[2])
    (folder / "filling").unlink()
    with Ledger(folder / "home" / "ledger.db") as ledger:
        assert ledger.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
assert told <= {"database or disk is full", "the disk is full", "No space left on device"}, told
assert told
print("tried")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk")
def test_a_ledger_that_is_made_while_the_disk_fills_up_is_whole_or_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    shell = 'mount -t tmpfs -o size=1m tmpfs "$2" || exit 77; exec "$1" -c "$3" "$2"'
    command = ["unshare", "-Urm", "sh", "-c", shell, "sh", sys.executable, str(folder), FILLED]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if "tried" not in done.stdout and "Traceback" not in done.stderr:
        pytest.skip(f"no disk of its own can be mounted here: {done.stderr}")
    assert done.returncode == 0, done.stderr


def test_the_name_of_a_model_that_the_ledger_cannot_hold_is_refused_before_a_call(tmp_path: Path) -> None:
    with ModelServer() as server:
        ran = run("gen", "hi", "-m", "openai/x\udcff", home=tmp_path, **server.settings)
        assert (ran.code, "valid text" in ran.err) == (2, True), ran.err
        assert server.requests == []


def test_calls_of_a_workspace_of_the_environment_that_is_not_text_are_on_the_bill(tmp_path: Path) -> None:
    with ModelServer() as server:
        settings = {**server.settings, "LLM_WORKSPACE": "caf\udce9"}
        ran = run("gen", "hi", "-m", "openai/gpt-4o", home=tmp_path, **settings)
        assert (ran.code, "LLM_WORKSPACE in the environment is not valid UTF-8" in ran.err) == (0, True), ran.err
    bill = run("costs", "--workspace", "caf\ufffd", "--json", home=tmp_path)
    assert json.loads(bill.out)["call_count"] == 1
    assert not list(tmp_path.rglob("*.spool*"))


def test_a_workspace_of_the_environment_is_the_same_in_every_locale(tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for locale in ({}, ascii_only):
        ran = run("health", "--settings", "--json", home=tmp_path, LLM_WORKSPACE="café", **locale)
        workspaces = [one["value"] for one in json.loads(ran.out)["settings"] if one["name"] == "workspace"]
        assert (workspaces, "UTF-8" in ran.err) == (["café"], False), ran.err


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    "command",
    [
        ("--workspace", "x\udcff"),
        ("--workspace", "x\udcff", "--html", "bill.html"),
        ("calls", "--workspace", "x\udcff"),
        ("calls", "--execution", "x\udcff"),
        ("calls", "-m", "x\udcff"),
        ("export", "-", "--workspace", "x\udcff"),
        ("export", "bill.parquet", "--format", "focus", "-m", "x\udcff"),
        ("export", "--format", "otlp", "--to", "http://127.0.0.1:1", "--execution", "x\udcff"),
    ],
)
def test_a_name_that_no_call_can_have_is_a_usage_error(tmp_path: Path, command: tuple[str, ...]) -> None:
    ran = run("costs", *command, home=tmp_path)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "is 'x\\udcff', which is not valid text" in ran.err
