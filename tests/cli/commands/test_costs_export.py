"""`costs export`: FOCUS, Parquet and OTLP at the shell; files are whole or not there, and what is unknown is told."""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import sqlite3
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pyarrow import parquet

from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.entries import Pending
from llmroute.ledger.periods import END_OF_TIME_MS
from llmroute.ledger.processes import this_process
from llmroute.ledger.sqlite.store import Ledger
from tests.support.fault_server import FaultServer, Received, Script, reply, serving
from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path

PRICE = json.dumps({"input": 1_000_000, "output": 4_000_000, "cache_read": 100_000, "cache_write": 1_250_000})
START = datetime(2026, 11, 3, 12, 30, 15, 250_000, tzinfo=UTC)
TOKENS = {"input_tokens": 1_000, "cached_input_tokens": 300, "cache_write_tokens": 200, "output_tokens": 50}
COST = 500 * 1_000_000 + 300 * 100_000 + 200 * 1_250_000 + 50 * 4_000_000


def attempt(number: int = 0, **facts: Any) -> AttemptRow:
    row = AttemptRow(f"r{number}", 1, round(START.timestamp() * 1000) + number, "openai", "gpt-5", streaming=True)
    known = {"status": "ok", "cost_picousd": COST, "price": PRICE, "usage_source": "reported", "cost_basis": "reported"}
    for name, value in {**TOKENS, **known, "latency_ms": 1_500, "workspace": "w", "task": "t", **facts}.items():
        setattr(row, name, value)
    return row


def home_with(folder: Path, *rows: AttemptRow) -> Path:
    (folder / "llmroute").mkdir(exist_ok=True)
    with Ledger(folder / "llmroute" / "ledger.db") as ledger:
        for row in rows:
            ledger.settle(row)
    return folder


def focus_rows(home: Path, *arguments: str) -> list[dict[str, str]]:
    ran = run("costs", "export", "-", "--format", "focus", *arguments, home=home)
    assert ran.code == 0, ran.err
    return list(csv.DictReader(ran.out.splitlines()))


def test_each_kind_of_token_is_a_charge_at_its_price_per_million(tmp_path: Path) -> None:
    rows = focus_rows(home_with(tmp_path, attempt()))
    told = {row["SkuMeter"]: (row["ConsumedQuantity"], row["ListUnitPrice"], row["BilledCost"]) for row in rows}
    assert told == {
        "Input Tokens": ("500.0", "1.0", "0.0005"),
        "Cache Read Tokens": ("300.0", "0.1", "0.00003"),
        "Cache Write Tokens": ("200.0", "1.25", "0.00025"),
        "Output Tokens": ("50.0", "4.0", "0.0002"),
    }
    assert sum(Decimal(row["BilledCost"]) for row in rows) * 10**12 == COST
    (row, *_) = rows
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2026-11-03T12:30:15Z", "2026-11-03T12:30:17Z")
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    assert (row["x_FocusVersion"], row["SubAccountId"], json.loads(row["Tags"])) == ("1.2", "w", {"task": "t"})
    assert {(row["PricingUnit"], row["ConsumedUnit"]) for row in rows} == {("1000000 Tokens", "Tokens")}


def test_a_cost_that_is_no_sum_of_tokens_is_one_charge_for_the_request(tmp_path: Path) -> None:
    (row,) = focus_rows(home_with(tmp_path, attempt(cost_picousd=10**12, cost_basis="corrected")))
    assert (row["SkuMeter"], row["BilledCost"], row["ListUnitPrice"]) == ("Requests", "1.0", "1.0")
    assert (row["PricingQuantity"], row["PricingUnit"], row["x_CostBasis"]) == ("1.0", "Requests", "corrected")


@pytest.mark.parametrize("price", ["garbage", "[]", '{"tiers": [{"x": 1}]}'])
def test_a_price_that_cannot_be_read_is_one_charge_for_the_request(tmp_path: Path, price: str) -> None:
    (row,) = focus_rows(home_with(tmp_path, attempt(0, price=price)))
    assert row["SkuMeter"] == "Requests"
    assert Decimal(row["BilledCost"]) * 10**12 == COST


@pytest.mark.parametrize(
    ("facts", "ends"),
    [
        ({"started_ms": 3 * 10**14}, ("2286-11-20T17:46:40Z", "2286-11-20T17:46:41Z")),
        ({"started_ms": -(10**15)}, ("1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z")),
        ({"latency_ms": 10**18}, ("2026-11-03T12:30:15Z", "2286-11-20T17:46:41Z")),
    ],
)
def test_an_attempt_at_a_time_that_no_clock_shows_is_charged_and_listed_at_the_nearest_one(
    tmp_path: Path, facts: dict[str, int], ends: tuple[str, str]
) -> None:
    home = home_with(tmp_path, attempt(0, **facts))
    rows = focus_rows(home)
    assert sum(Decimal(row["BilledCost"]) for row in rows) * 10**12 == COST
    assert {(row["ChargePeriodStart"], row["ChargePeriodEnd"]) for row in rows} == {ends}
    listed = run("costs", "calls", home=home, TZ="UTC")
    assert (listed.code, "openai/gpt-5" in listed.out, ends[0][:4] in listed.out) == (0, True, ends[0][:4] != "2026")


def test_every_charge_of_a_unit_price_times_its_quantity_is_its_cost(tmp_path: Path) -> None:
    tiers = json.dumps({"input": 7, "output": 11, "tiers": [{"above": 100, "input": 1_234_567, "output": 7_654_321}]})
    cost = 1_000 * 1_234_567 + 50 * 7_654_321
    home = home_with(tmp_path, attempt(0, price=tiers, cost_picousd=cost), attempt(1, cost_picousd=123_456_789_012))
    rows = focus_rows(home)
    assert len(rows) == 5
    for row in rows:
        assert Decimal(row["ListUnitPrice"]) * Decimal(row["PricingQuantity"]) == Decimal(row["ListCost"])


def test_attempts_without_a_cost_have_no_charge_and_unknown_costs_are_told(tmp_path: Path) -> None:
    home = home_with(tmp_path, attempt(0, cost_picousd=0), attempt(1, cost_picousd=None), attempt(2))
    ran = run("costs", "export", "bill.csv", "--format", "focus", home=home)
    assert "4 charges written to bill.csv" in ran.err
    assert "1 attempt of unknown cost left out" in ran.err
    assert len((home / "bill.csv").read_text().splitlines()) == 5


def test_filters_hold_for_every_form(tmp_path: Path) -> None:
    home = home_with(tmp_path, attempt(0), attempt(1, workspace="other"))
    assert {row["SubAccountId"] for row in focus_rows(home, "--workspace", "other")} == {"other"}
    run("costs", "export", "some.parquet", "--workspace", "other", home=home)
    assert parquet.read_table(home / "some.parquet")["workspace"].to_pylist() == ["other"]


def test_an_export_of_a_workspace_that_no_call_has_says_so(tmp_path: Path) -> None:
    ran = run("costs", "export", "-", "--workspace", "nihgtly", home=home_with(tmp_path, attempt(workspace="nightly")))
    assert (ran.code, "no calls of workspace 'nihgtly' (did you mean nightly?)" in ran.err) == (0, True)


def test_parquet_has_the_rows_and_types_of_the_ledger(tmp_path: Path) -> None:
    home = home_with(tmp_path, attempt(0), attempt(1, cost_picousd=None))
    for name in ("all.parquet", "all.jsonl"):
        assert run("costs", "export", name, home=home).code == 0
    found = parquet.read_table(home / "all.parquet").to_pylist()
    listed = [json.loads(line) for line in (home / "all.jsonl").read_text().splitlines()]
    assert found == [{**row, "streaming": bool(row["streaming"])} for row in listed]
    assert found[0]["streaming"] is True


def test_focus_in_parquet_has_decimals_times_and_its_version(tmp_path: Path) -> None:
    home = home_with(tmp_path, attempt())
    assert run("costs", "export", "bill.parquet", "--format", "focus", home=home).code == 0
    table = parquet.read_table(home / "bill.parquet")
    assert table.schema.metadata[b"FocusVersion"] == b"1.2"
    assert sum(table["BilledCost"].to_pylist()) * 10**12 == COST
    assert set(table["ChargePeriodStart"].to_pylist()) == {START.replace(microsecond=0)}


def test_an_empty_ledger_exports_the_columns_alone(tmp_path: Path) -> None:
    (tmp_path / "llmroute").mkdir()
    assert focus_rows(tmp_path) == []
    assert run("costs", "export", "none.parquet", home=tmp_path).code == 0
    assert parquet.read_table(tmp_path / "none.parquet").num_rows == 0


BAD = {
    "a directory": (("folder.csv",), "it is a directory"),
    "no file": ((), "no file was given"),
    "another ending": (("bill.xlsx", "--format", "focus"), "must be one of .csv, .jsonl, .parquet"),
    "no such folder": (("nowhere/bill.parquet",), "nowhere/bill.parquet cannot be written"),
    "a format that does not fit": (("bill.parquet", "--format", "csv"), "does not fit"),
    "otlp into a file": (("bill.csv", "--format", "otlp"), "go together"),
    "otlp to nowhere": (("--format", "otlp"), "go together"),
    "a URL without otlp": (("--to", "http://127.0.0.1:1"), "go together"),
    "a password in the URL": (
        ("--format", "otlp", "--to", "http://me:secret@127.0.0.1:1"),
        "without user and query (OTEL_EXPORTER_OTLP_HEADERS has a user's token)",
    ),
    "no URL": (("--format", "otlp", "--to", "collector"), "is not a URL"),
}


@pytest.mark.parametrize(("arguments", "told"), BAD.values(), ids=BAD)
def test_bad_arguments_are_one_line_and_leave_nothing_behind(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    home = home_with(tmp_path, attempt())
    (home / "folder.csv").mkdir()
    before = sorted(home.rglob("*"))
    ran = run("costs", "export", *arguments, home=home)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert told in ran.err
    assert [path for path in sorted(home.rglob("*")) if "ledger.db" not in path.name] == [
        path for path in before if "ledger.db" not in path.name
    ]


_HEX_ID = re.compile(rb'(?<=Id":")[0-9a-f]{16}(?:[0-9a-f]{16})?(?=")')


def _as_base64(found: re.Match[bytes]) -> bytes:
    """Return an id as protobuf's own JSON has it; that of OTLP is in hex."""
    return base64.b64encode(bytes.fromhex(found[0].decode()))


def collected(server: FaultServer) -> tuple[list[Any], list[Any]]:
    """Return the spans and the metrics that a collector received, parsed by the protocol's own classes."""
    spans, metrics = [], []
    for each in server.received:
        if each.path == "/v1/traces":
            traces = Parse(_HEX_ID.sub(_as_base64, each.body), ExportTraceServiceRequest())
            spans += [span for one in traces.resource_spans for scope in one.scope_spans for span in scope.spans]
        else:
            assert each.path == "/v1/metrics"
            told = Parse(each.body, ExportMetricsServiceRequest())
            metrics += [m for one in told.resource_metrics for scope in one.scope_metrics for m in scope.metrics]
    return spans, metrics


def send(home: Path, server: FaultServer, *arguments: str, **settings: str) -> str:
    ran = run("costs", "export", "--format", "otlp", "--to", server.url, *arguments, home=home, **settings)
    assert ran.code == 0, ran.err
    return ran.err


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def test_a_collector_gets_spans_and_metrics_of_the_conventions(tmp_path: Path) -> None:
    failed = attempt(1, status="failed", error="RateLimitError", http_status=429, ttft_ms=None, served_model=None)
    home = home_with(tmp_path, attempt(0, served_model="gpt-5-2025-08-07", finish_reason="stop", ttft_ms=250), failed)
    with serving([reply(200, b"{}")]) as server:
        assert "2 attempts sent" in send(home, server)
        spans, metrics = collected(server)
        assert b"schemas/1.44.0" in server.received[0].body
    first, second = spans
    told = values(first.attributes)
    assert (first.name, first.kind, first.status.code, second.status.code) == ("chat gpt-5", 3, 0, 2)
    assert (first.end_time_unix_nano - first.start_time_unix_nano) == 1_500 * 10**6
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "openai"
    assert (told["gen_ai.request.model"], told["gen_ai.response.model"]) == ("gpt-5", "gpt-5-2025-08-07")
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (1_000, 50)
    assert [one.string_value for one in told["gen_ai.response.finish_reasons"].values] == ["stop"]
    assert told["gen_ai.response.time_to_first_chunk"] == 0.25
    assert told["llmroute.cost_usd"] == COST / 10**12
    assert values(second.attributes)["error.type"] == "RateLimitError"
    duration, tokens = metrics
    assert (duration.name, duration.unit) == ("gen_ai.client.operation.duration", "s")
    assert (tokens.name, tokens.unit) == ("gen_ai.client.token.usage", "{token}")
    assert [point.sum for point in duration.histogram.data_points] == [1.5, 1.5]
    for point in (*duration.histogram.data_points, *tokens.histogram.data_points):
        assert sum(point.bucket_counts) == point.count == 1
        assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
        index = list(point.bucket_counts).index(1)
        assert index == 0 or point.explicit_bounds[index - 1] < point.sum
        assert index == len(point.explicit_bounds) or point.sum <= point.explicit_bounds[index]


@pytest.mark.parametrize(
    "facts", [{"started_ms": 3 * 10**14}, {"started_ms": -(10**15)}, {"latency_ms": 10**18}], ids=str
)
def test_a_time_that_no_clock_shows_is_sent_as_one_that_a_collector_can_read(
    tmp_path: Path, facts: dict[str, int]
) -> None:
    home = home_with(tmp_path, attempt(0, **facts))
    with serving([reply(200, b"{}")]) as server:
        assert "1 attempt sent" in send(home, server)
        ((span,), _) = collected(server)
    assert 0 <= span.start_time_unix_nano <= span.end_time_unix_nano <= END_OF_TIME_MS * 10**6


def test_an_export_continues_where_the_last_one_ended(tmp_path: Path) -> None:
    home = home_with(tmp_path, attempt(0))
    with serving([reply(200, b"")]) as server:
        send(home, server)
        assert "0 attempts sent" in send(home, server)
        home_with(tmp_path, attempt(1))
        send(home, server)
        spans, _ = collected(server)
    assert len({span.span_id for span in spans}) == len(spans) == 2


def test_after_a_restore_all_is_sent_again_with_the_same_ids(tmp_path: Path) -> None:
    home = home_with(tmp_path, attempt(0))
    assert run("costs", "backup", "before.db", home=home).code == 0
    home_with(tmp_path, attempt(1), attempt(2))
    with serving([reply(200, b"")]) as server:
        assert "3 attempts sent" in send(home, server)
        assert run("costs", "restore", "before.db", home=home).code == 0
        assert "1 attempt sent" in send(home, server)
        home_with(tmp_path, attempt(3))
        assert "1 attempt sent" in send(home, server)
        spans, _ = collected(server)
    assert len(spans) == 5
    assert len({span.span_id for span in spans}) == 4


def test_another_ledger_in_the_same_place_is_sent_from_its_beginning(tmp_path: Path) -> None:
    home = home_with(tmp_path, attempt(0))
    with serving([reply(200, b"")]) as server:
        assert "1 attempt sent" in send(home, server)
        for path in (home / "llmroute").glob("ledger.db*"):
            path.unlink()
        home_with(tmp_path, attempt(1), attempt(2))
        assert "2 attempts sent" in send(home, server)


def test_what_was_pruned_is_not_sent_again(tmp_path: Path) -> None:
    home = home_with(tmp_path, attempt(0, started_ms=0), attempt(1))
    with serving([reply(200, b"")]) as server:
        assert "2 attempts sent" in send(home, server)
        assert run("costs", "prune", "--older-than", "2y", "--yes", home=home).code == 0
        assert "0 attempts sent" in send(home, server)


PRUNED = {
    "to a file": (("bill.csv",), "3 pruned attempts left out ($0.0020+?)"),
    "to stdout": (("-", "--format", "jsonl"), "3 pruned attempts left out ($0.0020+?)"),
    "as charges": (("bill.parquet", "--format", "focus"), "3 pruned attempts left out ($0.0020+?)"),
    "of a model": (("bill.csv", "-m", "openai/gpt-5-mini"), "1 pruned attempt left out ($0.0010)"),
    "of a status": (("bill.csv", "--status", "failed"), "1 pruned attempt left out (unknown)"),
    "of an execution": (("bill.csv", "--execution", "e1"), "3 pruned attempts of any execution left out ($0.0020+?)"),
    "of a workspace": (("bill.csv", "--workspace", "other"), "1 pruned attempt left out ($0.0010)"),
    "since": (("bill.csv", "--since", "1971-01-01"), None),
    "until": (("bill.csv", "--until", "1970-01-01T00:30Z"), "2 pruned attempts left out ($0.0010+?)"),
}


@pytest.mark.parametrize(("arguments", "told"), PRUNED.values(), ids=PRUNED)
def test_an_export_says_what_it_lacks_because_that_was_pruned(
    tmp_path: Path, arguments: tuple[str, ...], told: str | None
) -> None:
    old = {"started_ms": 1_000_000, "cost_picousd": 10**9}
    home = home_with(
        tmp_path,
        attempt(0, **old),
        attempt(1, **old | {"status": "failed", "cost_picousd": None}),
        attempt(2, **old | {"started_ms": 2_000_000, "model": "gpt-5-mini", "workspace": "other"}),
        attempt(3),
    )
    assert run("costs", "prune", "--older-than", "2y", "--yes", home=home).code == 0
    # One that was pending then, and has ended since: it is in the sums and has a row.
    home_with(tmp_path, attempt(4, **old | {"workspace": "other", "model": "gpt-5-mini", "status": "ok"}))
    ran = run("costs", "export", *arguments, home=home)
    assert (ran.code, "left out" in ran.err) == (0, told is not None)
    assert told is None or f"llmroute: {told}: only sums are kept of them\n" in ran.err
    assert json.loads(run("costs", "--period", "all", "--json", home=home).out)["pruned_count"] == 3


def test_a_first_export_to_a_collector_says_what_was_pruned_and_the_next_ones_do_not(tmp_path: Path) -> None:
    home = home_with(tmp_path, attempt(0, started_ms=0), attempt(1))
    assert run("costs", "prune", "--older-than", "2y", "--yes", home=home).code == 0
    with serving([reply(200, b"{}")]) as server:
        assert "1 pruned attempt left out" in send(home, server)
        home_with(tmp_path, attempt(2))
        assert "pruned" not in send(home, server)


def test_an_export_replaces_what_a_link_names_and_no_pipe(tmp_path: Path) -> None:
    home = home_with(tmp_path, attempt())
    (home / "bill.csv").write_text("older")
    (home / "link.csv").symlink_to("bill.csv")
    assert run("costs", "export", "link.csv", home=home).code == 0
    assert (home / "link.csv").is_symlink()
    assert "request_id" in (home / "bill.csv").read_text()
    os.mkfifo(home / "pipe.csv")
    ran = run("costs", "export", "pipe.csv", home=home)
    assert (ran.code, "it is not a file" in ran.err, (home / "pipe.csv").is_fifo()) == (2, True, True)


def test_what_was_not_taken_is_sent_again_with_the_same_ids(tmp_path: Path) -> None:
    home = home_with(tmp_path, attempt(0))
    answers = iter([reply(200, b"{}"), reply(503), reply(200, b"{}"), reply(200, b"{}")])

    def collector(_received: Received) -> Script:
        return [next(answers)]

    with serving(collector) as server:
        ran = run("costs", "export", "--format", "otlp", "--to", server.url, home=home)
        assert (ran.code, "503" in ran.err, "continues" in ran.err) == (4, True, True)
        send(home, server)
        first, again = collected(server)[0]
    assert (first.trace_id, first.span_id) == (again.trace_id, again.span_id)
    assert (len(first.trace_id), len(first.span_id)) == (16, 8)


SECRET = "glc_0123456789abcdef=="


def test_headers_of_the_environment_are_sent_with_each_request_and_never_shown(tmp_path: Path) -> None:
    pairs = f"Authorization=Basic%20{quote(SECRET)}, x-scope-orgid = 17 ,"
    body = json.dumps({"partialSuccess": {"rejectedSpans": "1", "errorMessage": f"no Basic {SECRET}"}}).encode()
    home = home_with(tmp_path, attempt())
    with serving([reply(200, body)]) as server:
        told = send(home, server, OTEL_EXPORTER_OTLP_HEADERS=pairs)
        got = [(each.headers["authorization"], each.headers["x-scope-orgid"]) for each in server.received]
    assert got == [(f"Basic {SECRET}", "17")] * 2
    assert SECRET not in told
    assert SECRET.encode() not in (home / "llmroute" / "otlp-export.json").read_bytes()


BAD_HEADERS = {
    "no pair": ("token", "http://127.0.0.1:1"),
    "no name": (f"={SECRET}", "http://127.0.0.1:1"),
    "a name with a space": (f"a b={SECRET}", "http://127.0.0.1:1"),
    "a line break": (f"a={SECRET}%0d%0ab: c", "http://127.0.0.1:1"),
    "one of the request": ("Content-Length=3", "http://127.0.0.1:1"),
    "over plain http": (f"authorization={SECRET}", "http://far.example"),
}


@pytest.mark.parametrize(("pairs", "url"), BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_bad_headers_are_one_line_and_send_nothing(tmp_path: Path, pairs: str, url: str) -> None:
    home = home_with(tmp_path, attempt())
    ran = run("costs", "export", "--format", "otlp", "--to", url, home=home, OTEL_EXPORTER_OTLP_HEADERS=pairs)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "OTEL_EXPORTER_OTLP_HEADERS" in ran.err
    assert SECRET not in ran.err


ODD = (
    '{"partialSuccess":{"rejectedSpans":"many"}}',
    '{"partialSuccess":{"rejectedSpans":null}}',
    "[]",
    "\r\n",
    '{"partialSuccess":{"rejectedSpans":-5}}',
)


@pytest.mark.parametrize("body", ODD)
def test_an_odd_reply_of_a_collector_is_a_success(tmp_path: Path, body: str) -> None:
    with serving([reply(200, body.encode())]) as server:
        told = send(home_with(tmp_path, attempt()), server)
    assert told == f"llmroute: 1 attempt sent to {server.url}\n"


@pytest.mark.parametrize("body", [b"<!doctype html><title>Sign in</title>", b"ok", b"[" * 100_000])
def test_a_page_that_is_answered_with_success_took_nothing(tmp_path: Path, body: bytes) -> None:
    home = home_with(tmp_path, attempt())
    answers = iter([reply(200, body), reply(200, b"{}"), reply(200, b"{}")])
    with serving(lambda _received: [next(answers)]) as server:
        ran = run("costs", "export", "--format", "otlp", "--to", server.url, home=home)
        assert (ran.code, ran.out, ran.err.count("\n")) == (4, "", 1)
        assert "answers 200 and no JSON" in ran.err
        assert "1 attempt sent" in send(home, server)


def test_a_token_within_a_header_is_never_shown(tmp_path: Path) -> None:
    body = json.dumps({"partialSuccess": {"rejectedSpans": "1", "errorMessage": f"bad {SECRET}"}}).encode()
    with serving([reply(200, body)]) as server:
        told = send(
            home_with(tmp_path, attempt()), server, OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer%20{quote(SECRET)}"
        )
    assert SECRET not in told


def pending_here() -> AttemptRow:
    """Return a pending attempt of this process, which is not lost while it runs."""
    me = this_process()
    mine = {"pid": me.pid, "host": me.host, "process": me.mark, "deadline_ms": time.time_ns() // 10**6 + 10**6}
    return attempt(1, status="pending", cost_picousd=None, **mine)


def test_a_pending_attempt_is_sent_with_a_status_too(tmp_path: Path) -> None:
    home = home_with(tmp_path)
    pending = pending_here()
    with Ledger(home / "llmroute" / "ledger.db") as ledger, serving([reply(200, b"{}")]) as server:
        assert ledger.write([Pending(pending)]) == [None]
        ledger.settle(attempt(2))
        assert "1 attempt sent" in send(home, server, "--status", "ok")
        pending.status, pending.cost_picousd = "ok", COST
        ledger.settle(pending)
        assert "2 attempts sent" in send(home, server, "--status", "ok")
        assert "0 attempts sent" in send(home, server, "--status", "ok")


def test_a_pending_attempt_is_sent_when_it_is_settled(tmp_path: Path) -> None:
    home = home_with(tmp_path, attempt(0))
    pending = pending_here()
    with Ledger(home / "llmroute" / "ledger.db") as ledger, serving([reply(200, b"{}")]) as server:
        assert ledger.write([Pending(pending)]) == [None]
        ledger.settle(attempt(2))
        assert "2 attempts sent" in send(home, server)
        pending.status, pending.cost_picousd = "ok", COST
        ledger.settle(pending)
        assert "2 attempts sent" in send(home, server)
        assert "0 attempts sent" in send(home, server)
        spans, _ = collected(server)
    assert {values(span.attributes)["llmroute.request_id"] for span in spans} == {"r0", "r1", "r2"}


def test_what_a_collector_rejects_is_told(tmp_path: Path) -> None:
    body = json.dumps({"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old\x1b[31m"}}).encode()
    with serving([reply(200, body)]) as server:
        # Two requests of spans.
        told = send(home_with(tmp_path, *(attempt(number) for number in range(501))), server)
    assert "/v1/traces rejected 6: too old" in told
    assert "/v1/metrics rejected 6: too old" in told
    assert "\x1b" not in told


def test_attempts_whose_ids_are_not_in_the_order_of_their_times_are_sent_once_the_end_has_passed_them(
    tmp_path: Path,
) -> None:
    old, young, older = attempt(0), attempt(1), attempt(2)
    now_ms = time.time_ns() // 1_000_000
    for one, ago_s in ((old, 7_200), (young, 60), (older, 7_000)):
        one.started_ms = now_ms - ago_s * 1_000
    home = home_with(tmp_path, old, young, older)
    with serving([reply(200, b"{}")]) as server:
        assert "2 attempts sent" in send(home, server, "--until", "1h")
        assert "1 attempt sent" in send(home, server, "--until", "1h")
        # As if the hour had passed.
        with sqlite3.connect(home / "llmroute" / "ledger.db") as db:
            db.execute("UPDATE attempts SET started_ms = started_ms - 3600000 WHERE request_id = 'r1'")
        assert "2 attempts sent" in send(home, server, "--until", "1h")
        assert "0 attempts sent" in send(home, server, "--until", "1h")
        spans, _ = collected(server)
    assert {values(span.attributes)["llmroute.request_id"] for span in spans} == {"r0", "r1", "r2"}
