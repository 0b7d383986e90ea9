"""Cost and usage reports: requests, and rows in USD by UTC day and model; nothing unreadable passes for zero."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.errors import LLMRouteError, VendorReportError
from llmroute.providers import Endpoint
from llmroute.providers.usage_reports.report import REPORTING, CostRow, UsageRow, connect

KEY = "sk-admin-0123456789"
DAY = date(2026, 11, 3)
NEXT = date(2026, 11, 5)


def page(*results: dict[str, Any], **fields: Any) -> bytes:
    bucket = {"start_time": 1_793_664_000, "starting_at": "2026-11-03T00:00:00Z", "results": list(results)}
    return json.dumps({"data": [bucket], "has_more": False, "next_page": None, **fields}).encode()


def openai_cost(value: Any, item: str | None = "gpt-5-2025-08-07, input", currency: Any = "usd") -> bytes:
    return page({"amount": {"value": value, "currency": currency}, "line_item": item})


def anthropic_cost(amount: Any, currency: Any = "USD", **fields: Any) -> bytes:
    return page({"amount": amount, "currency": currency, "model": "claude-haiku-5-5", "description": "d", **fields})


def test_requests_name_the_span_and_carry_the_admin_key() -> None:
    openai = connect("openai", Endpoint(api_key=KEY, base_url="https://gateway.example/v1"))
    sent = openai.render_costs(DAY, NEXT, "a/b=")
    url = urlsplit(sent.url)
    assert f"{url.scheme}://{url.netloc}{url.path}" == "https://gateway.example/v1/organization/costs"
    asked = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert asked == {
        "start_time": "1793664000", "end_time": "1793836800", "bucket_width": "1d", "group_by[]": "line_item",
        "limit": "180", "page": "a/b=",
    }  # fmt: skip
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert urlsplit(openai.render_usage(DAY, NEXT).url).path == "/v1/organization/usage/completions"

    anthropic = connect("anthropic", Endpoint(api_key=KEY, base_url="https://gateway.example"))
    sent = anthropic.render_costs(DAY, NEXT)
    assert urlsplit(sent.url).path == "/v1/organizations/cost_report"
    asked = {name: values[0] for name, values in parse_qs(urlsplit(sent.url).query).items()}
    assert asked == {
        "starting_at": "2026-11-03T00:00:00Z", "ending_at": "2026-11-05T00:00:00Z", "bucket_width": "1d",
        "group_by[]": "description", "limit": "31",
    }  # fmt: skip
    assert sent.headers["x-api-key"] == KEY
    assert urlsplit(anthropic.render_usage(DAY, NEXT).url).path == "/v1/organizations/usage_report/messages"


@pytest.mark.parametrize(
    ("item", "model"),
    [
        ("gpt-5-2025-08-07, input", "gpt-5-2025-08-07"),
        ("gpt-5-2025-08-07, cached input", "gpt-5-2025-08-07"),
        ("ft:gpt-4o:org, team:x, output", "ft:gpt-4o:org, team:x"),
        ("web search tool calls", ""),
        ("file storage, per GB", ""),
        (None, ""),
    ],
)
def test_a_line_item_of_openai_names_a_model_or_none(item: str | None, model: str) -> None:
    ((row,),) = connect("openai", Endpoint(KEY)).parse_costs(openai_cost(0.06, item)).buckets
    assert row == CostRow(DAY, model, Decimal("0.06"), Decimal("0.01"), item or "")


ODD_ROWS = {
    "an amount beyond all numbers": ("openai", "parse_costs", openai_cost("1e999999999")),
    "a line item that is no text": ("openai", "parse_costs", openai_cost(1, 7)),  # type: ignore[arg-type]
    "a model that is no text": ("anthropic", "parse_costs", anthropic_cost("1", model=5)),
    "a list of cached tokens": (
        "anthropic", "parse_usage", page({"uncached_input_tokens": 1, "output_tokens": 1, "cache_creation": [1]}),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("provider", "parse", "body"), ODD_ROWS.values(), ids=ODD_ROWS)
def test_a_row_of_another_form_is_a_report_that_cannot_be_read(provider: str, parse: str, body: bytes) -> None:
    with pytest.raises(VendorReportError, match="has a row that cannot be read"):
        getattr(connect(provider, Endpoint(KEY)), parse)(body)


@given(st.decimals(0, 10**6, places=6))
def test_cents_of_anthropic_are_exact_hundredths_of_a_dollar(cents: Decimal) -> None:
    ((row,),) = connect("anthropic", Endpoint(KEY)).parse_costs(anthropic_cost(str(cents))).buckets
    assert row.usd * 100 == cents
    assert row.precision_usd == Decimal("1e-8")


@given(st.decimals(0, 10**6, places=12))
def test_dollars_of_openai_are_read_digit_by_digit(usd: Decimal) -> None:
    body = openai_cost(0).replace(b'"value": 0', f'"value": {usd:f}'.encode())
    ((row,),) = connect("openai", Endpoint(KEY)).parse_costs(body).buckets
    assert row.usd == usd


def test_input_tokens_include_those_of_caches() -> None:
    openai = page({"model": "gpt-5", "input_tokens": 1_000, "input_cached_tokens": 800, "output_tokens": 50})
    assert connect("openai", Endpoint(KEY)).parse_usage(openai).buckets == ((UsageRow(DAY, "gpt-5", 1_000, 50),),)
    cached = {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 3}
    tokens = {"uncached_input_tokens": 100, "cache_read_input_tokens": 4_000_000_000, "cache_creation": cached}
    anthropic = page({"model": "claude-haiku-5-5", **tokens, "output_tokens": 50})
    (found,) = connect("anthropic", Endpoint(KEY)).parse_usage(anthropic).buckets
    assert found == (UsageRow(DAY, "claude-haiku-5-5", 4_000_000_123, 50),)


def test_a_day_of_another_offset_is_that_of_utc() -> None:
    body = anthropic_cost("1").replace(b"2026-11-03T00:00:00Z", b"2026-11-03T02:00:00+02:00")
    assert connect("anthropic", Endpoint(KEY)).parse_costs(body).buckets[0][0].day == DAY


def test_the_next_page_is_the_one_that_the_provider_names() -> None:
    for name in REPORTING:
        reports = connect(name, Endpoint(KEY))
        assert reports.parse_costs(page(has_more=True, next_page="p2")).next_page == "p2"
        assert reports.parse_costs(page(has_more=False, next_page="p2")).next_page is None
        with pytest.raises(VendorReportError, match="no token"):
            reports.parse_costs(page(has_more=True))


UNREADABLE = {
    "no JSON": b"<html>",
    "nothing": b"",
    "another object": b'{"object": "list"}',
    "no list": b'{"data": {}, "has_more": false}',
    "no has_more": b'{"data": []}',
    "no results": b'{"data": [{"start_time": 0, "starting_at": "2026-11-03T00:00:00Z"}], "has_more": false}',
    "nested too deeply": b"[" * 100_000,
}


@pytest.mark.parametrize("name", REPORTING)
@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_report_is_an_error_and_no_bill_of_zero(name: str, body: bytes) -> None:
    reports = connect(name, Endpoint(KEY))
    for parse in (reports.parse_costs, reports.parse_usage):
        with pytest.raises(VendorReportError):
            parse(body)


@pytest.mark.parametrize("amount", [None, "", "many", "NaN", "1e99", True, [], {}])
def test_what_is_no_amount_is_an_error(amount: Any) -> None:
    with pytest.raises(VendorReportError):
        connect("anthropic", Endpoint(KEY)).parse_costs(anthropic_cost(amount))
    with pytest.raises(VendorReportError):
        connect("openai", Endpoint(KEY)).parse_costs(openai_cost(amount))


@pytest.mark.parametrize(("currency", "shown"), [("EUR", "EUR"), ("eur", "eur"), (None, "None"), (KEY, "[key]")])
def test_a_currency_that_is_not_usd_is_an_error_that_names_it(currency: Any, shown: str) -> None:
    for name, body in (("anthropic", anthropic_cost("1", currency)), ("openai", openai_cost(1, currency=currency))):
        with pytest.raises(VendorReportError) as caught:
            connect(name, Endpoint(KEY)).parse_costs(body)
        assert caught.value.message == f"{name}: the cost report has an amount in '{shown}'"


def test_an_error_in_place_of_a_report_is_that_error_without_the_key() -> None:
    told = json.dumps({"error": {"type": "authentication_error", "message": f"invalid x-api-key {KEY}"}}).encode()
    for name in REPORTING:
        with pytest.raises(LLMRouteError) as caught:
            connect(name, Endpoint(KEY)).parse_costs(told)
        assert "invalid x-api-key" in caught.value.message
        assert KEY not in caught.value.message
