"""What a provider's own list says of its models: the last word on limits, dates and successors.

A listed model is a mapping of what `providers.LiveModel` holds (`_asdict` makes one): `api_name` and, where
the provider says them, `aliases`, `context_window`, `max_output`, `capabilities`, `deprecated_on`, `retires_on`,
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
    """Return the catalogue with what the provider says of the models that it holds; other models are left out.

    Raises:
        RequestError: what the provider says makes no sound catalogue.
    """
    merged = deepcopy(catalogue)
    rows = _rows(merged, provider)
    for model in listed:
        if (row := rows.get(model["api_name"])) is not None:
            _take(row, model, rows, today)
    merged["as_of"] = today.isoformat()
    check_catalogue(merged)
    return merged


def compare_live(catalogue: dict[str, Any], provider: str, listed: Iterable[Mapping[str, Any]]) -> tuple[Change, ...]:
    """Return what the provider serves beyond the catalogue, and what of the catalogue it does not list.

    Both are for the user's eyes: a list has models that do not chat, and a key may not see every model.
    """
    rows = _rows(catalogue, provider)
    served = {name for model in listed for name in (model["api_name"], *model.get("aliases", ()))}
    unlisted = {row["id"] for row in rows.values()} - {rows[name]["id"] for name in served if name in rows}
    return (
        *(Change("new", f"{provider}/{name}") for name in sorted(served - rows.keys())),
        *(Change("gone", f"{provider}/{name}") for name in sorted(unlisted)),
    )


def _rows(catalogue: dict[str, Any], provider: str) -> dict[str, dict[str, Any]]:
    """The provider's rows by every name that it may call them; a row's own wire name outranks an alias."""
    own = [row for row in catalogue["models"] if row["provider"] == provider]
    rows = {alias: row for row in own for alias in row.get("aliases", ())}
    return rows | {row.get("api_name", row["id"]): row for row in own}


def _take(row: dict[str, Any], model: Mapping[str, Any], rows: dict[str, dict[str, Any]], today: date) -> None:
    said = {field: model.get(field) for field in _FIELDS}
    if (successor := model.get("successor")) in rows:
        said["successor"] = f"{row['provider']}/{rows[successor]['id']}"
    if model.get("capabilities"):
        # No list states every capability, so that none takes one away.
        said["capabilities"] = sorted({*row.get("capabilities", ()), *model["capabilities"]})
    if model.get("price_input") is not None and model.get("price_output") is not None:
        said["prices"] = _prices(row.get("prices", []), model["price_input"], model["price_output"], today)
    changed = {field: value for field, value in said.items() if value is not None and value != row.get(field)}
    if changed:
        origin = f"{row['provider']}'s own list of {today.isoformat()}"
        row |= changed | {"as_of": today.isoformat()}
        row["sources"] = {**row.get("sources", {}), **dict.fromkeys(changed, origin)}


def _prices(prices: list[dict[str, Any]], usd_input: float, usd_output: float, today: date) -> list[dict[str, Any]]:
    """A list price that moved begins today; what the list does not say of caches stays."""
    newest = prices[-1] if prices else {}
    if (newest.get("input"), newest.get("output")) == (usd_input, usd_output):
        return prices
    begun = [price for price in prices if price.get("valid_from") != today.isoformat()]
    caches = {kind: newest[kind] for kind in ("cache_read", "cache_write", "cache_write_1h") if kind in newest}
    return [*begun, {"valid_from": today.isoformat(), "input": usd_input, "output": usd_output, **caches}]
