"""What else sets the price of an answer: its tier, its region, the provider's own tools, caches kept for an hour."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from genai_prices.data import providers

from llmroute import ModelRegistry
from llmroute.errors import LLMRouteError
from llmroute.execution.accounting.settlement import Sent, settle
from llmroute.registry.pricing import cost_picousd
from llmroute.request.options import Options
from llmroute.routing.token_estimate import measure
from llmroute.types import Completion, Message, Price, PriceTier, Prompt, Usage
from tests.support.fault_server import Reset, chunk, chunked_head, reply, serving
from tests.support.mocked_providers import as_response
from tests.support.provider_servers import KEY, House, delta, event, openai_error

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from pytest_httpx import HTTPXMock

    from llmroute import LLMService
    from llmroute.types import ServiceTier
    from tests.support.fault_server import Received, Script

OPENAI, ANTHROPIC = "openai/gpt-5.4-mini", "anthropic/claude-haiku-4-5"
SEARCH = 10**10
FACTORS = {"flex": 0.5, "priority": 2}
COLUMNS = (
    "price, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens,"
    " cache_write_1h_tokens, server_tools, cost_picousd"
)


def openai(tier: str | None, *, streaming: bool = False) -> Script:
    told = {} if tier is None else {"service_tier": tier}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 40}}
    if streaming:
        last = event({"choices": [], "usage": usage, **told})
        return [chunked_head(), delta("Hi"), delta("", "stop"), last, event("[DONE]"), chunk(b"")]
    choice = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}
    return [reply(200, json.dumps({"model": "m", "choices": [choice], "usage": usage, **told}).encode())]


def anthropic(**usage: Any) -> Script:
    counts = {"input_tokens": 50, "output_tokens": 10, **usage}
    body = {"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn", "usage": counts}
    return [reply(200, json.dumps(body).encode())]


def asked(folder: Path, model: str, script: Script, *, streaming: bool = False) -> House:
    with serving(script) as server:
        house = House(folder, **{model.partition("/")[0]: server})
        llm = house.service()
        list(llm.answer(Options(prompt="hi", model=model, enable_fallback=False), streaming=streaming))
        llm.close()
    # Whatever set the price, the row says what it came to by itself.
    ((price, read, cached, written, output, reasoning, an_hour, tools, cost),) = house.rows(COLUMNS)
    told = json.loads(price)
    rates = Price(**{**told, "tiers": tuple(PriceTier(**tier) for tier in told.get("tiers", ()))})
    used = cost_picousd(Usage(read, cached, written, output, reasoning, an_hour), rates)
    searches = json.loads(tools or "{}").get("web_search_requests", 0)
    assert cost == (used or 0) + searches * (rates.web_search or 0)
    return house


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("tier", "cost", "basis"),
    [
        (None, 60 * 750_000 + 40 * 75_000 + 10 * 4_500_000, "reported"),
        ("default", 60 * 750_000 + 40 * 75_000 + 10 * 4_500_000, "reported"),
        ("priority", 60 * 1_500_000 + 40 * 150_000 + 10 * 9_000_000, "reported"),
        ("flex", 60 * 375_000 + 40 * 37_500 + 10 * 2_250_000, "reported"),
        ("scale", 60 * 750_000 + 40 * 75_000 + 10 * 4_500_000, "at_least"),
    ],
)
def test_an_answer_costs_what_the_tier_costs_that_served_it(
    tier: str | None, cost: int, basis: str, streaming: bool, tmp_path: Path
) -> None:
    house = asked(tmp_path, OPENAI, openai(tier, streaming=streaming), streaming=streaming)
    assert house.rows("service_tier, cost_picousd, cost_basis") == [(tier, cost, basis)]


@pytest.mark.parametrize(
    ("served", "cost", "basis"),
    [
        ("flex", 60 * 375_000 + 40 * 37_500 + 10 * 2_250_000, "reported"),
        ("default", 60 * 750_000 + 40 * 75_000 + 10 * 4_500_000, "reported"),
        (None, 60 * 375_000 + 40 * 37_500 + 10 * 2_250_000, "estimated"),
    ],
)
def test_a_tier_is_asked_for_and_the_one_that_served_is_paid(
    served: str | None, cost: int, basis: str, tmp_path: Path
) -> None:
    with serving(openai(served)) as server:
        house = House(tmp_path, openai=server)
        with closing(house.service()) as llm:
            llm.generate_sync("hi", model=OPENAI, tier="flex", enable_fallback=False)
    assert json.loads(server.received[0].body)["service_tier"] == "flex"
    assert house.rows("service_tier, cost_picousd, cost_basis") == [(served or "flex", cost, basis)]


UNSEEN: dict[str, Script] = {
    "broken connection": [Reset()],
    "no JSON": [reply(200, b'{"choices": [')],
    "refused": [openai_error(429, "resource_unavailable")],
}


@pytest.mark.parametrize("tier", ["flex", "priority"])
@pytest.mark.parametrize("budget", [None, 1.0])
@pytest.mark.parametrize("end", UNSEEN)
def test_an_attempt_whose_answer_was_not_seen_is_recorded_at_the_requested_tier(
    end: str, budget: float | None, tier: ServiceTier, tmp_path: Path
) -> None:
    with serving(UNSEEN[end]) as server:
        house = House(tmp_path, openai=server)
        with closing(house.service()) as llm, suppress(LLMRouteError):
            llm.generate_sync(
                "hi", model=OPENAI, tier=tier, enable_fallback=False, timeout_s=5, budget_remaining=budget
            )
    ((price, recorded),) = set(house.rows("price, service_tier"))
    assert (json.loads(price)["input"], recorded) == (FACTORS[tier] * 750_000, tier)


def test_a_stream_that_breaks_after_it_named_its_tier_is_recorded_at_that_tier(tmp_path: Path) -> None:
    named = event({"choices": [{"index": 0, "delta": {"content": "Hi"}}], "service_tier": "default"})
    with serving([chunked_head(), named, b"no length of a chunk\r\n"]) as server:
        house = House(tmp_path, openai=server)
        options = Options(prompt="hi", model=OPENAI, tier="flex", enable_fallback=False)
        with closing(house.service()) as llm, suppress(LLMRouteError):
            list(llm.answer(options, streaming=True))
    ((price, recorded, status),) = house.rows("price, service_tier, status")
    assert (json.loads(price)["input"], recorded, status) == (750_000, "default", "partial")


def test_the_standard_tier_is_named_as_openai_names_it_and_none_is_left_to_the_project(tmp_path: Path) -> None:
    with serving(openai("default")) as server:
        house = House(tmp_path, openai=server)
        with closing(house.service()) as llm:
            llm.generate_sync("hi", model=OPENAI, tier="standard", enable_fallback=False)
            llm.generate_sync("hi", model=OPENAI, enable_fallback=False)
    sent = [json.loads(request.body) for request in server.received]
    assert [body.get("service_tier") for body in sent] == ["default", None]


@pytest.mark.parametrize(
    ("budget", "tier", "sent"), [(None, None, None), (1.0, None, "default"), (1.0, "flex", "flex")]
)
def test_under_a_budget_openai_is_asked_for_the_tier_that_was_reserved(
    budget: float | None, tier: Any, sent: str | None, tmp_path: Path, httpx_mock: HTTPXMock
) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content).get("service_tier") == sent
        return as_response(openai("default"))

    httpx_mock.add_callback(respond, url="https://api.openai.com/v1/chat/completions", method="POST")
    house = House(tmp_path)
    house.environ["OPENAI_API_KEY"] = KEY
    with closing(house.service()) as llm:
        llm.generate_sync("hi", model=OPENAI, budget_remaining=budget, tier=tier, enable_fallback=False)


def worst_picousd(house: House, tier: Any = None) -> tuple[int | None, int | None]:
    """The worst case of a request of a tier, in a plan and under a budget."""
    with closing(house.service()) as llm:
        one = llm.plan(Options(prompt="hi", model=OPENAI, tier=tier, max_tokens=100)).entries[0].candidate
    return one.worst_cost_picousd, one.least_worst_picousd


def test_a_budget_holds_whichever_tier_serves(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.environ["OPENAI_API_KEY"] = KEY
    plain, under_budget = worst_picousd(house, "standard")
    assert worst_picousd(house, "flex") == (plain, under_budget)
    assert worst_picousd(house, "priority") == (2 * (plain or 0), 2 * (under_budget or 0))


def test_a_gateway_may_serve_a_request_without_a_tier_at_the_dearest(tmp_path: Path) -> None:
    own, gateway = House(tmp_path), House(tmp_path)
    own.environ["OPENAI_API_KEY"] = KEY
    gateway.environ |= {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://gateway.example/v1"}
    assert worst_picousd(own) == worst_picousd(own, "standard")
    assert worst_picousd(gateway) == worst_picousd(own, "priority")
    assert worst_picousd(gateway, "standard") == worst_picousd(own, "standard")


def test_a_budget_binds_a_gateway_whose_default_tier_is_priority(tmp_path: Path) -> None:
    with serving(openai("priority")) as server:
        house = House(tmp_path, openai=server)
        with closing(house.service()) as llm:
            llm.generate_sync("hi", model=OPENAI, budget_remaining=0.01, max_tokens=100, enable_fallback=False)
    ((reserved, cost, tier),) = house.rows("reserved_picousd, cost_picousd, service_tier")
    assert (cost <= reserved, tier) == (True, "priority")
    assert house.notes == []


def test_a_tier_that_is_not_available_falls_back_with_a_note(tmp_path: Path) -> None:
    refusal = {"error": {"type": "resource_unavailable", "code": "resource_unavailable", "message": "no flex now"}}
    with serving([reply(429, json.dumps(refusal).encode())]) as server:
        house = House(tmp_path, openai=server)
        with closing(house.service()) as llm, pytest.raises(LLMRouteError):
            llm.generate_sync("hi", fallback=[OPENAI, "openai/gpt-6-luna"], tier="flex", timeout_s=20)
    models = [json.loads(request.body)["model"] for request in server.received]
    assert models[:2] == ["gpt-5.4-mini", "gpt-6-luna"]
    assert any("gpt-6-luna" in note for note in house.notes)


def test_a_failure_of_the_flex_tier_leaves_the_standard_tier_of_the_model_in_use(tmp_path: Path) -> None:
    def models_called(service: LLMService, tier: ServiceTier | None) -> list[str]:
        before = len(server.received)
        with suppress(LLMRouteError):
            service.generate_sync("hi", fallback=[OPENAI, "openai/gpt-6-luna"], tier=tier, max_attempts=1)
        return [json.loads(request.body)["model"] for request in server.received[before:]]

    def script(request: Received) -> Script:
        body = json.loads(request.body)
        busy = (body["model"], body.get("service_tier")) == ("gpt-5.4-mini", "flex")
        return [openai_error(429, retry_after="600")] if busy else openai("default")

    with serving(script) as server:
        house = House(tmp_path, openai=server)
        with closing(house.service()) as llm:
            assert models_called(llm, "flex") == ["gpt-5.4-mini"]
        with closing(house.service()) as llm:
            assert models_called(llm, "flex") == ["gpt-6-luna"], "its circuit is open at this tier"
            assert models_called(llm, None) == ["gpt-5.4-mini"]


PLAIN = 50 * 1_000_000 + 10 * 5_000_000


@pytest.mark.parametrize(
    ("usage", "cost", "basis"),
    [
        ({"service_tier": "standard", "inference_geo": "global"}, PLAIN, "reported"),
        ({"inference_geo": "us"}, PLAIN, "at_least"),
        ({"service_tier": "priority"}, PLAIN, "at_least"),
        ({"service_tier": "batch"}, PLAIN // 2, "reported"),
        ({"server_tool_use": {"web_search_requests": 3}}, PLAIN + 3 * SEARCH, "reported"),
        ({"server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0}}, PLAIN, "reported"),
        ({"server_tool_use": {"code_execution_requests": 1}}, PLAIN, "at_least"),
        (
            {
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_1h_input_tokens": 20, "ephemeral_5m_input_tokens": 10},
            },
            PLAIN + 20 * 2_000_000 + 10 * 1_250_000,
            "reported",
        ),
        ({"server_tool_use": "many", "service_tier": 7, "inference_geo": None}, PLAIN, "reported"),
    ],
)
def test_region_tools_and_hours_of_cache_are_priced_where_a_price_is_known(
    usage: dict[str, Any], cost: int, basis: str, tmp_path: Path
) -> None:
    house = asked(tmp_path, ANTHROPIC, anthropic(**usage))
    assert house.rows("cost_picousd, cost_basis") == [(cost, basis)]


@pytest.mark.parametrize(
    ("day", "rates", "basis"), [(21, (4_000_000, 20_000_000), "reported"), (22, (5_000_000, 30_000_000), "estimated")]
)
def test_a_call_after_the_end_of_a_promotion_is_reserved_and_booked_at_the_price_before_it_as_an_estimate(
    day: int, rates: tuple[int, int], basis: str, tmp_path: Path
) -> None:
    asked = Options(prompt="hi", model="openai/gpt-5.6-sol", max_tokens=100, enable_fallback=False)
    with serving(openai(None)) as server:
        house = House(tmp_path, openai=server)
        llm = house.service({"registry": ModelRegistry(today=date(2026, 11, day))})
        list(llm.answer(asked, streaming=False))
        llm.close()
    ((reserved, cost, found),) = house.rows("reserved_picousd, cost_picousd, cost_basis")
    assert (cost, found) == (60 * rates[0] + 40 * rates[0] // 10 + 10 * rates[1], basis)
    assert (reserved - 100 * rates[1]) % rates[0] == 0


def test_a_cost_by_a_price_past_its_end_is_the_least_where_no_dearer_one_is_known() -> None:
    model = ModelRegistry().resolve(OPENAI)
    prompt = Prompt((Message("user", "hi"),))
    seen = Completion(text="Hi", usage=Usage(10, output_tokens=5), usage_final=True)
    ended = Price(input=2, output=4, valid_until="2026-08-31", doubt="at_least")
    sent = Sent(prompt, measure(prompt), model, ended, 1000, bound=True, expected_output_tokens=5)
    settled = settle(sent, seen)
    assert (settled.cost_picousd, settled.basis) == (40, "at_least")


def test_searches_beyond_reason_are_not_believed(tmp_path: Path) -> None:
    with serving(anthropic(server_tool_use={"web_search_requests": 10**9})) as server:
        house = House(tmp_path, anthropic=server)
        llm = house.service()
        llm.generate_sync("hi", model=ANTHROPIC)
        llm.close()
    ((cost, basis, source),) = house.rows("cost_picousd, cost_basis, usage_source")
    assert cost < SEARCH
    assert (basis, source) == ("estimated", "implausible")


def test_the_prices_of_tiers_are_those_that_genai_prices_knows() -> None:
    registry = ModelRegistry()
    published = {(one.id, model.id): model for one in providers for model in one.models}
    compared = 0
    for name in registry.list_models():
        model = registry.resolve(name)
        record = published.get((model.provider, str(model.facts.get("price_record") or model.api_name)))
        if record is None or "service_tiers" not in str(model.facts.get("prices")):
            continue
        tiers = dict(model.prices[-1].service_tiers)
        # The first of a tier is the newest.
        for variant in {str(one.when): one for one in reversed(record.price_variants or ())}.values():
            (tier,) = variant.when.values()
            for kind in ("input", "output", "cache_read", "cache_write", "cache_write_1h"):
                rate = getattr(variant.prices, f"{kind}_mtok", None)
                if rate is None:
                    continue
                base = getattr(rate, "base", rate)
                assert getattr(tiers[tier], kind) == Decimal(base) * 10**6, (name, tier, kind)
                compared += 1
    assert compared > 100
