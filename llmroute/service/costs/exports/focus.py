"""Attempts as charges of the FinOps Open Cost and Usage Specification (FOCUS) 1.2.

Sources: the specifications of FOCUS 1.2 to 1.4 (focus.finops.org) and the rules of focus-validator 2.2.1
(`model-1.2.0.1.json`).  1.4 has no columns for tokens: they are units of ConsumedQuantity and PricingQuantity, as in
1.2.  ServiceProviderName and HostProviderName, which replace ProviderName and PublisherName from 1.3 on, are included.
An attempt has a charge for each kind of token that it used, priced per million tokens as in the providers' price lists,
or one for the whole request where its cost is not the sum of tokens at a price.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmroute.ledger.periods import utc_time
from llmroute.ledger.reports import PRICED_TOKENS
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
    "HostProviderName": str,
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
    "ServiceProviderName": str,
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

_CONSTANTS: Final = {
    "BillingCurrency": "USD",
    "ChargeCategory": "Usage",
    "ChargeFrequency": "Usage-Based",
    "PricingCategory": "Standard",
    "PricingCurrency": "USD",
    "ServiceCategory": "AI and Machine Learning",
    "ServiceSubcategory": "Generative AI",
    "x_FocusVersion": VERSION,
}
_NAMES: Final = {"openai": "OpenAI", "anthropic": "Anthropic", "mistral": "Mistral AI", "together": "Together AI"}
_SERVICES: Final = {
    "openai": "OpenAI API",
    "anthropic": "Claude API",
    "mistral": "Mistral AI API",
    "together": "Together AI API",
}
# In place of ProviderName and PublisherName from FOCUS 1.3 on.
_NEWER_COMPANIES: Final = ("ServiceProviderName", "HostProviderName")
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
    """Yield the charges of a row of the ledger, by the names of COLUMNS; none where it cost nothing or has no cost.

    Columns that do not apply are None, among them InvoiceId: an attempt has no invoice yet.
    """
    if attempt["status"] == "pending" or not attempt["cost_picousd"]:
        return
    of_attempt = dict.fromkeys(COLUMNS) | _CONSTANTS | _account(attempt) | _period(attempt) | _origin(attempt)
    for part in _parts(attempt):
        yield of_attempt | _cost(part) | _sku(attempt, part)


def _account(attempt: Mapping[str, Any]) -> dict[str, Any]:
    provider = attempt["provider"]
    name = _NAMES.get(provider, provider)
    companies = ("BillingAccountName", "InvoiceIssuerName", "ProviderName", "PublisherName", *_NEWER_COMPANIES)
    return {
        **dict.fromkeys(companies, name),
        "BillingAccountId": provider,
        "ServiceName": _SERVICES.get(provider, name),
        "SubAccountId": attempt["workspace"] or None,
        "SubAccountName": attempt["workspace"] or None,
    }


def _period(attempt: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ends of the charge, in whole seconds, and of its month in UTC; ends are exclusive."""
    start = utc_time(attempt["started_ms"])
    end = utc_time(attempt["started_ms"] + (attempt["latency_ms"] or 0))
    month = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return {
        "BillingPeriodStart": month,
        "BillingPeriodEnd": _next_month(month),
        "ChargePeriodStart": start.replace(microsecond=0),
        "ChargePeriodEnd": end.replace(microsecond=0) + timedelta(seconds=1),
    }


def _origin(attempt: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Tags": json.dumps({key: attempt[key] for key in _TAGS if attempt[key]}, ensure_ascii=False),
        "x_Model": attempt["served_model"] or attempt["model"],
        "x_RequestId": attempt["request_id"],
        "x_Attempt": attempt["attempt"],
        "x_CostBasis": attempt["cost_basis"],
    }


def _cost(part: _Part) -> dict[str, Any]:
    """Return the quantities, prices and costs: without discounts, all costs are the list cost."""
    costs = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "PricingCurrencyEffectiveCost")
    prices = (
        "ContractedUnitPrice",
        "ListUnitPrice",
        "PricingCurrencyContractedUnitPrice",
        "PricingCurrencyListUnitPrice",
    )
    return {
        **dict.fromkeys(costs, part.quantity * part.unit_price_usd),
        **dict.fromkeys(prices, part.unit_price_usd),
        "ConsumedQuantity": Decimal(part.consumed),
        "ConsumedUnit": part.consumed_unit,
        "PricingQuantity": part.quantity,
        "PricingUnit": part.unit,
    }


def _sku(attempt: Mapping[str, Any], part: _Part) -> dict[str, Any]:
    # FOCUS allows only ASCII in these columns; x_Model has the name as it is.
    model, tier = attempt["model"].encode("ascii", "backslashreplace").decode(), attempt["service_tier"]
    sku = f"{attempt['provider']}/{model}/{part.meter.lower().replace(' ', '-')}"
    return {
        "ChargeDescription": f"{part.meter} of {model}",
        "SkuId": sku,
        "SkuMeter": part.meter,
        "SkuPriceDetails": json.dumps({"x_ServiceTier": tier}) if tier else None,
        "SkuPriceId": f"{sku}/{plain(part.unit_price_usd)}",
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
    try:
        recorded = json.loads(attempt["price"] or "{}")
        rates = {
            name: recorded.get(name) for name in ("input", "output", "cache_read", "cache_write", "cache_write_1h")
        }
        price = Price(**rates, tiers=tuple(PriceTier(**tier) for tier in recorded.get("tiers", ())))
        return token_charges(Usage(**{name: attempt[name] for name in PRICED_TOKENS}), price) or ()
    except (ValueError, TypeError, AttributeError):
        # Of a damaged ledger, or a newer version: the cost is that of the request.
        return ()


def _next_month(month: datetime) -> datetime:
    if month.month == _LAST_MONTH:
        return month.replace(year=month.year + 1, month=1)
    return month.replace(month=month.month + 1)
