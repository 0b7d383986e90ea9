"""`costs reconcile` at the shell: JSON, exit codes, and what a bad key, report or address gets."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.sqlite.store import Ledger
from tests.support.fault_server import Pause, Received, Script, reply, serving
from tests.support.report_server import ReportServer
from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-admin-0123456789"
YESTERDAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
MODEL = "claude-haiku-5-5"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "llmroute").mkdir()
    with Ledger(tmp_path / "llmroute" / "ledger.db") as ledger:
        at_ms = round(YESTERDAY.timestamp() * 1000)
        row = AttemptRow("r", 1, at_ms, "anthropic", MODEL, streaming=False, status="ok", cost_basis="reported")
        row.input_tokens, row.output_tokens, row.cost_picousd = 1_000, 100, 10**12
        ledger.settle(row)
    return tmp_path


def vendor(cents: str, **facts: object) -> ReportServer:
    day = YESTERDAY.date()
    return ReportServer([(day, MODEL, cents)], [(day, MODEL, 1_000, 100)], **facts)  # type: ignore[arg-type]


def test_json_has_the_documented_fields_and_nothing_else(home: Path) -> None:
    with serving(vendor("100")) as server:
        settings = {"ANTHROPIC_ADMIN_KEY": KEY, "ANTHROPIC_BASE_URL": server.url}
        ran = run("costs", "reconcile", "--period", "all", "--json", home=home, **settings)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert list(found) == ["period", "since", "until", "vendors"]
    (one,) = found["vendors"]
    day = {"date": str(YESTERDAY.date()), "ledger_usd": 1.0, "vendor_usd": 1.0, "difference_usd": 0.0}
    tokens = {
        "ledger_input_tokens": 1_000, "vendor_input_tokens": 1_000,
        "ledger_output_tokens": 100, "vendor_output_tokens": 100,
    }  # fmt: skip
    assert one["days"][0] == {**day, "models": [{"model": MODEL, "ledger_usd": 1.0, "vendor_usd": 1.0, **tokens}]}
    assert {name: one[name] for name in one if name != "days"} == {
        "provider": "anthropic", "ledger_usd": 1.0, "vendor_usd": 1.0, "difference_usd": 0.0, "explained": [],
    }  # fmt: skip
    assert "mistral and together have no cost report" in ran.err
    assert "openai: not compared (set OPENAI_ADMIN_KEY)" in ran.err
    assert KEY not in ran.out + ran.err


def test_a_difference_beyond_the_tolerance_exits_with_4_and_is_explained(home: Path) -> None:
    with serving(vendor("125")) as server:
        settings = {"ANTHROPIC_ADMIN_KEY": KEY, "ANTHROPIC_BASE_URL": server.url}
        ran = run("costs", "reconcile", "--period", "all", home=home, **settings)
        assert ran.code == 4
        assert "another price for the tokens that both have" in ran.out
        assert f"outside the tolerance of 1 %: anthropic {YESTERDAY.date()}, anthropic in total" in ran.err
        wide = run("costs", "reconcile", "--period", "all", "--tolerance", "20", home=home, **settings)
        assert wide.code == 0


def test_the_admin_key_calls_no_model_and_the_key_of_calls_reads_no_report(home: Path) -> None:
    with serving(vendor("100")) as server:
        address = {"ANTHROPIC_BASE_URL": server.url}
        refused = run("gen", "hi", "-m", f"anthropic/{MODEL}", home=home, ANTHROPIC_ADMIN_KEY=KEY, **address)
        assert (refused.code, server.received) == (3, [])
        run(
            "costs",
            "reconcile",
            "--period",
            "all",
            home=home,
            ANTHROPIC_ADMIN_KEY=KEY,
            ANTHROPIC_API_KEY="sk-of-calls",
            **address,
        )
        assert {each.headers["x-api-key"] for each in server.received} == {KEY}
    assert KEY.encode() not in b"".join(path.read_bytes() for path in (home / "llmroute").iterdir())


def redirecting(_received: Received) -> Script:
    return [b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"]


def refusing_in_band(_received: Received) -> Script:
    error = {"type": "authentication_error", "message": f"invalid x-api-key {KEY}"}
    return [reply(200, json.dumps({"type": "error", "error": error}).encode())]


BAD = {
    "a key refused with status 200": (refusing_in_band, 3, "check ANTHROPIC_ADMIN_KEY"),
    "a refused key": (vendor("1", status=401, key=KEY), 3, "check ANTHROPIC_ADMIN_KEY"),
    "a key without the permission": (vendor("1", status=403, key=KEY), 3, "check ANTHROPIC_ADMIN_KEY"),
    "no report there": (vendor("1", status=404, key=KEY), 4, "ANTHROPIC_BASE_URL"),
    "too many requests": (vendor("1", status=429, key=KEY), 4, "429"),
    "a server error": (vendor("1", status=500, key=KEY), 4, "500"),
    "another currency": (vendor("1", currency="EUR"), 4, "'EUR'"),
    "a page token that loops": (vendor("1", loops=True), 4, "a page token came twice"),
    "a page that is sent again": (vendor("1", again=True), 4, f"has {YESTERDAY.date()} twice"),
    "a redirect": (redirecting, 4, "302"),
}


@pytest.mark.parametrize(("behaves", "code", "told"), BAD.values(), ids=BAD)
def test_a_report_that_cannot_be_used_is_one_line(home: Path, behaves: ReportServer, code: int, told: str) -> None:
    with serving(behaves) as server:
        settings = {"ANTHROPIC_ADMIN_KEY": KEY, "ANTHROPIC_BASE_URL": server.url}
        ran = run("costs", "reconcile", "--period", "all", home=home, **settings)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.count("\n") == 1
    assert told in ran.err
    assert KEY not in ran.err


@pytest.mark.parametrize("status", [429, 500, 529])
def test_a_busy_vendor_is_asked_again_after_the_pause_that_it_names(home: Path, status: int) -> None:
    with serving(vendor("100", status=status, failures=2)) as server:
        settings = {"ANTHROPIC_ADMIN_KEY": KEY, "ANTHROPIC_BASE_URL": server.url}
        ran = run("costs", "reconcile", "--period", "all", home=home, **settings)
        paths = [each.path for each in server.received]
    assert ran.code == 0, ran.err
    assert paths[0] == paths[1] == paths[2] != paths[3]


def test_a_pause_beyond_a_minute_is_not_waited_for(home: Path) -> None:
    with serving([reply(429, b"{}", headers={"retry-after": "3600"})]) as server:
        settings = {"ANTHROPIC_ADMIN_KEY": KEY, "ANTHROPIC_BASE_URL": server.url}
        ran = run("costs", "reconcile", "--period", "all", home=home, **settings)
        assert (ran.code, ran.out, len(server.received)) == (4, "", 1)


FAILING = {
    "a refused key": (ReportServer(status=401), 3),
    "an error": (ReportServer(status=500), 4),
    "another currency": (ReportServer([(YESTERDAY.date(), "gpt-5", "1")], currency="EUR"), 4),
}


@pytest.mark.parametrize(("other", "code"), FAILING.values(), ids=FAILING)
def test_where_one_report_cannot_be_read_the_other_is_printed(home: Path, other: ReportServer, code: int) -> None:
    with serving(vendor("100")) as anthropic, serving(other) as openai:
        settings = {"ANTHROPIC_ADMIN_KEY": KEY, "ANTHROPIC_BASE_URL": anthropic.url}
        settings |= {"OPENAI_ADMIN_KEY": KEY, "OPENAI_BASE_URL": openai.url}
        ran = run("costs", "reconcile", "--period", "all", "--json", home=home, **settings)
    assert (ran.code, [one["provider"] for one in json.loads(ran.out)["vendors"]]) == (code, ["anthropic"])
    assert "llmroute: not compared: openai" in ran.err


def test_a_provider_that_cannot_be_reached_is_named(home: Path) -> None:
    with socket.socket() as refusing:
        # Bound and not listening.
        refusing.bind(("127.0.0.1", 0))
        settings = {"OPENAI_ADMIN_KEY": KEY, "OPENAI_BASE_URL": f"http://127.0.0.1:{refusing.getsockname()[1]}/v1"}
        ran = run("costs", "reconcile", home=home, **settings)
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("llmroute: openai: no connection")


def test_an_admin_key_that_may_not_be_sent_leaves_the_other_report(home: Path) -> None:
    far = {"OPENAI_ADMIN_KEY": KEY, "OPENAI_BASE_URL": "http://far.example/v1"}
    with serving(vendor("100")) as server:
        settings = {"ANTHROPIC_ADMIN_KEY": KEY, "ANTHROPIC_BASE_URL": server.url}
        ran = run("costs", "reconcile", "--period", "all", home=home, **settings, **far)
    assert (ran.code, "anthropic" in ran.out, "plain http" in ran.err) == (3, True, True)


def test_without_an_admin_key_nothing_is_sent(home: Path) -> None:
    with serving([Pause(0)]) as server:
        ran = run("costs", "reconcile", home=home, ANTHROPIC_BASE_URL=server.url, ANTHROPIC_API_KEY="sk-of-calls")
        assert server.received == []
    assert ran.code == 3
    assert "set OPENAI_ADMIN_KEY or ANTHROPIC_ADMIN_KEY" in ran.err


def test_an_admin_key_goes_to_no_address_of_a_strangers_env_file_and_over_no_plain_http(home: Path) -> None:
    far = {"ANTHROPIC_ADMIN_KEY": KEY, "ANTHROPIC_BASE_URL": "http://far.example"}
    plain = run("costs", "reconcile", home=home, **far)
    assert (plain.code, "plain http" in plain.err, KEY in plain.err) == (3, True, False)
    (home / ".env").write_text("ANTHROPIC_BASE_URL=https://far.example\n")
    stranger = run("costs", "reconcile", home=home, ANTHROPIC_ADMIN_KEY=KEY)
    assert (stranger.code, "would receive a key from another source" in stranger.err) == (3, True)


@pytest.mark.parametrize(
    "arguments",
    [("--tolerance", "-1"), ("--tolerance", "nan"), ("--tolerance", "x"), ("--period", "fortnight"), ("--period", "")],
)
def test_an_option_that_makes_no_sense_is_a_usage_error(home: Path, arguments: tuple[str, ...]) -> None:
    ran = run("costs", "reconcile", *arguments, home=home, ANTHROPIC_ADMIN_KEY=KEY)
    assert (ran.code, ran.out) == (2, "")
