"""`costs`: spans, groups and forms at the shell; what is unknown is never nothing; savings are a what-if."""

from __future__ import annotations

import csv
import io
import json
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.sqlite.store import Ledger
from llmroute.registry import ModelRegistry
from llmroute.service.costs.comparison import what_if
from llmroute.service.costs.report import CostQuery, bill
from tests.support.provider_servers import House
from tests.support.pseudo_terminal import run_on_terminal
from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.config import Config
    from llmroute.service.costs.comparison import WhatIf

HOUR_MS = 3_600_000
NOW_MS = time.time_ns() // 10**6
EVIL = "w\x1b]0;owned\x07\n\tx"


def write(folder: Path, *calls: dict[str, Any]) -> Path:
    """Write settled attempts, each `age_h` hours old."""
    path = folder / "ledger.db"
    with Ledger(path) as ledger:
        for number, call in enumerate(calls):
            facts = {"provider": "openai", "model": "m", "status": "ok", "cost_picousd": 10**10, **call}
            at_ms = NOW_MS - round(facts.pop("age_h", 0) * HOUR_MS)
            tokens = {"input_tokens": 100, "output_tokens": 10}
            ledger.settle(AttemptRow(f"r{number}", 1, at_ms, streaming=False, **{**tokens, **facts}))
    return path


def home_with(tmp_path: Path, *calls: dict[str, Any]) -> Path:
    (tmp_path / "llmroute").mkdir()
    write(tmp_path / "llmroute", *calls)
    return tmp_path


def told(home: Path, *arguments: str, **settings: str) -> dict[str, Any]:
    ran = run("costs", "--json", *arguments, home=home, **settings)
    assert (ran.code, ran.err) == (0, "")
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_a_span_is_that_long_and_has_no_period(tmp_path: Path) -> None:
    home = home_with(tmp_path, {"age_h": 1}, {"age_h": 23}, {"age_h": 26}, {"age_h": 50})
    day = told(home, "--since", "24h")
    assert (day["period"], day["call_count"]) == (None, 2)
    since = datetime.fromisoformat(day["since"])
    assert since.timestamp() % 900 == 0
    assert timedelta() <= datetime.now(UTC) - timedelta(hours=24) - since < timedelta(minutes=16)
    assert told(home, "--since", "2d", "--until", "24h")["call_count"] == 1
    assert told(home, "--until", "24h")["call_count"] == 2
    assert told(home, "--until", "24h")["since"] is None
    assert told(home, "--since", "2020-01-01")["call_count"] == 4
    assert told(home, "--period", "all")["since"] is None


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/New_York"])
def test_days_hours_and_dates_are_those_of_the_users_zone(zone: str, tmp_path: Path) -> None:
    from zoneinfo import ZoneInfo

    home = home_with(tmp_path, {"age_h": 3})
    wall = datetime.fromtimestamp((NOW_MS - 3 * HOUR_MS) / 1000, ZoneInfo(zone))
    [day] = told(home, "--since", "5d", "--by", "day", TZ=zone)["groups"]
    [hour] = told(home, "--since", "5d", "--by", "hour", TZ=zone)["groups"]
    assert day["day"] == wall.date().isoformat()
    assert datetime.fromisoformat(hour["hour"]) == wall.replace(minute=0, second=0, microsecond=0)
    after = wall.date() + timedelta(days=1)
    assert told(home, "--since", day["day"], "--until", after.isoformat(), TZ=zone)["call_count"] == 1
    assert told(home, "--until", day["day"], TZ=zone)["call_count"] == 0


def test_groups_come_under_the_name_of_their_dimension(tmp_path: Path) -> None:
    home = home_with(tmp_path, {"workspace": "a"}, {"workspace": "a", "status": "failed"}, {"task": "chat"})
    groups = {line["workspace"]: line for line in told(home, "--period", "all", "--by", "workspace")["groups"]}
    assert {name: line["call_count"] for name, line in groups.items()} == {"a": 2, None: 1}
    by_model = told(home, "--period", "all", "--by", "model")
    assert by_model["groups"] == by_model["by_model"]
    assert set(groups["a"]) - {"workspace"} == set(by_model["by_model"][0]) - {"provider", "model"}
    assert told(home, "--period", "all")["groups"] == []
    assert told(home, "--period", "all", "--workspace", "")["call_count"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "soon"), "is not a time"),
        (("--since", "99999w"), "is not a time"),
        (("--until", "9999-12-31"), "is not a time"),
        (("--until", "2026-13-01"), "is not a time"),
        (("--since", "1h", "--until", "2h"), "ends before it begins"),
        (("--period", "day", "--since", "1h"), "a period and a span"),
        (("--json", "--csv"), "exclude each other"),
        (("--by", "mood"), "mood"),
        (("export", "all.xlsx"), "must be one of .csv, .jsonl"),
        (("calls", "--last", "0"), "--last"),
    ],
)
def test_what_cannot_be_answered_is_2(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    ran = run("costs", *arguments, home=tmp_path)
    assert (ran.code, said in ran.err) == (2, True), ran.err


def test_unknown_costs_are_never_nothing(tmp_path: Path) -> None:
    home = home_with(tmp_path, {"cost_picousd": None, "age_h": 0}, {"cost_picousd": None, "model": "n"})
    fields = told(home)
    assert (fields["total_cost_usd"], fields["unknown_cost_count"]) == (None, 2)
    assert {line["cost_usd"] for line in fields["by_model"]} == {None}
    text = run("costs", home=home).out
    assert text.startswith("cost unknown since ")
    assert "$0" not in text.split("what if")[0]
    lines = list(csv.DictReader(io.StringIO(run("costs", "--csv", home=home).out)))
    assert [(line["cost_usd"], line["unknown_cost_count"]) for line in lines] == [("", "1"), ("", "1")]
    assert "| openai | m | unknown | 1 | 1 |" in run("costs", "--md", home=home).out


@pytest.mark.parametrize("made", [False, True])
def test_a_ledger_that_is_absent_or_empty_is_a_bill_of_nothing(made: bool, tmp_path: Path) -> None:
    home = home_with(tmp_path) if made else tmp_path
    fields = told(home, "--by", "hour")
    assert (fields["total_cost_usd"], fields["call_count"], fields["groups"]) == (0, 0, [])
    assert run("costs", home=home).out.endswith(": 0 calls (0 failed)\n")
    assert run("costs", "--csv", home=home).out.count("\n") == 1
    assert json.loads(run("costs", "calls", "--json", home=home).out) == []
    assert run("costs", "calls", home=home).out == "no call was made yet\n"
    assert run("costs", "path", home=home).out == f"{home / 'llmroute' / 'ledger.db'}\n"
    assert (home / "llmroute").exists() == made


def test_a_pipe_gets_no_escape_whatever_the_names_are(tmp_path: Path) -> None:
    home = home_with(tmp_path, {"workspace": EVIL, "model": EVIL})
    for arguments in ((), ("--by", "workspace"), ("--md",), ("--workspace", EVIL), ("calls",)):
        out = run("costs", *arguments, home=home, TERM="xterm-256color").out
        assert "owned" in out
        assert not set("\x1b\x07\t") & set(out)
    assert "\x1b[" in run("costs", "--color", "always", home=home, NO_COLOR="1").out


def test_a_spreadsheet_takes_no_name_for_a_formula(tmp_path: Path) -> None:
    names = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "plain-1")
    home = home_with(tmp_path, *({"workspace": name, "model": name, "cost_picousd": 0} for name in names))
    harmless = {"'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "' =1", "plain-1"}
    text = run("costs", "--csv", "--by", "workspace", home=home).out
    assert {line["workspace"] for line in csv.DictReader(io.StringIO(text, newline=""))} == harmless
    run("costs", "export", "all.csv", home=home)
    with (home / "all.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["workspace"] for row in rows} == {row["model"] for row in rows} == harmless
    assert {row["cost_picousd"] for row in rows} == {"0"}, "a number stays a number"


def test_a_table_of_markdown_holds_no_markup_of_strangers(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>&lt; [x](http://evil.example) ![i](y) `c` *b* _i_ ~~s~~ a|b a_b"
    home = home_with(tmp_path, {"workspace": name, "model": name})
    for arguments in (("--by", "workspace"), (), ("--workspace", name)):
        out = run("costs", "--md", *arguments, home=home).out
        assert "&lt;script&gt;" in out
        assert "&amp;lt; " in out
        assert "\\[x\\](http" in out
        assert "\\`c\\` \\*b\\* \\_i\\_ \\~\\~s\\~\\~ a\\|b a_b" in out


def test_a_table_of_csv_on_a_terminal_steers_nothing(tmp_path: Path) -> None:
    home = home_with(tmp_path, {"workspace": EVIL, "model": EVIL})
    for form in ("--csv", "--md"):
        seen = run_on_terminal("costs", form, "--by", "workspace", home=home)
        assert "owned" in seen.text
        assert "\x1b" not in seen.text
    assert "\x1b" in run("costs", "--csv", "--by", "workspace", home=home).out, "a pipe gets what the ledger holds"


def test_calls_are_listed_newest_last_and_exported_whole(tmp_path: Path) -> None:
    calls = [{"age_h": 30 - number, "model": f"m{number}"} for number in range(25)]
    calls[24] |= {"status": "failed", "error": "rate_limit", "http_status": 429, "cost_picousd": None}
    home = home_with(tmp_path, *calls)
    text = run("costs", "calls", home=home).out.splitlines()
    assert [line.split()[2] for line in text[1:]] == [f"openai/m{number}" for number in range(5, 25)]
    assert "failed rate_limit 429  unknown" in text[-1]
    listed = json.loads(run("costs", "calls", "--last", "2", "--json", home=home).out)
    assert [row["model"] for row in listed] == ["m23", "m24"]
    nobody = run("costs", "calls", "--workspace", "nobody", home=home)
    assert nobody.out == "no such call was made\n"
    assert "there are no calls of workspace 'nobody'" in nobody.err
    for name in ("all.csv", "all.jsonl", "all.jsonl"):
        ran = run("costs", "export", name, home=home)
        assert (ran.code, ran.out) == (0, "")
        assert "25 attempts" in ran.err
    exported = [json.loads(line) for line in (home / "all.jsonl").read_text().splitlines()]
    assert exported[-2:] == listed
    assert (home / "all.csv").stat().st_mode & 0o777 == 0o600
    assert run("costs", "export", "nowhere/all.csv", home=home).code == 2
    assert not list(home.glob("*.new-*"))


def test_calls_of_another_year_are_listed_with_their_years(tmp_path: Path) -> None:
    home = home_with(tmp_path, {"age_h": 24 * 370}, {"age_h": 0})
    older, newer = run("costs", "calls", home=home).out.splitlines()[1:]
    years = [int(line[:4]) for line in (older, newer)]
    assert older[4] == newer[4] == "-"
    assert years[0] in {years[1] - 1, years[1] - 2}
    (alone,) = run("costs", "calls", "--last", "1", home=home).out.splitlines()[1:]
    assert alone[2] == "-"


TODAY = date(2026, 11, 23)
USER = {
    "openai/best": {"quality": 100, "input": 10, "output": 40, "cache_read": 1},
    "openai/gone": {"quality": 100, "input": 1, "output": 1, "retires_on": "2026-11-01"},
    "mistral/of-no-price": {"quality": 100},
}


def elsewhere(config: Config, path: Path, default: str | None) -> WhatIf | None:
    config = replace(config, ledger_path=path, default_provider=default)
    registry = ModelRegistry(user_models=USER, today=TODAY)
    return what_if(config, bill(config, CostQuery("all")), registry)


def test_savings_are_what_the_same_tokens_would_have_cost_on_the_best_living_model(tmp_path: Path) -> None:
    config = House(tmp_path).service().config
    call = {"input_tokens": 1_000, "cached_input_tokens": 400, "output_tokens": 100, "cost_picousd": 5}
    path = write(tmp_path, call | {"provider": "mistral"}, call, call)
    told = elsewhere(config, path, None)
    assert told is not None
    assert (told.provider, told.model, told.most_used) == ("openai", "best", True)
    assert told.cost_usd == pytest.approx(3 * (600 * 10 + 400 * 1 + 100 * 40) / 10**6)
    named = elsewhere(config, path, "openai")
    assert named is not None
    assert (named.model, named.most_used) == ("best", False)
    assert elsewhere(config, path, "mistral") is None, "the price of its best is unknown"


def test_nobody_can_say_what_nothing_would_have_cost(tmp_path: Path) -> None:
    config = House(tmp_path).service().config
    path = write(tmp_path, {"input_tokens": None, "output_tokens": None})
    assert elsewhere(config, path, "openai") is None
    home = tmp_path / "other"
    home.mkdir()
    assert elsewhere(config, write(home, {"provider": "a-house-of-its-own"}), None) is None


def test_a_workspace_that_no_call_was_made_for_is_told_with_who_may_be_meant(tmp_path: Path) -> None:
    home = home_with(tmp_path, {"workspace": "nightly"})
    ran = run("costs", "--workspace", "nihgtly", home=home)
    assert ran.code == 0
    assert ran.out.startswith("$0.00 in workspace nihgtly")
    assert ran.err == "llmroute: there are no calls of workspace 'nihgtly' (did you mean nightly?)\n"
    assert run("costs", "--workspace", "nightly", "--period", "day", home=home).err == ""


@pytest.mark.parametrize(
    "command", [("costs",), ("costs", "calls"), ("costs", "budget"), ("costs", "export", "-"), ("costs", "check")]
)
def test_a_line_of_env_that_does_not_parse_is_noted_by_every_command(command: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "llmroute"
    folder.mkdir()
    write(folder, {"age_h": 0})
    (folder / ".env").write_text("LLMROUTE_DEFAULT_PERIOD s3cret\n")
    ran = run(*command, home=tmp_path)
    assert (ran.code, "line 1 does not parse and is ignored" in ran.err, "s3cret" in ran.err) == (0, True, False)
