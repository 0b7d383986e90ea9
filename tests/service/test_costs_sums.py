"""Every report of a ledger of two years is what a count of its rows by brute force comes to, wherever one lives."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_type_hints
from zoneinfo import ZoneInfo

import pytest

from llmroute.cli.commands.costs import report
from llmroute.cli.output.charts import cost
from llmroute.cli.output.costs.formats import as_csv, as_json, as_markdown
from llmroute.cli.output.costs.text import report_parts
from llmroute.cli.output.tables import rendered
from llmroute.config import Timeouts
from llmroute.ledger.periods import milliseconds
from llmroute.service.costs.attempts import export
from llmroute.service.costs.comparison import Comparison, cost_screen
from llmroute.service.costs.report import CostQuery, bill
from llmroute.types import DIMENSIONS
from tests.support.generated_ledger import ATTEMPTS, WORKSPACES, count, generate, read, with_wall_clock
from tests.support.provider_servers import House

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.config import Config

# 25 hours long in Berlin, and the day after a change in spring; never on a quarter of an hour.
NOWS = (datetime(2025, 10, 26, 17, 7, 3, tzinfo=UTC), datetime(2026, 3, 30, 4, 52, tzinfo=UTC))
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu")
QUARTER = timedelta(minutes=15)


class Case(NamedTuple):
    """A question, and the span that it means, its end excluded."""

    question: CostQuery
    since: datetime | None
    until: datetime


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    home = tmp_path_factory.mktemp("generated")
    path = home / "ledger.db"
    generate(path)
    made = House(home).service().config
    return replace(made, ledger_path=path, timeouts=Timeouts())


@pytest.fixture(scope="module")
def rows(config: Config) -> list[dict[str, Any]]:
    found = read(config.ledger_path)
    assert len(found) == ATTEMPTS
    return found


def floor(moment: datetime) -> datetime:
    utc = moment.astimezone(UTC)
    return utc.replace(minute=utc.minute // 15 * 15, second=0, microsecond=0)


def cases(now: datetime) -> list[Case]:
    zone = now.tzinfo
    day = datetime(now.year, now.month, now.day, tzinfo=zone)
    monday = now.date() - timedelta(days=now.weekday())
    # The quarter under way is in the report as far as it is gone.
    end = floor(now) + QUARTER

    def back(hours: int) -> datetime:
        return floor(now.astimezone(UTC) - timedelta(hours=hours))

    return [
        Case(CostQuery("day"), day, end),
        Case(CostQuery("week"), datetime(monday.year, monday.month, monday.day, tzinfo=zone), end),
        Case(CostQuery("month", workspace="alpha"), datetime(now.year, now.month, 1, tzinfo=zone), end),
        Case(CostQuery("year", workspace=""), datetime(now.year, 1, 1, tzinfo=zone), end),
        Case(CostQuery(since="7d"), back(7 * 24), end),
        Case(CostQuery(since="36h", until="5h", workspace=WORKSPACES[2]), back(36), back(5)),
        Case(
            CostQuery(since="2025-10-26", until="2026-03-30"),
            datetime(2025, 10, 26, tzinfo=zone),
            datetime(2026, 3, 30, tzinfo=zone),
        ),
    ]


def inside(rows: list[dict[str, Any]], case: Case) -> list[dict[str, Any]]:
    since_ms = -1 if case.since is None else milliseconds(case.since)
    until_ms, workspace = milliseconds(case.until), case.question.workspace
    return [
        row
        for row in rows
        if since_ms <= row["started_ms"] < until_ms and (workspace is None or (row["workspace"] or "") == workspace)
    ]


@pytest.mark.parametrize("zone", ZONES)
def test_every_report_equals_a_count_by_brute_force(zone: str, config: Config, rows: list[dict[str, Any]]) -> None:
    placed = with_wall_clock(rows, ZoneInfo(zone))
    for moment in NOWS:
        now = moment.astimezone(ZoneInfo(zone))
        everything = Case(CostQuery("all"), None, now.replace(year=now.year + 100))
        for case in [*cases(now), everything] if moment is NOWS[0] else cases(now)[:3]:
            own = inside(placed, case)
            whole = count(own, None)[()]
            expected = whole.as_told()
            for by in DIMENSIONS:
                told = bill(config, replace(case.question, by=by), now=now)
                same_groups(as_json(told), own, by)
            assert told.total.fallback_cost_usd == whole.sums["fallback"] / 10**12
            fields = as_json(told)
            assert fields["total_cost_usd"] == expected["cost_usd"]
            assert fields["total_tokens"] == expected["input_tokens"] + expected["output_tokens"]
            for name in ("unknown_cost_count", "call_count", "failed_count", "input_tokens", "output_tokens"):
                assert fields[name] == expected[name] > 0, case


def same_groups(fields: dict[str, Any], own: list[dict[str, Any]], by: str) -> None:
    names = ("provider", "model") if by == "model" else (by,)
    told = {tuple(line.pop(name) for name in names): line for line in fields["groups"]}
    for line in told.values():
        for name in ("saved_usd", "saved_is_partial"):
            line.pop(name, None)
    assert len(told) == len(fields["groups"])
    assert told == {key: group.as_told() for key, group in count(own, by).items()}
    if by in ("day", "hour"):
        moments = [datetime.fromisoformat(str(key[0])).timestamp() for key in told]
        assert moments == sorted(moments)
    else:
        sums = [line["cost_usd"] or 0 for line in told.values()]
        assert sums == sorted(sums, reverse=True)


def test_a_day_when_the_clocks_change_has_23_or_25_hours(config: Config) -> None:
    zone = ZoneInfo("Europe/Berlin")
    for day, hours in (("2025-10-26", 25), ("2025-10-25", 24), ("2026-03-29", 23)):
        after = (datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat()
        told = bill(config, CostQuery(since=day, until=after, by="hour"), now=NOWS[1].astimezone(zone))
        assert len(told.groups) == hours
        assert {line.key["hour"][:10] for line in told.groups} == {day}
    twice = bill(config, CostQuery(since="2025-10-26", until="2025-10-27", by="hour"), now=NOWS[1].astimezone(zone))
    assert {"2025-10-26T02:00+02:00", "2025-10-26T02:00+01:00"} <= {line.key["hour"] for line in twice.groups}


@pytest.mark.parametrize("zone", ZONES)
def test_the_span_before_and_the_days_equal_a_count_too(zone: str, config: Config, rows: list[dict[str, Any]]) -> None:
    now = NOWS[0].astimezone(ZoneInfo(zone))
    placed = with_wall_clock(rows, ZoneInfo(zone))
    for case in cases(now)[:4]:
        screen = cost_screen(config, case.question, charts=True, now=now)
        seen = screen.comparison
        assert screen.charts is not None
        assert seen.before is not None
        assert case.since is not None
        length_ms = milliseconds(seen.before.until) - milliseconds(seen.before.since)
        assert 0 <= milliseconds(now) - milliseconds(case.since) - length_ms <= 3 * 86_400_000
        span = case._replace(since=seen.before.since, until=floor(seen.before.until - timedelta(seconds=1)) + QUARTER)
        assert seen.before.total.call_count == len(inside(placed, span))
        by_day = count(inside(placed, case), "day")
        days = screen.charts.days
        assert len(days) <= 31
        for day, line in days:
            group = by_day.get((day.isoformat(),))
            assert line.call_count == (group.sums["call_count"] if group else 0)
            assert line.cost_picousd == (group.sums["cost"] if group else 0)


def test_the_span_before_is_the_calendars(config: Config) -> None:
    zone = ZoneInfo("Europe/Berlin")
    march = datetime(2026, 3, 31, 12, tzinfo=zone)
    seen = cost_screen(config, CostQuery("month"), charts=False, now=march).comparison
    assert seen.before is not None
    assert (seen.before.since, seen.before.until) == (
        datetime(2026, 2, 1, tzinfo=zone),
        datetime(2026, 3, 1, tzinfo=zone),
    )
    assert cost_screen(config, CostQuery("all"), charts=False, now=march).comparison.before is None
    week = cost_screen(config, CostQuery(since="7d"), charts=False, now=march).comparison.before
    assert week is not None
    assert week.until - week.since == timedelta(days=7)


@pytest.mark.parametrize("by", [None, *DIMENSIONS])
def test_each_form_reads_back_to_the_same_figures(by: str | None, config: Config) -> None:
    now = NOWS[0].astimezone(ZoneInfo("Asia/Kathmandu"))
    told = bill(config, CostQuery("month", by=by), now=now)
    fields = as_json(told)
    assert json.loads(json.dumps(fields)) == fields
    lines = fields["groups"] if by else fields["by_model"]
    assert lines
    head, *body = csv.reader(io.StringIO(as_csv(told)))
    assert [dict(zip(head, map(value_of, row), strict=True)) for row in body] == [comparable(line) for line in lines]
    table = [line for line in as_markdown(told).splitlines() if line.startswith("|")]
    names, _, *cells = [markdown_cells(line) for line in table]
    assert names == head
    assert [dict(zip(names, map(value_of, row), strict=True)) for row in cells] == [comparable(line) for line in lines]


@pytest.mark.parametrize("by", DIMENSIONS)
@pytest.mark.parametrize("width", [None, 80])
def test_the_table_for_people_tells_the_same_figures(width: int | None, by: str, config: Config) -> None:
    now = NOWS[0].astimezone(ZoneInfo("Europe/Berlin"))
    told = bill(config, CostQuery("month", by=by), now=now)
    text = rendered(report_parts(told, Comparison(None, None), None, width), width)
    head, *table = text.partition("\n\n")[2].splitlines()
    assert head.split() == [by, "cost", "calls", "failed", "in", "out"]
    figures = [line.rsplit(maxsplit=5)[-5:] for line in table if len(line.split()) > 4]
    expected = [
        [
            cost(line),
            *(f"{value:,}" for value in (line.call_count, line.failed_count, line.input_tokens, line.output_tokens)),
        ]
        for line in told.groups
    ]
    assert figures == expected
    assert width is None or max(map(len, text.splitlines())) <= width


def value_of(text: str) -> object:
    if text in ("", "(none)", "unknown"):
        return None
    try:
        return float(text)
    except ValueError:
        return text


def comparable(line: dict[str, Any]) -> dict[str, Any]:
    return {name: float(value) if isinstance(value, int) else value for name, value in line.items()}


def markdown_cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]
    return [unescape(re.sub(r"\\([^A-Za-z0-9\s])", r"\1", cell.strip())) for cell in cells]


def test_an_export_reads_back_to_the_rows(config: Config, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    for name in ("all.jsonl", "all.csv"):
        assert export(config, tmp_path / name).row_count == ATTEMPTS
    ordered = sorted(rows, key=lambda row: (row["started_ms"], row["id"]))
    with (tmp_path / "all.jsonl").open(encoding="utf-8") as file:
        assert [json.loads(line) for line in file] == ordered
    with (tmp_path / "all.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert found == [{name: "" if value is None else str(value) for name, value in row.items()} for row in ordered]


def test_the_command_offers_each_dimension() -> None:
    offered = get_type_hints(report)["by"]
    assert set(get_args(get_args(offered)[0])) == set(DIMENSIONS)
