"""Parser of the published data of genai-prices, for building and refreshing the catalogue."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

DATA_URL = "https://raw.githubusercontent.com/pydantic/genai-prices/refs/heads/main/prices/new_data/v2/data_slim.json"
"""URL of the data, MIT licensed."""

_KINDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
}
# Conditions of a variant that name a service tier.
_TIER_KEYS = frozenset(("service_tier", "speed", "processing"))
_MAX_DECIMALS = -6  # a millionth of a USD per million tokens is one pico-USD per token


def price_rows(prices: Any, variants: Any = None) -> list[dict[str, Any]]:
    """Convert the `prices` of a model to catalogue rows, oldest first, in USD per million tokens.

    `variants` are its `price_variants`; each row has the prices of the service tiers of its time.  A tier that is first
    priced in the time of a row belongs to the whole row; a changed price of a tier begins a row of its own.

    Raises:
        ValueError: the catalogue cannot represent the structure, a condition or the precision of a price.
    """
    rows = _dated_rows(prices)
    tiers = _tier_prices(variants)
    changes = {later.first_day for name in tiers for later in tiers[name][1:]}
    days = sorted({row.get("valid_from", "") for row in rows} | changes)
    split = []
    for day, end in zip(days, [*days[1:], None], strict=True):
        row = next((row for row in reversed(rows) if row.get("valid_from", "") <= day), rows[0])
        row = ({"valid_from": day} if day else {}) | {key: row[key] for key in row if key != "valid_from"}
        if of_row := _tiers_before(end, tiers):
            row["service_tiers"] = of_row
        split.append(row)
    return split


class _TierPrice(NamedTuple):
    """A price of a service tier from a day (ISO) on, empty where it has none."""

    first_day: str
    price: dict[str, Any]


def _tier_prices(variants: Any) -> dict[str, list[_TierPrice]]:
    """Return the prices by the name of the service tier in responses, oldest first."""
    found: dict[str, list[_TierPrice]] = {}
    for variant in sorted(variants or (), key=_first_day):
        when, prices = variant["when"], variant["prices"]
        if prices and len(when) == 1 and when.keys() <= _TIER_KEYS:
            (tier,) = when.values()
            found.setdefault(str(tier), []).append(_TierPrice(_first_day(variant), _price_row(prices)))
    return found


def _first_day(variant: Any) -> str:
    return str((variant.get("constraint") or {}).get("start_date", ""))


def _tiers_before(day: str | None, tiers: dict[str, list[_TierPrice]]) -> dict[str, dict[str, Any]]:
    """Return the newest price of each tier that begins before a day; None is no end."""
    begun = {name: [one for one in dated if day is None or one.first_day < day] for name, dated in tiers.items()}
    return {name: dated[-1].price for name, dated in begun.items() if dated}


def _dated_rows(prices: Any) -> list[dict[str, Any]]:
    if isinstance(prices, dict):
        return [_price_row(prices)]
    if not isinstance(prices, list) or not prices:
        raise ValueError("prices are neither a table nor a list")
    rows = []
    for conditional in prices:
        row = _price_row(conditional.get("prices") if isinstance(conditional, dict) else None)
        if constraint := conditional.get("constraint"):
            if not isinstance(constraint, dict) or set(constraint) != {"start_date"}:
                raise ValueError("a price depends on more than its first day")
            row = {"valid_from": str(constraint["start_date"]), **row}
        rows.append(row)
    return rows


def _price_row(prices: Any) -> dict[str, Any]:
    if not isinstance(prices, dict):
        raise ValueError("a price is not a table")  # noqa: TRY004 (the data is wrong, not the call)
    values = {kind: prices[key] for kind, key in _KINDS.items() if prices.get(key) is not None}
    starts = sorted({start for value in values.values() for start, _ in _tiers(value)})
    row: dict[str, Any] = {kind: number(_price_above(value, -1)) for kind, value in values.items()}
    if (searches := prices.get("web_searches_kcount")) is not None:
        row["web_search"] = number(searches)
    if starts:
        row["tiers"] = [
            {"above": start, **{kind: number(_price_above(value, start)) for kind, value in values.items()}}
            for start in starts
        ]
    return row


def _tiers(value: Any) -> list[tuple[int, Any]]:
    if not isinstance(value, dict):
        return []
    tiers = [(tier["start"], tier["price"]) for tier in value["tiers"]]
    if any(type(start) is not int or start < 0 for start, _ in tiers):
        raise ValueError("a tier does not start at a number of tokens")
    return sorted(tiers, key=lambda tier: tier[0])


def _price_above(value: Any, start: int) -> Any:
    """Return the price for a prompt just above `start` tokens."""
    price = value["base"] if isinstance(value, dict) else value
    for tier_start, tier_price in _tiers(value):
        if tier_start <= start:
            price = tier_price
    return price


def number(value: Any) -> int | float:
    """Return a price as an exact JSON number with at most six decimals.

    Raises:
        ValueError: it is not a number, is negative, or has more decimals.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"{value!r} is not a price")  # noqa: TRY004 (the data is wrong, not the call)
    exact = Decimal(str(value))
    if not exact.is_finite() or exact < 0:
        raise ValueError(f"{value} is not a price")
    exact = exact.normalize()
    exponent = exact.as_tuple().exponent
    if isinstance(exponent, int) and exponent < _MAX_DECIMALS:
        raise ValueError(f"the price {value} has more than six decimals")
    return int(exact) if exact == exact.to_integral_value() else float(exact)
