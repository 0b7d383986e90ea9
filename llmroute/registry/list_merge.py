"""Model lists of providers, merged into the catalogue: limits, dates and successors of its models.

A listed model is a mapping with the fields of `providers.ListedModel`: `api_name` and, if the provider has
them, `aliases`, `context_window`, `max_output`, `capabilities`, `deprecated_on`, `retires_on`,
`successor`, `price_input` and `price_output`, the dates ISO and the prices USD per million tokens.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from llmroute.registry.refresh import Change
from llmroute.registry.schema import check_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

_FIELDS = ("context_window", "max_output", "deprecated_on", "retires_on")


def merge_live(
    catalogue: dict[str, Any], provider: str, listed: Iterable[Mapping[str, Any]], today: date
) -> dict[str, Any]:
    """Return the catalogue with the provider's data about its models; unlisted models are not added.

    Raises:
        RequestError: the result is not a valid catalogue.
    """
    merged = deepcopy(catalogue)
    rows = _rows(merged, provider)
    for model in listed:
        if (row := rows.get(model["api_name"])) is not None:
            _update(row, model, rows, today)
    merged["as_of"] = today.isoformat()
    check_catalogue(merged)
    return merged


def compare_live(catalogue: dict[str, Any], provider: str, listed: Iterable[Mapping[str, Any]]) -> tuple[Change, ...]:
    """Return the models that only the provider lists, and those that only the catalogue lists.

    Both are for display only: a list has models without chat, and a key may not have access to all models.
    """
    rows = _rows(catalogue, provider)
    served = {name for model in listed for name in (model["api_name"], *model.get("aliases", ()))}
    unlisted = {row["id"] for row in rows.values()} - {rows[name]["id"] for name in served if name in rows}
    return (
        *(Change("new", f"{provider}/{name}") for name in sorted(served - rows.keys())),
        *(Change("gone", f"{provider}/{name}") for name in sorted(unlisted)),
    )


def _rows(catalogue: dict[str, Any], provider: str) -> dict[str, dict[str, Any]]:
    """Return the provider's rows by API name and alias; an API name takes precedence over an alias."""
    own = [row for row in catalogue["models"] if row["provider"] == provider]
    rows = {alias: row for row in own for alias in row.get("aliases", ())}
    return rows | {row.get("api_name", row["id"]): row for row in own}


def _update(row: dict[str, Any], model: Mapping[str, Any], rows: dict[str, dict[str, Any]], today: date) -> None:
    listed_facts = {field: model.get(field) for field in _FIELDS}
    if (successor := model.get("successor")) in rows:
        listed_facts["successor"] = f"{row['provider']}/{rows[successor]['id']}"
    if model.get("capabilities"):
        # Lists are incomplete about capabilities, so they only add some.
        listed_facts["capabilities"] = sorted({*row.get("capabilities", ()), *model["capabilities"]})
    if model.get("price_input") is not None and model.get("price_output") is not None:
        listed_facts["prices"] = _prices(row.get("prices", []), model["price_input"], model["price_output"], today)
    changed = {field: value for field, value in listed_facts.items() if value is not None and value != row.get(field)}
    if changed:
        origin = f"{row['provider']}'s own list of {today.isoformat()}"
        row |= changed | {"as_of": today.isoformat()}
        row["sources"] = {**row.get("sources", {}), **dict.fromkeys(changed, origin)}


def _prices(prices: list[dict[str, Any]], usd_input: float, usd_output: float, today: date) -> list[dict[str, Any]]:
    """Add a changed list price, valid from today; prices of caches are kept."""
    newest = prices[-1] if prices else {}
    if (newest.get("input"), newest.get("output")) == (usd_input, usd_output):
        return prices
    begun = [price for price in prices if price.get("valid_from") != today.isoformat()]
    caches = {kind: newest[kind] for kind in ("cache_read", "cache_write", "cache_write_1h") if kind in newest}
    return [*begun, {"valid_from": today.isoformat(), "input": usd_input, "output": usd_output, **caches}]
