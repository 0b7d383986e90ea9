"""Catalogue updates from data that the caller fetched or read.  Pure.

The order of calls is `merge_*`, `diff` for display, `check`, and then `catalogue_file.write_catalogue`.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llmroute.errors import RequestError
from llmroute.registry.genai_prices import price_rows
from llmroute.registry.row_parser import KINDS
from llmroute.registry.schema import check_catalogue
from llmroute.text.option_text import OptionText, Remedy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

MAX_PRICE_FACTOR = 20
FACTS = ("context_window", "max_output", "capabilities", "quality", "deprecated_on", "retires_on", "successor")
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two catalogues; `what` is the kind of price or the field, `old` and `new` its values."""

    kind: Literal["price up", "price down", "price known", "price unknown", "new", "gone", "retiring", "changed"]
    model: str
    what: str = ""
    old: Any = None
    new: Any = None


def merge_file(catalogue: dict[str, Any], data: bytes, today: date) -> dict[str, Any]:
    """Return the catalogue of a file: a complete catalogue, or `catalogue` with the data of genai-prices merged.

    Raises:
        RequestError: the file is neither, or is invalid.
    """
    document = _parsed(data)
    if isinstance(document, dict):
        document.pop("crc", None)
        check_catalogue(document)
        return document
    return merge_prices(catalogue, data, today)


def merge_prices(catalogue: dict[str, Any], data: bytes, today: date) -> dict[str, Any]:
    """Return the catalogue with the prices of its models in the data of genai-prices.

    Raises:
        RequestError: the data has another format, or none of the models.
    """
    merged = deepcopy(catalogue)
    try:
        published = {(provider["id"], model["id"]): model for provider in _parsed(data) for model in provider["models"]}
        found = 0
        for row in merged["models"]:
            record = published.get((row["provider"], row.get("price_record", row.get("api_name", row["id"]))))
            if record is not None:
                _set_prices(row, price_rows(record["prices"], record.get("price_variants")), today)
                found += 1
    except _MALFORMED as error:
        raise RequestError(f"not in the format of genai-prices ({type(error).__name__}: {error})") from error
    if not found:
        raise RequestError("no price is of a model in the catalogue")
    merged["as_of"] = today.isoformat()
    check_catalogue(merged)
    return merged


def _set_prices(row: dict[str, Any], prices: list[dict[str, Any]], today: date) -> None:
    """Replace the prices of a row; the `valid_until` of an unchanged price is kept."""
    until = row["prices"][-1].get("valid_until") if row.get("prices") else None
    if until and _undated(prices[-1]) == _undated(row["prices"][-1]):
        prices[-1]["valid_until"] = until
    row |= {"prices": prices, "as_of": today.isoformat()}
    row["sources"] = {**row.get("sources", {}), "prices": f"genai-prices, published data of {today.isoformat()}"}


def _undated(price: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in price.items() if key in (*KINDS, "tiers")}


def diff(old: dict[str, Any], new: dict[str, Any]) -> tuple[Change, ...]:
    """Return the differences, sorted by model: prices, added and removed models, retirements and other facts."""
    before, after = _by_name(old), _by_name(new)
    changes = [Change("new", name) for name in after if name not in before]
    changes += [Change("gone", name) for name in before if name not in after]
    for name, row in after.items():
        if name not in before:
            continue
        for kind, was, now in _moved_prices(before[name], row):
            changes.append(Change(_direction(was, now), name, kind, was, now))
        if row.get("retires_on") and row.get("retires_on") != before[name].get("retires_on"):
            changes.append(Change("retiring", name, "retires_on", before[name].get("retires_on"), row["retires_on"]))
        changes += [
            Change("changed", name, fact, before[name].get(fact), row.get(fact))
            for fact in FACTS
            if (before[name].get(fact) or None) != (row.get(fact) or None)
            and not (fact == "retires_on" and row.get(fact))
        ]
    return tuple(sorted(changes, key=lambda change: (change.model, change.kind, change.what)))


def check(old: dict[str, Any], new: dict[str, Any], *, force: bool = False) -> None:
    """Check that a new catalogue is valid, is not older than the old one, and changes no price more than 20-fold.

    `force` accepts an older catalogue and such a price, never an invalid catalogue.

    Raises:
        RequestError: a check failed; the message has the model and the reason.
    """
    check_catalogue(new)
    if force:
        return
    if new["as_of"] < old["as_of"]:
        raise RequestError(
            f"the data is of {new['as_of']}, the catalogue of {old['as_of']}",
            hint=OptionText("use ", Remedy("force", value=True), " to go back"),
        )
    before = _by_name(old)
    for name, row in _by_name(new).items():
        for kind, was, now in _moved_prices(before.get(name, {}), row):
            if was is not None and now is not None and max(was, now) > MAX_PRICE_FACTOR * min(was, now):
                raise RequestError(
                    f"the price of {name} for {kind} changes from {was} to {now} USD per million tokens",
                    hint=OptionText(
                        f"that is more than {MAX_PRICE_FACTOR}-fold: check it, then use ", Remedy("force", value=True)
                    ),
                )


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"not JSON ({error})") from error


def _by_name(catalogue: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{row['provider']}/{row['id']}": row for row in catalogue["models"]}


def _moved_prices(old: dict[str, Any], new: dict[str, Any]) -> Iterable[tuple[str, Any, Any]]:
    """Yield the newest prices that differ; each tier counts as a separate kind."""
    before, after = dict(_flat(old)), dict(_flat(new))
    for kind in dict.fromkeys((*before, *after)):
        if before.get(kind) != after.get(kind):
            yield kind, before.get(kind), after.get(kind)


def _flat(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    newest = (row.get("prices") or [{}])[-1]
    for kind in KINDS:
        yield kind, newest.get(kind)
    for tier in newest.get("tiers", ()):
        for kind in KINDS:
            yield f"{kind} above {tier['above']}", tier.get(kind)


def _direction(old: Any, new: Any) -> Literal["price up", "price down", "price known", "price unknown"]:
    if old is None:
        return "price known"
    if new is None:
        return "price unknown"
    return "price up" if new > old else "price down"
