"""Commands with a ledger on a PostgreSQL server: as with a file, and what happens when the server is away."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from llmroute import exit_codes
from llmroute.errors import ConfigError
from llmroute.files import locked
from llmroute.ledger.postgres.schema.migrations import CLIENT_VERSION
from llmroute.ledger.spool import make_room, places
from llmroute.ledger.spool.rows import SpooledRow
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger_location import server_location
from tests.ledger.calls import row, settled
from tests.ledger.stores import postgres
from tests.support.fault_server import serving
from tests.support.model_server import ModelServer
from tests.support.postgres_host import Host
from tests.support.postgres_server import PostgresServer
from tests.support.pseudo_terminal import run_on_terminal, without_escapes
from tests.support.report_server import ReportServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.shell import Ran

__all__ = ["postgres"]

USD = 10**12


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def host(tmp_path: Path, postgres: PostgresServer, server: ModelServer) -> Host:
    return Host(tmp_path, postgres.database(), server)


def test_every_command_works_with_a_ledger_on_a_server(host: Host, tmp_path: Path, server: ModelServer) -> None:
    assert host.gen().code == 0
    other = Host(tmp_path / "other", host._settings["LLMROUTE_LEDGER"], server)
    assert other.gen().code == 0
    assert host.calls() == other.calls() == 2
    name = "postgresql://127.0.0.1:"
    assert host.run("costs", "path").out.startswith(name)
    assert "2 attempts" in host.run("costs", "check").out
    assert "PostgreSQL 1" in host.run("health").out
    assert len(json.loads(host.run("costs", "calls", "--json").out)) == 2
    assert host.run("costs", "--by", "day").code == 0
    assert host.run("costs", "export", "bill.csv").code == 0
    assert host.run("costs", "backup", "copy.db").code == 0
    assert host.run("costs", "path", LLMROUTE_LEDGER="copy.db").out == "copy.db\n"
    assert "2 attempts" in host.run("costs", "check", LLMROUTE_LEDGER="copy.db").out
    assert host.run("costs", "prune", "--older-than", "90d", "--yes").code == 0
    assert host.run("models", "show", "gpt-4o").code == 0
    assert host.run("costs", "restore", "copy.db").code == exit_codes.USAGE


def test_a_budget_of_a_host_counts_the_calls_of_all(host: Host, tmp_path: Path, server: ModelServer) -> None:
    assert host.gen().code == 0
    other = Host(tmp_path / "other", host._settings["LLMROUTE_LEDGER"], server)
    other.cap_itself(0.000001)
    asked = len(server.requests)
    assert other.gen().code == exit_codes.BUDGET
    assert len(server.requests) == asked


def test_a_shared_budget_binds_every_host_until_it_is_lifted(host: Host, tmp_path: Path, server: ModelServer) -> None:
    other = Host(tmp_path / "other", host._settings["LLMROUTE_LEDGER"], server)
    assert host.run("costs", "budget", "set", "--day", "5", "--zone", "Asia/Tokyo").code == 0
    [budget] = json.loads(other.run("costs", "budget", "--json").out)["budgets"]
    assert (budget["period"], budget["cap_usd"]) == ("day", 5)
    assert budget["resets"].endswith("T15:00:00+00:00"), "midnight in Tokyo"
    assert other.gen().code == 0
    assert host.run("costs", "budget", "set", "--day", "0.000001", "--zone", "Asia/Tokyo").code == 0
    asked = len(server.requests)
    assert other.gen().code == exit_codes.BUDGET
    assert len(server.requests) == asked
    assert host.run("costs", "budget", "set", "--day", "none").code == 0
    assert other.gen().code == 0
    assert "no budget is set" in other.run("costs", "budget").out
    for zone in ("Nowhere", "localtime", "right/UTC"):
        assert host.run("costs", "budget", "set", "--day", "1", "--zone", zone).code == exit_codes.USAGE
    rule = host.run("costs", "budget", "set", "--day", "1", TZ="CET-1CEST,M3.5.0,M10.5.0/3")
    assert (rule.code, "--zone" in rule.err) == (exit_codes.USAGE, True)
    assert (
        host.run("costs", "budget", "set", "--day", "1", "--zone", "UTC", LLMROUTE_LEDGER="").code == exit_codes.USAGE
    )


def test_a_cap_of_the_host_that_binds_beside_a_shared_one_is_named(host: Host) -> None:
    host.cap_itself(0.5)
    for usd, also in (("5", "as well: the lower binds"), ("none", "still")):
        told = host.run("costs", "budget", "set", "--total", usd)
        assert (told.code, told.out) == (0, "")
        assert told.err.endswith(f"config.toml caps this host at $0.5000 in total {also}\n")
    assert host.run("costs", "budget", "set", "--day", "5").err == ""


def test_a_shared_budget_holds_while_the_server_is_away(tmp_path: Path, server: ModelServer) -> None:
    with PostgresServer() as database:
        url = database.database()
        host, other = Host(tmp_path / "host", url, server), Host(tmp_path / "other", url, server)
        assert other.gen().code == 0
        assert host.run("costs", "budget", "set", "--month", "5").code == 0
        assert other.run("costs", "budget").code == 0
        database.stop()
        asked = len(server.requests)
        for one in (host, other, Host(tmp_path / "stranger", url, server)):
            refused = one.gen()
            assert refused.code == exit_codes.BUDGET
            assert "nothing was sent" in refused.err
        assert len(server.requests) == asked
        assert setup_line(other, "budget") == "$5.00 a month"
        assert setup_line(Host(tmp_path / "stranger", url, server), "budget").startswith("unknown: ")


def test_health_tells_of_the_server_and_of_a_clock_that_is_off(host: Host, postgres: PostgresServer) -> None:
    [(version,)] = postgres.execute("SHOW server_version")
    line = ledger_line(host)
    assert f"PostgreSQL {version}" in line
    assert f"ms a round trip, schema version {CLIENT_VERSION}, clock" in line
    assert "is wrong" not in line
    database = host._settings["LLMROUTE_LEDGER"].rpartition("/")[2]
    postgres.execute(
        """
        CREATE OR REPLACE FUNCTION llmroute.now_ms_1() RETURNS bigint LANGUAGE sql VOLATILE AS
        'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint - 90000'
        """,
        database,
    )
    line = ledger_line(host)
    assert "clock -90" in line
    assert "the clock of this machine or of the server is wrong" in line
    told = json.loads(host.run("health", "--json").out)["ledger"]
    assert told["clock_offset_ms"] == pytest.approx(-90_000, abs=2_000)
    assert (told["schema_version"], told["version"]) == (CLIENT_VERSION, version)
    host.gen()
    [attempt] = json.loads(host.run("costs", "calls", "--json").out)
    [(started_ms,)] = postgres.execute("SELECT started_ms FROM llmroute.attempts", database)
    assert started_ms == pytest.approx(time.time() * 1000 - 90_000, abs=30_000)
    assert attempt["status"] == "ok"


def test_budgets_reports_and_pruning_go_by_the_clock_of_the_server(host: Host, postgres: PostgresServer) -> None:
    ahead_ms = 200 * 86_400_000
    assert host.gen().code == 0
    database = host._settings["LLMROUTE_LEDGER"].rpartition("/")[2]
    postgres.execute(
        f"""
        CREATE OR REPLACE FUNCTION llmroute.now_ms_1() RETURNS bigint LANGUAGE sql VOLATILE AS
        'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + {ahead_ms}'
        """,
        database,
    )
    host.run("costs", "budget", "set", "--day", "5", "--zone", "UTC")
    assert host.gen().code == 0
    [budget] = json.loads(host.run("costs", "budget", "--json").out)["budgets"]
    assert budget["spent_usd"] > 0
    assert json.loads(host.run("costs", "--period", "day", "--json").out)["call_count"] == 1
    assert "1 attempt" in host.run("costs", "prune", "--older-than", "90d", "--dry-run").err
    assert host.run("costs", "--since", "nonsense").code == exit_codes.USAGE
    for listed in (
        host.run("costs", "calls", "--since", "1d", "--json"),
        host.run("costs", "export", "-", "--format", "jsonl", "--since", "1d"),
    ):
        assert listed.out.count('"request_id"') == 1
    with serving(ReportServer()) as vendor:
        admin = {"OPENAI_ADMIN_KEY": "sk-admin", "OPENAI_BASE_URL": vendor.url}
        compared = json.loads(host.run("costs", "reconcile", "--period", "day", "--json", **admin).out)
    [today] = {day["date"] for one in compared["vendors"] for day in one["days"]}
    assert today == str((datetime.now(UTC) + timedelta(milliseconds=ahead_ms)).date())


def setup_line(host: Host, name: str) -> str:
    """Return a row of the setup that `health` writes, without its name."""
    [line] = [line for line in host.run("health").out.splitlines() if line.startswith(f"{name} ")]
    return line.removeprefix(name).strip()


def ledger_line(host: Host) -> str:
    """Return what `health` says of the ledger."""
    [line] = [line for line in host.run("health").out.splitlines() if "PostgreSQL" in line]
    return line


def test_the_setting_may_stand_in_config_toml(host: Host) -> None:
    folder = host.home / "llmroute"
    folder.mkdir()
    (folder / "config.toml").write_text(f'ledger = "{host._settings["LLMROUTE_LEDGER"]}"\n')
    assert host.run("costs", "path", LLMROUTE_LEDGER="").out.startswith("postgresql://")


def test_an_answer_waits_in_the_spool_while_the_server_is_away(tmp_path: Path, server: ModelServer) -> None:
    with PostgresServer() as database:
        host = Host(tmp_path, database.database(), server)
        assert host.gen().code == 0
        database.stop()
        answered = host.gen()
        assert (answered.code, answered.out) == (0, "one two three\n")
        assert "this call is not in the ledger yet" in answered.err
        assert "postgres@" not in answered.err
        assert host.run("costs").code == exit_codes.SETUP
        host.cap_itself(5)
        asked = len(server.requests)
        refused = host.gen()
        assert refused.code == exit_codes.BUDGET
        assert "nothing was sent" in refused.err
        assert len(server.requests) == asked
        database.start()
        assert host.calls() == 2
        assert host.calls() == 2
        assert host.gen().code == 0


@pytest.mark.parametrize(
    ("url", "schema"),
    [
        ("postgresql://user:s3cret@127.0.0.1:port/db", ""),
        ("postgresql://user:s3cret@127.0.0.1/db", "No Such"),
        ("postgresql://user:s3cret@127.0.0.1:1/db?no_such_option=1", ""),
        ("postgresql://user:s3cret%zz@127.0.0.1:1/db", ""),
        ("postgresql://user:s3cret@127.0.0.1:1/db", ""),
    ],
)
def test_a_wrong_or_unreachable_address_is_one_line_without_its_password(url: str, schema: str, host: Host) -> None:
    ran = host.run("costs", LLMROUTE_LEDGER=url, LLMROUTE_SCHEMA=schema)
    assert ran.code in (exit_codes.USAGE, exit_codes.SETUP)
    assert "s3cret" not in ran.err
    assert len(ran.err.splitlines()) <= 2
    assert "Traceback" not in ran.err


def test_a_missing_role_or_database_is_told(host: Host, postgres: PostgresServer) -> None:
    for url in (postgres.url("no_such_database"), postgres.url(user="no_such_role")):
        ran = host.run("costs", LLMROUTE_LEDGER=url)
        assert ran.code == exit_codes.SETUP
        assert "does not exist" in ran.err


def test_a_missing_driver_is_told_with_the_line_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmroute.ledger_location.find_spec", lambda _name: None)
    with pytest.raises(ConfigError) as raised:
        server_location("postgresql://host/db", None, tmp_path, "LLMROUTE_LEDGER")
    assert raised.value.exit_code == exit_codes.SETUP
    assert str(raised.value.hint) == "pip install 'llmroute[postgres]'"


def bill(ran: Ran) -> dict[str, object]:
    """Return a report without the moment at which it was made."""
    return {name: value for name, value in json.loads(ran.out).items() if name != "until"}


def test_a_file_is_moved_once_with_the_sums_of_pruned_calls(host: Host) -> None:
    path = host.home / "llmroute" / "ledger.db"
    now_ms = round(time.time() * 1000)
    day_ms = 86_400_000
    with Ledger(path) as ledger:
        for number in range(30):
            made = row(f"r{number}", at_ms=now_ms - number * 10 * day_ms, model=f"m{number % 2}", task="\0nul")
            ledger.settle(settled(made, USD))
        ledger.begin(row("pending", at_ms=now_ms))
        ledger.prune(now_ms - 100 * day_ms)
    url = host._settings["LLMROUTE_LEDGER"]
    before = bill(host.run("costs", "--period", "all", "--json", LLMROUTE_LEDGER=""))
    moved = host.run("costs", "move", url, LLMROUTE_LEDGER="")
    assert moved.code == 0
    assert "11 attempts copied" in moved.err
    assert "1 pending call" in moved.err
    assert bill(host.run("costs", "--period", "all", "--json")) == before
    again = host.run("costs", "move", url, LLMROUTE_LEDGER="")
    assert "0 attempts copied" in again.err
    assert "11 attempts were there already" in again.err
    assert bill(host.run("costs", "--period", "all", "--json")) == before
    assert "sound" in host.run("costs", "check").out
    assert host.run("costs", "move", "ledger.db").code == exit_codes.USAGE
    assert host.run("costs", "move", url, "--from", "nothing.db").code == exit_codes.USAGE


def test_calls_of_a_clone_that_are_not_taken_are_named(host: Host) -> None:
    at_ms = round(time.time() * 1000) - 200 * 86_400_000
    clone = host.home / "clone.db"
    with Ledger(host.home / "llmroute" / "ledger.db") as ledger:
        ledger.settle(settled(row("both", at_ms=at_ms), USD))
        ledger.backup(clone)
        ledger.settle(settled(row("one", at_ms=at_ms), USD))
        ledger.prune(at_ms + 1_000_000)
    with Ledger(clone) as ledger:
        ledger.prune(at_ms + 1_000_000)
    url = host._settings["LLMROUTE_LEDGER"]
    assert "may be missing" not in host.run("costs", "move", url, LLMROUTE_LEDGER="").err
    moved = host.run("costs", "move", url, "--from", str(clone), LLMROUTE_LEDGER="")
    assert "of pruned time 1 call ($1.00) may be missing" in moved.err


def test_rows_that_wait_for_another_url_are_named(host: Host) -> None:
    (host.home / "llmroute").mkdir(exist_ok=True)
    waiting = host.home / "llmroute" / "server-0123456789abcdef.spool"
    waiting.write_text("{}\n")
    checked = host.run("costs", "check")
    assert (checked.code, f"rows wait in {waiting} for a run with another URL" in checked.out) == (0, True), checked
    waiting.write_text("")
    assert "another URL" not in host.run("costs", "check").out


def test_calls_that_wait_elsewhere_for_an_earlier_url_are_named_and_added(host: Host) -> None:
    """The configuration directory became read-only while the server was away, and then the URL changed."""
    assert host.gen().code == 0
    [caps] = (host.home / "llmroute").glob("server-*.caps")
    _, waiting = places(caps.with_suffix(""))
    make_room(waiting, beside=caps.parent)
    waiting.write_bytes(SpooledRow(settled(row("one"), USD)).line() + b"\n")
    new = host._settings["LLMROUTE_LEDGER"].replace("127.0.0.1", "localhost")
    try:
        assert str(waiting) in host.run("costs", LLMROUTE_LEDGER=new).err
        assert f"rows wait in {waiting} for a run" in host.run("costs", "check", LLMROUTE_LEDGER=new).out
        added = host.run("costs", "move", new, "--from", str(waiting))
        assert (added.code, added.out) == (0, "")
        assert f"1 call of {waiting} added" in added.err
        assert not waiting.exists()
        assert host.run("costs", LLMROUTE_LEDGER=new).err == ""
    finally:
        waiting.unlink(missing_ok=True)
    assert host.calls() == 2


def test_calls_that_wait_for_an_earlier_url_are_added_once_at_the_new_one(tmp_path: Path, server: ModelServer) -> None:
    with PostgresServer() as database:
        url = database.database()
        host = Host(tmp_path, url, server)
        assert host.gen().code == 0
        database.stop()
        assert host.gen().code == host.gen().code == 0
        [waiting] = (tmp_path / "llmroute").glob("server-*.spool")
        copied = tmp_path / "again.spool"
        copied.write_bytes(waiting.read_bytes())
        database.start()
        new = url.replace("127.0.0.1", "localhost")
        moved = Host(tmp_path, new, server)
        assert str(waiting) in moved.run("costs").err
        assert moved.calls() == 1
        for spool in (waiting, copied):
            added = moved.run("costs", "move", new, "--from", str(spool))
            assert (added.code, added.out) == (0, "")
            assert added.err.startswith(f"llmroute: 2 calls of {spool} added to postgresql://localhost:")
            assert not spool.exists()
            assert moved.calls() == 3
        assert moved.run("costs").err == ""
        assert moved.run("costs", "move", new, "--from", str(waiting)).code == exit_codes.USAGE


def test_lines_of_a_spool_that_are_no_rows_are_named(host: Host, tmp_path: Path) -> None:
    url, spool = host._settings["LLMROUTE_LEDGER"], tmp_path / "old.spool"
    spool.write_bytes(SpooledRow(settled(row("one"), USD)).line() + b"\nnotes\n{}\n")
    moved = host.run("costs", "move", url, "--from", str(spool))
    assert (moved.code, moved.out) == (exit_codes.SETUP, "")
    assert moved.err == f"llmroute: 2 lines of {spool} are no calls and are kept in {spool}.bad; 1 call added\n"
    assert (host.calls(), (tmp_path / "old.spool.bad").read_text()) == (1, "notes\n{}\n")


@pytest.mark.parametrize("content", [b"", b"notes\n{}\n", b"notes\n" * 1000, b"\0" * (3 << 20)])
def test_a_file_without_a_call_is_no_spool_and_stays_as_it_is(content: bytes, host: Host, tmp_path: Path) -> None:
    notes = tmp_path / "notes.spool"
    notes.write_bytes(content)
    url = host._settings["LLMROUTE_LEDGER"]
    told = host.refused_line("costs", "move", url, "--from", str(notes), code=exit_codes.USAGE)
    assert told.startswith(f"llmroute: no line of {notes} is a call, and the file stays as it is")
    assert notes.read_bytes() == content
    assert not (tmp_path / "notes.spool.bad").exists()


def test_a_spool_with_calls_among_many_other_lines_is_one(host: Host, tmp_path: Path) -> None:
    url, waiting = host._settings["LLMROUTE_LEDGER"], tmp_path / "old.spool"
    call = SpooledRow(settled(row("one"), USD)).line()
    waiting.write_bytes(b"notes\n" * 300 + call + b"\n" + b"notes\n" * 300)
    moved = host.run("costs", "move", url, "--from", str(waiting))
    assert (moved.code, host.calls()) == (exit_codes.SETUP, 1)
    assert "600 lines" in moved.err
    assert "1 call added" in moved.err


def test_a_spool_that_another_process_uses_is_told_and_kept(host: Host, tmp_path: Path) -> None:
    url, waiting = host._settings["LLMROUTE_LEDGER"], tmp_path / "old.spool"
    waiting.write_bytes(SpooledRow(settled(row("one"), USD)).line() + b"\n")
    with waiting.open() as held:
        assert locked(held.fileno(), 0)
        told = host.refused_line("costs", "move", url, "--from", str(waiting), code=exit_codes.SETUP)
    assert told.startswith(f"llmroute: another process uses the spool {waiting}")
    assert host.run("costs", "move", url, "--from", str(waiting)).code == 0
    assert host.calls() == 1


def test_a_check_names_the_lines_of_the_spool_that_are_no_rows(host: Host) -> None:
    assert host.gen().code == 0
    [caps] = (host.home / "llmroute").glob("server-*.caps")
    caps.with_suffix(".spool").write_text("notes\n")
    assert host.gen().code == 0
    checked = host.run("costs", "check")
    assert f"lines that are no rows are kept in {caps.with_suffix('.spool')}.bad" in checked.out, checked


def test_progress_is_shown_while_a_file_is_moved(host: Host) -> None:
    with Ledger(host.home / "llmroute" / "ledger.db") as ledger:
        ledger.settle(settled(row("one"), USD))
    url = host._settings["LLMROUTE_LEDGER"]
    seen = run_on_terminal("costs", "move", url, home=host.home)
    assert seen.code == 0
    assert "costs move" in without_escapes(seen.text)
    assert "100%" in without_escapes(seen.text)
