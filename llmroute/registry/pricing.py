"""Costs from usage and prices, in exact integer pico-USD."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.types import Usage

if TYPE_CHECKING:
    from datetime import date

    from llmroute.types import CacheLife, ModelConfig, Price, PriceTier, Service

# Names of the tier and of the region with the list price.
_STANDARD = frozenset(("default", "standard", "auto"))
_ANYWHERE = frozenset(("", "global", "not_available"))
_CACHE_KINDS = ("cache_read", "cache_write", "cache_write_1h")
_KINDS = ("input", "output", *_CACHE_KINDS)
_WEB_SEARCH = "web_search_requests"


class TokenCharge(NamedTuple):
    """Tokens of a kind and the price of each in pico-USD."""

    kind: str
    tokens: int
    picousd: int


def cost_picousd(usage: Usage, price: Price) -> int | None:
    """Return the cost of an attempt in pico-USD, None if its tokens or their price are unknown."""
    charges = token_charges(usage, price)
    return None if charges is None else sum(charge.tokens * charge.picousd for charge in charges)


def token_charges(usage: Usage, price: Price) -> tuple[TokenCharge, ...] | None:
    """Return the tokens of an attempt by kind, with their prices; None if tokens or a price are unknown.

    The length of the prompt selects the tier, which applies to all tokens.  A kind of token without a price has the
    price of the kind that includes it: 1-hour cache writes that of cache writes, cache reads and writes that of input.
    Cached tokens beyond the length of the prompt are ignored.
    """
    prompt, answer = usage.input_tokens, usage.output_tokens
    rates = rates_for(price, prompt or 0)
    if prompt is None or answer is None or rates.input is None or rates.output is None:
        return None
    read = _at_most(usage.cached_input_tokens, prompt)
    written = _at_most(usage.cache_write_tokens, prompt - read)
    for_an_hour = _at_most(usage.cache_write_1h_tokens, written)
    read_rate = rates.input if rates.cache_read is None else rates.cache_read
    write_rate = rates.input if rates.cache_write is None else rates.cache_write
    hour_rate = write_rate if rates.cache_write_1h is None else rates.cache_write_1h
    return (
        TokenCharge("Input", prompt - read - written, rates.input),
        TokenCharge("Cache Read", read, read_rate),
        TokenCharge("Cache Write", written - for_an_hour, write_rate),
        TokenCharge("1-Hour Cache Write", for_an_hour, hour_rate),
        TokenCharge("Output", max(answer, 0), rates.output),
    )


def price_of_service(price: Price, service: Service) -> tuple[Price, bool]:
    """Return the price of the service tier of a response, and whether it is exact.

    A tier without a known price, and a specific region, have the standard price, which is lower than theirs.  Cached
    tokens for which a tier has no price of its own have the standard one.
    """
    known = service.geo is None or service.geo in _ANYWHERE
    if service.tier is None or service.tier in _STANDARD:
        return price._replace(service_tiers=()), known
    tier = dict(price.service_tiers).get(service.tier)
    if tier is None:
        return price._replace(service_tiers=()), False
    of_price = ("valid_from", "valid_until", "web_search", "doubt")
    shared = {field: getattr(price, field) for field in of_price} | _cache_rates(tier, price)
    steps = [step._replace(**_cache_rates(step, rates_for(price, step.above + 1))) for step in tier.tiers]
    return tier._replace(**shared, tiers=tuple(steps)), known


def _cache_rates(rates: Price | PriceTier, standard: Price | PriceTier) -> dict[str, Any]:
    """Return the prices of cached tokens that a tier lacks, from the standard price."""
    return {kind: getattr(standard, kind) for kind in _CACHE_KINDS if getattr(rates, kind) is None}


def cost_of_tools_picousd(price: Price, service: Service) -> tuple[int, bool]:
    """Return the cost of the provider's tools in pico-USD, and whether the prices of all used tools are known."""
    known = True
    cost = 0
    for name, count in service.tools:
        if name == _WEB_SEARCH and price.web_search is not None:
            cost += count * price.web_search
        else:
            known = known and count == 0
    return cost, known


def cost_uncached_picousd(prompt_tokens: int, answer_tokens: int, price: Price) -> int | None:
    """Return the cost in pico-USD of an attempt without cached tokens, None if a price is unknown."""
    rates = rates_for(price, prompt_tokens)
    if rates.input is None or rates.output is None:
        return None
    return prompt_tokens * rates.input + answer_tokens * rates.output


def cost_cached_picousd(prompt_tokens: int, answer_tokens: int, price: Price, cached_share: float) -> int | None:
    """Return the cost in pico-USD of an attempt that reads a share of its prompt (0 to 1) from a cache."""
    return cost_picousd(Usage(prompt_tokens, int(prompt_tokens * cached_share), None, answer_tokens), price)


def worst_cost_picousd(prompt_tokens: int, answer_tokens: int, price: Price, written: CacheLife | None) -> int | None:
    """Return the cost in pico-USD of an attempt whose whole prompt is written to a cache for `written`, None if not."""
    rates = rates_for(price, prompt_tokens)
    if rates.input is None or rates.output is None:
        return None
    return prompt_tokens * max(rates.input, _write_rate(rates, written)) + answer_tokens * rates.output


def _write_rate(rates: Price | PriceTier, written: CacheLife | None) -> int:
    """Return the price of a token that is written to a cache, 0 where none is or the price is unknown."""
    hour = rates.cache_write_1h if written == "1h" else None
    return 0 if written is None else max(rates.cache_write or 0, hour or 0)


def worst_rates(price: Price, most_prompt_tokens: int, written: CacheLife = "5m") -> tuple[int, int] | None:
    """Return the highest possible price of an input and of an output token, None if a price is unknown.

    Covers each tier up to the maximum length of the prompt, and cache reads and writes, those of 1 hour where they are
    requested (`written`).
    """
    reached: list[Price | PriceTier] = [price, *(tier for tier in price.tiers if most_prompt_tokens > tier.above)]
    inputs, outputs = [], []
    for rates in reached:
        if rates.input is None or rates.output is None:
            return None
        inputs.append(max(rates.input, rates.cache_read or 0, _write_rate(rates, written)))
        outputs.append(rates.output)
    return max(inputs), max(outputs)


def rates_for(price: Price, prompt_tokens: int) -> Price | PriceTier:
    """Return the prices for a prompt of this length: those of the highest tier below it, else the base prices."""
    reached = [tier for tier in price.tiers if prompt_tokens > tier.above]
    return max(reached, key=lambda tier: tier.above) if reached else price


def at_length(price: Price, prompt_tokens: int) -> Price:
    """Return a price without tiers of length: its rates for a prompt of this length."""
    rates = rates_for(price, prompt_tokens)
    return price._replace(tiers=(), **{kind: getattr(rates, kind) for kind in _KINDS})


def price_on(model: ModelConfig, day: date) -> Price | None:
    """Return the price on a day: the newest one that is valid from then or earlier, None if the model has no price.

    After the `valid_until` of that price the current price is unknown.  The price before it is returned if it was
    higher (a promotion has ended), with doubt "estimated"; its service tiers, where they are unknown, are those of the
    promotion, raised as much.  Otherwise the same price is returned, with doubt "at_least".
    Before the first price is valid, the first price is returned.
    """
    today = day.isoformat()
    begun = [price for price in model.prices if price.valid_from is None or price.valid_from <= today]
    newest = begun[-1] if begun else next(iter(model.prices), None)
    if newest is None or newest.valid_until is None or today <= newest.valid_until:
        return newest
    before = reversed(begun[:-1])
    regular = next((price for price in before if (price.input, price.output) != (newest.input, newest.output)), newest)
    if _is_higher(regular, newest):
        tiers = regular.service_tiers or _scaled_tiers(newest, regular)
        return regular._replace(service_tiers=tiers, doubt="estimated")
    return newest._replace(doubt="at_least")


def _scaled_tiers(promotion: Price, regular: Price) -> tuple[tuple[str, Price], ...]:
    """Return the prices of service tiers of a promotion, raised as much as the standard price after it."""
    found = []
    for name, price in promotion.service_tiers:
        tiers = tuple(
            tier._replace(**_scaled(tier, rates_for(promotion, tier.above + 1), rates_for(regular, tier.above + 1)))
            for tier in price.tiers
        )
        found.append((name, price._replace(tiers=tiers, **_scaled(price, promotion, regular))))
    return tuple(found)


def _scaled(rates: Price | PriceTier, promotion: Price | PriceTier, regular: Price | PriceTier) -> dict[str, Any]:
    """Return rates by kind, each times its regular rate over its rate in the promotion; None where one is unknown."""
    scaled: dict[str, int | None] = dict.fromkeys(_KINDS)
    for kind in _KINDS:
        rate, old, new = getattr(rates, kind), getattr(promotion, kind), getattr(regular, kind)
        if rate is not None and old and new is not None:
            scaled[kind] = -(-rate * new // old)
    return scaled


def _is_higher(price: Price, other: Price) -> bool:
    return (price.input or 0) + (price.output or 0) > (other.input or 0) + (other.output or 0)


def rates_on(model: ModelConfig, day: date) -> tuple[float, float]:
    """Return a day's prices of an input and an output token in pico-USD, infinite if unknown."""
    price = price_on(model, day)
    rates = (None, None) if price is None else (price.input, price.output)
    read, written = (inf if rate is None else rate for rate in rates)
    return read, written


def _at_most(count: int | None, limit: int) -> int:
    return min(max(count or 0, 0), max(limit, 0))
