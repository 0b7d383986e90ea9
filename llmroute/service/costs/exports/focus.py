"""Attempts as charges of the FinOps Open Cost and Usage Specification (FOCUS) 1.2.

Source: the specification of FOCUS 1.2 (focus.finops.org) and the rules of focus-validator 2.2.1 (`model-1.2.0.1.json`).
An attempt has a charge for each kind of token that it used, priced per million tokens as in the providers' price lists,
or one for the whole request where its cost is not the sum of tokens at a price.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmroute.registry.pricing import TokenCharge, token_charges
from llmroute.types import PICO_PER_USD, Price, PriceTier, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSION: Final = "1.2"
# The columns with their types: text, a decimal number, or a time.
COLUMNS: Final[dict[str, type]] = {
    "BilledCost": Decimal,
    "BillingAccountId": str,
    "BillingAccountName": str,
    "BillingCurrency": str,
    "BillingPeriodEnd": datetime,
    "BillingPeriodStart": datetime,
    "ChargeCategory": str,
    "ChargeClass": str,
    "ChargeDescription": str,
    "ChargeFrequency": str,
    "ChargePeriodEnd": datetime,
    "ChargePeriodStart": datetime,
    "CommitmentDiscountStatus": str,
    "ConsumedQuantity": Decimal,
    "ConsumedUnit": str,
    "ContractedCost": Decimal,
    "ContractedUnitPrice": Decimal,
    "EffectiveCost": Decimal,
    "InvoiceId": str,
    "InvoiceIssuerName": str,
    "ListCost": Decimal,
    "ListUnitPrice": Decimal,
    "PricingCategory": str,
    "PricingCurrency": str,
    "PricingCurrencyContractedUnitPrice": Decimal,
    "PricingCurrencyEffectiveCost": Decimal,
    "PricingCurrencyListUnitPrice": Decimal,
    "PricingQuantity": Decimal,
    "PricingUnit": str,
    "ProviderName": str,
    "PublisherName": str,
    "ServiceCategory": str,
    "ServiceName": str,
    "ServiceSubcategory": str,
    "SkuId": str,
    "SkuMeter": str,
    "SkuPriceDetails": str,
    "SkuPriceId": str,
    "SubAccountId": str,
    "SubAccountName": str,
    "Tags": str,
    "x_FocusVersion": str,
    "x_Model": str,
    "x_RequestId": str,
    "x_Attempt": int,
    "x_CostBasis": str,
}

_NAMES: Final = {"openai": "OpenAI", "anthropic": "Anthropic", "mistral": "Mistral AI", "together": "Together AI"}
_SERVICES: Final = {
    "openai": "OpenAI API",
    "anthropic": "Claude API",
    "mistral": "Mistral AI API",
    "together": "Together AI API",
}
_TOKENS_A_UNIT: Final = 1_000_000
_TAGS: Final = ("task", "strategy", "chain", "execution", "effort")
_LAST_MONTH: Final = 12


class _Part(NamedTuple):
    """A part of the cost of an attempt: the unit price in USD for so many priced units, of what is consumed."""

    meter: str
    consumed: int
    consumed_unit: str
    quantity: Decimal
    unit: str
    unit_price_usd: Decimal


def charges(attempt: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the charges of a row of the ledger, by the names of COLUMNS; none where it cost nothing or has no cost."""
    if attempt["status"] == "pending" or not attempt["cost_picousd"]:
        return
    provider, model = attempt["provider"], attempt["model"]
    start = datetime.fromtimestamp(attempt["started_ms"] / 1000, UTC)
    end = start + timedelta(milliseconds=attempt["latency_ms"] or 0)
    month = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    name = _NAMES.get(provider, provider)
    tier = attempt["service_tier"]
    for part in _parts(attempt):
        usd = part.quantity * part.unit_price_usd
        sku = f"{provider}/{model}/{part.meter.lower().replace(' ', '-')}"
        yield {
            "BilledCost": usd,
            "BillingAccountId": provider,
            "BillingAccountName": name,
            "BillingCurrency": "USD",
            "BillingPeriodEnd": _next_month(month),
            "BillingPeriodStart": month,
            "ChargeCategory": "Usage",
            "ChargeClass": None,
            "ChargeDescription": f"{part.meter} of {model}",
            "ChargeFrequency": "Usage-Based",
            # Exclusive, in whole seconds.
            "ChargePeriodEnd": end.replace(microsecond=0) + timedelta(seconds=1),
            "ChargePeriodStart": start.replace(microsecond=0),
            "CommitmentDiscountStatus": None,
            "ConsumedQuantity": Decimal(part.consumed),
            "ConsumedUnit": part.consumed_unit,
            "ContractedCost": usd,
            "ContractedUnitPrice": part.unit_price_usd,
            "EffectiveCost": usd,
            "InvoiceId": None,
            "InvoiceIssuerName": name,
            "ListCost": usd,
            "ListUnitPrice": part.unit_price_usd,
            "PricingCategory": "Standard",
            "PricingCurrency": "USD",
            "PricingCurrencyContractedUnitPrice": part.unit_price_usd,
            "PricingCurrencyEffectiveCost": usd,
            "PricingCurrencyListUnitPrice": part.unit_price_usd,
            "PricingQuantity": part.quantity,
            "PricingUnit": part.unit,
            "ProviderName": name,
            "PublisherName": name,
            "ServiceCategory": "AI and Machine Learning",
            "ServiceName": _SERVICES.get(provider, name),
            "ServiceSubcategory": "Generative AI",
            "SkuId": sku,
            "SkuMeter": part.meter,
            "SkuPriceDetails": json.dumps({"x_ServiceTier": tier}) if tier else None,
            "SkuPriceId": f"{sku}/{plain(part.unit_price_usd)}",
            "SubAccountId": attempt["workspace"] or None,
            "SubAccountName": attempt["workspace"] or None,
            "Tags": json.dumps({key: attempt[key] for key in _TAGS if attempt[key]}, ensure_ascii=False),
            "x_FocusVersion": VERSION,
            "x_Model": attempt["served_model"] or model,
            "x_RequestId": attempt["request_id"],
            "x_Attempt": attempt["attempt"],
            "x_CostBasis": attempt["cost_basis"],
        }


def plain(number: Decimal) -> str:
    """Return a number without an exponent and with a decimal point, so that no reader takes a column for integers."""
    whole, _, decimals = f"{number:f}".partition(".")
    return f"{whole}.{decimals.rstrip('0') or '0'}"


def _parts(attempt: Mapping[str, Any]) -> list[_Part]:
    cost = attempt["cost_picousd"]
    found = _token_charges(attempt)
    if sum(one.tokens * one.picousd for one in found) != cost:
        usd = Decimal(cost) / PICO_PER_USD
        return [_Part("Requests", 1, "Requests", Decimal(1), "Requests", usd)]
    return [
        _Part(
            f"{one.kind} Tokens",
            one.tokens,
            "Tokens",
            Decimal(one.tokens) / _TOKENS_A_UNIT,
            f"{_TOKENS_A_UNIT} Tokens",
            Decimal(one.picousd * _TOKENS_A_UNIT) / PICO_PER_USD,
        )
        for one in found
        if one.tokens and one.picousd
    ]


def _token_charges(attempt: Mapping[str, Any]) -> tuple[TokenCharge, ...]:
    """Return the tokens of an attempt with the prices that the ledger keeps of it."""
    if attempt["price"] is None:
        return ()
    told = json.loads(attempt["price"])
    rates = {name: told.get(name) for name in ("input", "output", "cache_read", "cache_write", "cache_write_1h")}
    price = Price(**rates, tiers=tuple(PriceTier(**tier) for tier in told.get("tiers", ())))
    return token_charges(Usage(**{name: attempt[name] for name in _COUNTS}), price) or ()


_COUNTS: Final = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
)


def _next_month(month: datetime) -> datetime:
    if month.month == _LAST_MONTH:
        return month.replace(year=month.year + 1, month=1)
    return month.replace(month=month.month + 1)
