"""Money is equal to the last digit to what genai-prices makes of the same usage."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.registry import ModelRegistry
from llmroute.registry.genai_prices import price_rows
from llmroute.registry.pricing import (
    cost_picousd,
    cost_uncached_picousd,
    price_of_service,
    price_on,
    rates_for,
    worst_rates,
)
from llmroute.registry.row_parser import model_from_row
from llmroute.types import PICO_PER_USD, ModelConfig, Price, PriceTier, Service, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genai_prices.types import ModelInfo

TODAY = date(2026, 11, 22)
TIERED = Price(
    input=2,
    output=3,
    cache_read=1,
    tiers=(PriceTier(above=200, input=8, output=9), PriceTier(above=100, input=4, output=6)),
)


@cache
def judge() -> dict[tuple[str, str], ModelInfo]:
    from genai_prices.data import providers

    return {(provider.id, model.id): model for provider in providers for model in provider.models}


@cache
def shared_models() -> list[ModelConfig]:
    registry = ModelRegistry(today=TODAY)
    models = [registry.resolve(name) for name in registry.list_models()]
    return [without_ends(model) for model in models if record(model) in judge() and from_genai(model)]


def without_ends(model: ModelConfig) -> ModelConfig:
    """The judge does not know the days that a promotion ends on."""
    return replace(model, prices=tuple(price._replace(valid_until=None) for price in model.prices))


def record(model: ModelConfig) -> tuple[str, str]:
    return model.provider, str(model.facts.get("price_record", model.api_name))


def from_genai(model: ModelConfig) -> bool:
    """Whether the price is of the version that is installed; another may know better by now."""
    import genai_prices

    sources: Any = model.facts["sources"]
    return str(sources.get("prices")) == f"genai-prices {genai_prices.__version__}"


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    prompt = draw(st.integers(0, 2_000_000) | st.sampled_from([100_000, 100_001, 200_001, 272_000, 272_001]))
    read = draw(st.integers(0, prompt))
    written = draw(st.integers(0, prompt - read))
    return Usage(
        input_tokens=prompt,
        cached_input_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=draw(st.integers(0, written)),
        output_tokens=draw(st.integers(0, 1_000_000)),
    )


def test_the_judge_knows_most_of_our_priced_models() -> None:
    if not shared_models():
        pytest.skip("the installed genai-prices is not the version that the catalogue was compiled from")
    assert len(shared_models()) > 75


@given(data=st.data(), usage=usages(), day=st.dates(date(2024, 1, 1), date(2027, 12, 31)))
def test_a_cost_of_the_catalogue_equals_the_judge_to_the_last_digit(
    data: st.DataObject, usage: Usage, day: date
) -> None:
    if not shared_models():
        pytest.skip("the installed genai-prices is not the version that the catalogue was compiled from")
    model = data.draw(st.sampled_from(shared_models()))
    assert cost_on(model, day, usage) == judged_cost(judge()[record(model)], day, usage)


@given(data=st.data(), usage=usages(), day=st.dates(date(2024, 1, 1), date(2027, 12, 31)))
def test_a_cost_of_any_published_price_equals_the_judge_to_the_last_digit(
    data: st.DataObject, usage: Usage, day: date
) -> None:
    name = data.draw(st.sampled_from(published_names()))
    info = judge()[name]
    row = {"provider": name[0], "id": name[1], "prices": price_rows(published(info.prices))}
    assert cost_on(model_from_row(row), day, usage) == judged_cost(info, day, usage)


def text_variants(name: tuple[str, str]) -> list[Any]:
    """The prices of service tiers of a record."""
    return [one for one in judge()[name].price_variants or () if len(one.when) == 1 and prices_text(one.prices)]


def first_day(variant: Any) -> str:
    return str(getattr(variant.constraint, "start_date", ""))


@given(data=st.data(), usage=usages())
def test_a_cost_by_the_price_of_a_service_tier_equals_the_judge_to_the_last_digit(
    data: st.DataObject, usage: Usage
) -> None:
    """On and after the first day of each price of a tier, and on the day before each change."""
    name = data.draw(st.sampled_from([name for name in published_names() if text_variants(name)]))
    info, variants = judge()[name], text_variants(name)
    word = data.draw(st.sampled_from(variants)).when
    own = sorted((one for one in variants if one.when == word), key=first_day)
    begins = [date.fromisoformat(first_day(one) or "2024-01-01") for one in own]
    changes = [*begins[1:], *(day for day in starts(info.prices) if day > begins[0])]
    day = data.draw(st.sampled_from([*begins, *changes, *(day - timedelta(1) for day in changes), date(2027, 12, 31)]))
    row = {"provider": name[0], "id": name[1], "prices": price_rows(published(info.prices), as_published(variants))}
    price = price_on(model_from_row(row), day)
    assert price is not None
    of_tier, known = price_of_service(price, Service(str(*word.values())))
    assert known
    valid = [one for one, begin in zip(own, begins, strict=True) if begin <= day]
    assert cost_picousd(usage, of_tier) == calculated(overlaid(info, valid[-1].prices, day), usage)


def overlaid(info: Any, of_tier: Any, day: date) -> Any:
    """Return the prices of a tier, and the standard ones of the cached tokens that it lacks."""
    standard = info.get_prices(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
    whole = copy(of_tier)
    for kind in ("cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok"):
        if getattr(of_tier, kind) is None:
            setattr(whole, kind, getattr(standard, kind))
    return whole


def starts(prices: Any) -> list[date]:
    """The first days of the prices of a record."""
    dated = (one.constraint for one in prices if one.constraint) if isinstance(prices, list) else ()
    return [constraint.start_date for constraint in dated]


def as_published(variants: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {"when": dict(one.when), "prices": published(one.prices)}
        | ({"constraint": {"start_date": first_day(one)}} if one.constraint else {})
        for one in variants
    ]


def test_every_row_of_the_catalogue_has_the_service_tiers_of_its_time() -> None:
    if not shared_models():
        pytest.skip("the installed genai-prices is not the version that the catalogue was compiled from")
    compared = 0
    for model in shared_models():
        info = judge()[record(model)]
        prices = price_rows(published(info.prices), as_published(info.price_variants or ()))
        row = {"provider": model.provider, "id": model.id, "prices": prices}
        assert model.prices == model_from_row(row).prices, model.name
        compared += any(price.service_tiers for price in model.prices)
    assert compared > 40


def cost_on(model: ModelConfig, day: date, usage: Usage) -> int:
    price = price_on(model, day)
    assert price is not None
    cost = cost_picousd(usage, price)
    assert isinstance(cost, int)
    return cost


def judged_cost(info: ModelInfo, day: date, usage: Usage) -> Decimal:
    return calculated(info.get_prices(datetime(day.year, day.month, day.day, 12, tzinfo=UTC)), usage)


def calculated(prices: Any, usage: Usage) -> Decimal:
    """Return what genai-prices makes of a usage, in pico-USD."""
    from genai_prices import Usage as JudgedUsage

    judged = prices.calc_price(
        JudgedUsage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cache_write_1h_tokens=usage.cache_write_1h_tokens,
            output_tokens=usage.output_tokens,
        )
    )
    total: Decimal = judged["total_price"]
    return total * Decimal(PICO_PER_USD)


@cache
def published_names() -> list[tuple[str, str]]:
    """The records of our providers that price text: what speaks, draws or charges by the request is not our trade."""
    ours = ModelRegistry().providers
    return [name for name, info in judge().items() if name[0] in ours and prices_text(info.prices)]


def prices_text(prices: Any) -> bool:
    tables = [conditional.prices for conditional in prices] if isinstance(prices, list) else [prices]
    return all(
        table.input_mtok is not None and table.output_mtok is not None and table.requests_kcount is None
        for table in tables
    )


def published(prices: Any) -> Any:
    """The prices of a record in the shape in which they are published as JSON."""
    if isinstance(prices, list):
        return [
            {"prices": published(conditional.prices)}
            | ({"constraint": {"start_date": str(conditional.constraint.start_date)}} if conditional.constraint else {})
            for conditional in prices
        ]
    return {key: value if isinstance(value, Decimal) else tiers(value) for key, value in vars(prices).items() if value}


def tiers(value: Any) -> dict[str, Any]:
    return {"base": value.base, "tiers": [{"start": tier.start, "price": tier.price} for tier in value.tiers]}


@pytest.mark.parametrize(("prompt", "cost"), [(100, 200), (101, 404), (200, 800), (201, 1608)])
def test_the_whole_prompt_chooses_the_tier_of_the_whole_request(prompt: int, cost: int) -> None:
    assert cost_picousd(Usage(input_tokens=prompt, output_tokens=0), TIERED) == cost


def test_a_cached_prompt_counts_towards_the_tier() -> None:
    usage = Usage(input_tokens=101, cached_input_tokens=101, output_tokens=1)
    assert cost_picousd(usage, TIERED) == 101 * 4 + 6


@pytest.mark.parametrize(
    "usage", [Usage(), Usage(input_tokens=5), Usage(output_tokens=5), Usage(input_tokens=None, output_tokens=0)]
)
def test_unknown_tokens_make_an_unknown_cost(usage: Usage) -> None:
    assert cost_picousd(usage, TIERED) is None


@pytest.mark.parametrize("price", [Price(input=None, output=1), Price(input=1, output=None)])
def test_an_unknown_price_makes_an_unknown_cost_and_never_zero(price: Price) -> None:
    assert cost_picousd(Usage(input_tokens=1, output_tokens=1), price) is None


def test_a_price_of_zero_is_a_price() -> None:
    assert cost_picousd(Usage(input_tokens=9, output_tokens=9), Price(input=0, output=0)) == 0


@given(prompt=st.integers(0, 400), answer=st.integers(0, 1000), known=st.booleans())
def test_what_is_forecast_without_a_cache_is_what_such_an_attempt_costs(prompt: int, answer: int, known: bool) -> None:
    price = TIERED if known else Price(input=2, output=None)
    assert cost_uncached_picousd(prompt, answer, price) == cost_picousd(Usage(prompt, output_tokens=answer), price)


@given(
    prompt=st.integers(0, 1000), read=st.integers(-5, 2000), written=st.integers(-5, 2000), hour=st.integers(-5, 2000)
)
def test_counters_that_claim_too_much_never_bill_more_tokens_than_the_prompt_has(
    prompt: int, read: int, written: int, hour: int
) -> None:
    usage = Usage(
        input_tokens=prompt,
        cached_input_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        output_tokens=0,
    )
    price = Price(input=1, output=0, cache_read=1, cache_write=1, cache_write_1h=1)
    assert cost_picousd(usage, price) == prompt


def test_a_price_begins_on_its_day() -> None:
    model = ModelRegistry().get_model_config("mistral", "mistral-large-4")
    inputs = [price_on(model, date(2026, 10, day)) for day in (19, 20, 28, 29)]
    assert [price and price.input for price in inputs] == [680_000, 1_360_000, 1_360_000, 700_000]


def test_after_a_promotion_the_price_before_it_holds_as_an_estimate_and_its_tiers_of_service_rise_as_much() -> None:
    model = ModelRegistry().get_model_config("openai", "gpt-5.6-sol")
    last, after = price_on(model, date(2026, 11, 21)), price_on(model, date(2026, 11, 22))
    assert last is not None
    assert after is not None
    assert (last.input, last.output, last.doubt) == (4_000_000, 20_000_000, None)
    assert (after.input, after.output, after.doubt) == (5_000_000, 30_000_000, "estimated")
    for tier, factor in (("flex", 0.5), ("batch", 0.5), ("priority", 2)):
        price, known = price_of_service(after, Service(tier=tier))
        assert (price.doubt, known) == ("estimated", True)
        for prompt in (1000, 300_000):
            own, standard = rates_for(price, prompt), rates_for(after, prompt)
            assert (own.input, own.output) == ((standard.input or 0) * factor, (standard.output or 0) * factor)
            assert own.cache_read == (standard.cache_read or 0) * factor
    assert worst_rates(after, 1000) == (6_250_000, 30_000_000)


def test_a_price_that_is_known_to_follow_a_promotion_has_its_own_tiers() -> None:
    tiers = {"flex": {"input": 1, "output": 2}}
    prices = [
        {"input": 5, "output": 9},
        {"valid_from": "2026-08-01", "valid_until": "2026-08-31", "input": 2, "output": 4, "service_tiers": tiers},
        {"valid_from": "2026-09-01", "input": 4, "output": 8},
    ]
    model = model_from_row({"provider": "openai", "id": "later", "prices": prices})
    later = price_on(model, date(2026, 9, 1))
    assert later is not None
    assert (later.input, later.service_tiers) == (4_000_000, ())


@pytest.mark.parametrize("before", [[], [{"input": 1, "output": 2}]])
def test_a_price_past_its_end_that_replaced_no_dearer_one_holds_on_as_the_least(before: list[dict[str, int]]) -> None:
    ending = {"valid_from": "2026-08-01", "valid_until": "2026-08-31", "input": 2, "output": 4}
    model = model_from_row({"provider": "openai", "id": "ending", "prices": [*before, ending]})
    last, after = price_on(model, date(2026, 8, 31)), price_on(model, date(2026, 9, 1))
    assert last is not None
    assert last.doubt is None
    assert after == last._replace(doubt="at_least")


def test_a_model_without_a_price_has_none_on_any_day() -> None:
    assert price_on(model_from_row({"provider": "openai", "id": "unpriced"}), TODAY) is None
