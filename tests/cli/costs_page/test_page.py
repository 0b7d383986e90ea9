"""`costs --html` writes one complete file with the figures of `costs --json`, or none."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import time
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.sqlite.store import Ledger
from llmroute.planning.usage_cost import price_as_json
from llmroute.types import Price
from tests.cli.costs_page.ledgers import fill
from tests.support.shell import environment, run

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("jinja2")

MOST_BYTES = 300_000
WITHOUT_JINJA2 = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "jinja2" else found(name, *rest)
from llmroute.__main__ import run
sys.argv = ["llmroute", "costs", "--html", sys.argv[1]]
run()
"""


class Tables(HTMLParser):
    """The rows of each table by its id: the exact values of its cells, or their texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._value: str | None = None
        self._in_body = self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "table":
            self._table = self.rows.setdefault(str(found["id"]), [])
        elif tag == "tbody":
            self._in_body = True
        elif tag == "tr" and self._in_body:
            self._table.append([])
        elif tag in ("td", "th") and self._in_body:
            self._in_cell = True
            self._table[-1].append(found.get("data-v") or "")
            self._value = found.get("data-v")

    def handle_endtag(self, tag: str) -> None:
        self._in_body = self._in_body and tag != "tbody"
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell and self._value is None:
            self._table[-1][-1] += data


def home_folder(home: Path) -> Path:
    folder = home / "llmroute"
    folder.mkdir()
    return folder


def page(home: Path, *arguments: str) -> str:
    file = home / "page.html"
    ran = run("costs", "--html", str(file), *arguments, home=home)
    assert (ran.code, ran.out, ran.err) == (0, "", f"llmroute: report written to {file}\n")
    return file.read_text(encoding="utf-8")


def test_the_figures_are_those_of_the_json_report(tmp_path: Path) -> None:
    fill(tmp_path, 400)
    asked = ("--period", "all", "--by", "workspace")
    told = json.loads(run("costs", *asked, "--json", home=tmp_path).out)
    tables = Tables(page(tmp_path, *asked))
    assert [(row[1], row[2], row[3], row[4]) for row in tables.rows["t-model"]] == [
        (
            "" if line["cost_usd"] is None else f"{line['cost_usd']:.12f}".rstrip("0").rstrip("."),
            str(line["call_count"]),
            str(line["failed_count"]),
            str(line["input_tokens"]),
        )
        for line in told["by_model"]
    ]
    assert [row[0] for row in tables.rows["t-workspace"]] == [line["workspace"] or "(none)" for line in told["groups"]]
    for name in ("t-day", "t-provider", "t-task", "t-strategy", "t-status"):
        assert sum(float(row[1] or 0) for row in tables.rows[name]) == pytest.approx(told["total_cost_usd"])
        assert sum(int(row[2]) for row in tables.rows[name]) == told["call_count"]
    (total,) = (found for _, found in tables.tags if found.get("id") == "total")
    assert float(str(total["data-v"])) == told["total_cost_usd"]


def test_what_caches_saved_is_the_figure_of_the_json_report(tmp_path: Path) -> None:
    fill(tmp_path, 60)
    told = json.loads(run("costs", "--period", "all", "--json", home=tmp_path).out)["cache_saved_usd"]
    [shown] = re.findall(r'saved by caches</dt><dd data-v="([^"]*)"', page(tmp_path, "--period", "all"))
    assert float(shown) == told > 0


@pytest.mark.parametrize("mark", ["+?", ""])
def test_sums_that_may_lack_an_unknown_cost_are_marked_alike_on_the_page_and_in_the_table(
    mark: str, tmp_path: Path
) -> None:
    models = ("gpt-5.4-mini", "of-unknown-price") if mark else ("gpt-5.4-mini",)
    with Ledger(home_folder(tmp_path) / "ledger.db") as ledger:
        for model in models:
            row = AttemptRow(model, 2, time.time_ns() // 10**6, "openai", model, streaming=False, status="ok")
            row.service_tier, row.latency_ms = "batch", 5
            row.input_tokens, row.cached_input_tokens, row.output_tokens = 9_000, 4_000, 100
            if model != "of-unknown-price":
                row.cost_picousd, row.price = 10**9, price_as_json(Price(400_000, 2_000_000, 40_000))
            ledger.settle(row)
    tiles = dict(re.findall(r'<dt>([^<]*)</dt><dd data-v="[^"]+">(-?\$[0-9.]+(?:\+\?)?)<', page(tmp_path)))
    table = run("costs", "--by", "tier", home=tmp_path).out
    for name, words in (
        ("retries and fallbacks", "retries and fallbacks cost {} of it"),
        ("saved by caches", "prompt caches saved {}"),
        ("saved by batches", "batch: {} less than at the standard price"),
    ):
        assert words.format(tiles[name]) in table.splitlines()
        assert tiles[name].endswith("+?") is bool(mark)
    told = json.loads(run("costs", "--by", "tier", "--json", home=tmp_path).out)
    assert told["fallback_cost_usd"] == told["total_cost_usd"] == 0.001
    assert (told["cache_saved_is_partial"], told["groups"][0]["saved_is_partial"]) == (bool(mark), bool(mark))


def test_single_calls_are_told_with_how_exact_their_cost_is(tmp_path: Path) -> None:
    fill(tmp_path, 60)
    text = page(tmp_path, "--period", "all")
    table = run("costs", "calls", "--last", "60", home=tmp_path).out
    cost = r"(?:at most )?\$[0-9.]+|~\$[0-9.]+ \(at most \$[0-9.]+\)|unknown"
    told = {line.split()[-1]: re.search(rf" ({cost}) ", line) for line in table.splitlines()[1:]}
    shown = re.findall(rf'">({cost})</td>.*data-v="([0-9]+)">\2</td></tr>', text[text.index('id="t-dearest"') :])
    assert len(shown) == 20
    for words, number in shown:
        assert (known := told[number]) is not None
        assert words == known[1]
    assert {words.split("$")[0] for words, _ in shown} == {"", "at most ", "~", "unknown"}


def test_only_the_workspace_that_is_asked_for_is_on_the_page(tmp_path: Path) -> None:
    fill(tmp_path, 60)
    text = page(tmp_path, "--workspace", "nightly", "--period", "all")
    told = json.loads(run("costs", "--workspace", "nightly", "--period", "all", "--json", home=tmp_path).out)
    tables = Tables(text)
    assert sum(int(row[2]) for row in tables.rows["t-model"]) == told["call_count"] == 20
    assert "example.com" not in text


@pytest.mark.parametrize(("calls", "tables"), [(0, {"t-budgets"}), (1, {"t-budgets", "t-day", "t-model"})])
def test_an_empty_ledger_and_one_call_have_a_page(calls: int, tables: set[str], tmp_path: Path) -> None:
    fill(tmp_path, calls)
    found = Tables(page(tmp_path)).rows
    assert tables <= found.keys()
    assert sum(int(row[2]) for row in found.get("t-model", [])) == calls


def test_names_of_strangers_are_text_and_nothing_is_loaded(tmp_path: Path) -> None:
    fill(tmp_path, 60)
    text = page(tmp_path, "--period", "all")
    tags = Tables(text).tags
    assert [tag for tag, _ in tags if tag in ("img", "iframe", "object", "base", "form")] == []
    assert len([tag for tag, _ in tags if tag == "script"]) == 1
    assert [found for _, found in tags if "src" in found or any(name.startswith("on") for name in found)] == []
    assert [found["href"] for _, found in tags if "href" in found] == ["data:,"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{7*7}}" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_single_calls_are_the_dearest_and_the_slowest_of_the_span(tmp_path: Path) -> None:
    fill(tmp_path, 200)
    rows = [
        json.loads(line) for line in run("costs", "export", "-", "--format", "jsonl", home=tmp_path).out.splitlines()
    ]
    for asked, own in (
        ((), rows),
        (("--workspace", "nightly"), [row for row in rows if row["workspace"] == "nightly"]),
    ):
        tables = Tables(page(tmp_path, "--period", "all", *asked)).rows
        for name, column in (("t-dearest", "cost_picousd"), ("t-slowest", "latency_ms")):
            highest = sorted((row for row in own if row[column]), key=lambda row: (-row[column], row["id"]))[:10]
            assert [int(row[-1]) for row in tables[name]] == [row["id"] for row in highest]
        failed = [row for row in own if row["status"] == "failed"]
        assert tables["t-errors"] == [["rate_limited", str(len(failed))]]


def test_rejected_answers_are_counted_apart_from_failures_everywhere(tmp_path: Path) -> None:
    with Ledger(home_folder(tmp_path) / "ledger.db") as ledger:
        for number, status in enumerate(("ok", "failed", "rejected", "rejected")):
            row = AttemptRow(
                f"r{number}", 1, time.time_ns() // 10**6, "openai", "gpt-5", streaming=False, status=status
            )
            row.error, row.cost_picousd, row.latency_ms = {"rejected": "check"}.get(status), 10**9, 5
            ledger.settle(row)
    told = json.loads(run("costs", "--json", home=tmp_path).out)
    for counts in (told, told["by_model"][0]):
        assert (counts["call_count"], counts["failed_count"], counts["rejected_count"]) == (4, 1, 2)
    table = run("costs", home=tmp_path).out
    assert "4 calls (1 failed, 2 rejected)" in table
    assert "calls  failed  rejected" in table
    rows = Tables(page(tmp_path)).rows
    assert rows["t-model"][0][2:5] == ["4", "1", "2"]
    assert rows["t-errors"] == [["check", "2"], ["failed", "1"]]


def test_what_is_not_known_of_pruned_calls_is_said(tmp_path: Path) -> None:
    fill(tmp_path, 200)
    assert "prune" not in page(tmp_path, "--period", "all")
    whole = json.loads(run("costs", "--period", "all", "--json", home=tmp_path).out)
    assert run("costs", "prune", "--older-than", "60d", "--yes", home=tmp_path).code == 0
    told = json.loads(run("costs", "--period", "all", "--json", home=tmp_path).out)
    left = len(run("costs", "export", "-", "--format", "jsonl", home=tmp_path).out.splitlines())
    assert (whole["pruned_count"], told["pruned_count"]) == (0, told["call_count"] - left)
    assert told["pruned_count"] > 0
    said = f"{told['pruned_count']} calls are pruned: whether their costs are exact is not known"
    assert said in run("costs", "--period", "all", home=tmp_path).out.splitlines()
    text = page(tmp_path, "--period", "all")
    assert f"<p>{said}</p>" in text
    assert text.count(f"Without {told['pruned_count']} pruned calls.") == 2
    errors = {name: int(count) for name, count in Tables(text).rows["t-errors"]}
    assert sum(errors.values()) == told["failed_count"]
    assert errors["(pruned)"] > 0
    assert re.search(r'saved by batches</dt><dd data-v="[^"]*">[^<]*\+\?<', text)
    assert "prune" not in page(tmp_path, "--period", "month")


def test_a_year_of_many_names_is_under_300_kilobytes(tmp_path: Path) -> None:
    fill(tmp_path, 3_000)
    text = page(tmp_path, "--since", "364d", "--by", "hour")
    assert len(text.encode()) < MOST_BYTES
    rows = Tables(text).rows
    assert len(rows["t-day"]) == 365
    told = json.loads(run("costs", "--since", "364d", "--json", home=tmp_path).out)
    assert sum(int(row[2]) for row in rows["t-hour"]) == told["call_count"]
    assert len(rows["t-hour"]) == 101
    assert rows["t-hour"][0][0].endswith("earlier)")


def test_a_page_of_many_long_names_has_a_bound_and_days_beyond_a_year_are_summed_up(tmp_path: Path) -> None:
    with Ledger(home_folder(tmp_path) / "ledger.db") as ledger:
        for number in range(400):
            at_ms = time.time_ns() // 10**6 - number * 86_400_000
            row = AttemptRow(f"r{number}", 1, at_ms, "together", f"<b>'\"&{number}" + "&" * 200, streaming=False)
            row.workspace, row.task = f"{number}" + "<" * 110, f"{number}" + "'" * 110
            row.execution, row.status, row.error = f"{number}" + '"' * 110, "rejected", "check"
            row.input_tokens = row.output_tokens = 1_234_567_890
            row.cost_picousd, row.latency_ms = 123_456_789_012_345 + number, 5
            ledger.settle(row)
    for by in ("hour", "execution"):
        text = page(tmp_path, "--period", "all", "--by", by)
        assert len(text.encode()) < MOST_BYTES
        rows = Tables(text).rows["t-day"]
        assert (rows[0][0], sum(int(row[2]) for row in rows)) == ("(other days)", 400)


def test_calls_that_are_ahead_of_the_clock_are_not_called_earlier(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with Ledger(tmp_path / "llmroute" / "ledger.db") as ledger:
        ahead_ms = time.time_ns() // 10**6 + 3 * 86_400_000
        row = AttemptRow("ahead", 1, ahead_ms, "openai", "gpt-5.4-mini", streaming=False, status="ok")
        row.cost_picousd = 10**9
        ledger.settle(row)
    rows = Tables(page(tmp_path, "--period", "all")).rows["t-day"]
    assert (rows[0][0], rows[0][2]) == ("(other days)", "1")
    assert len(rows) == 2


def test_one_call_of_unknown_cost_is_a_bar_of_one_call(tmp_path: Path) -> None:
    with Ledger(home_folder(tmp_path) / "ledger.db") as ledger:
        ledger.settle(AttemptRow("r", 1, time.time_ns() // 10**6, "openai", "x", streaming=False, status="ok"))
    assert re.search(r"highest: [0-9-]{10}: 1 call<", page(tmp_path))


def test_a_budget_that_is_nearly_spent_is_marked(tmp_path: Path) -> None:
    fill(tmp_path, 60, days=0)
    rows = Tables(page(tmp_path)).rows["t-budgets"]
    assert [row[0].partition(" (")[0] for row in rows if "warning" in row[0]] == ["this month"]


def test_a_page_replaces_the_older_one_and_is_its_owners_alone(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    assert "1 call (" in page(tmp_path)
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o600
    fill(tmp_path, 2, days=0)
    assert "2 calls (" in page(tmp_path)


@pytest.mark.parametrize(
    ("file", "code", "words"),
    [
        ("folder", 2, "it is a directory"),
        ("absent/page.html", 2, "No such file or directory"),
        ("/dev/null", 2, "it is not a file"),
        ("page.html/below.html", 2, "Not a directory"),
    ],
)
def test_an_impossible_file_is_one_line_and_leaves_nothing(file: str, code: int, words: str, tmp_path: Path) -> None:
    fill(tmp_path, 1)
    (tmp_path / "folder").mkdir()
    (tmp_path / "page.html").write_text("older")
    before = sorted(path for path in tmp_path.rglob("*") if path.parent.name != "llmroute")
    ran = run("costs", "--html", file, home=tmp_path)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (code, "", 1)
    assert words in ran.err
    assert sorted(path for path in tmp_path.rglob("*") if path.parent.name != "llmroute") == before
    assert (tmp_path / "page.html").read_text() == "older"


def test_a_hyphen_is_stdout(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    ran = run("costs", "--html", "-", home=tmp_path)
    assert (ran.code, ran.err, (tmp_path / "-").exists()) == (0, "", False)
    assert Tables(ran.out).rows.keys() == Tables(page(tmp_path)).rows.keys()


def test_a_page_by_tier_tells_what_each_tier_saved(tmp_path: Path) -> None:
    fill(tmp_path, 60)
    asked = ("--period", "all", "--by", "tier")
    [told] = [line for line in run("costs", *asked, home=tmp_path).out.splitlines() if "at the standard price" in line]
    assert f"<p>{told}</p>" in page(tmp_path, *asked)


def test_with_another_form_of_output_it_is_2(tmp_path: Path) -> None:
    ran = run("costs", "--html", "page.html", "--csv", home=tmp_path)
    assert (ran.code, "exclude each other" in ran.err, [*tmp_path.iterdir()]) == (2, True, [])


def test_without_the_extra_it_is_3_with_the_command_that_installs_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_JINJA2, "page.html"]
    done = subprocess.run(command, env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "pip install 'llmroute[html]'" in done.stderr
    assert not (tmp_path / "page.html").exists()
