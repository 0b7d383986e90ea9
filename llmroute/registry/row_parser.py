"""Catalogue rows and the rows of [models] in config.toml, merged and parsed to `ModelConfig`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.types import ModelConfig, ParameterLimits, Price, PriceTier

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
FREE_ROW = dict.fromkeys(KINDS, 0)
"""The price of a model that runs on the user's machine."""
_PICO_PER_MICRO = 10**6


def model_from_row(row: Mapping[str, Any]) -> ModelConfig:
    """Build the model of a catalogue row.

    Raises:
        KeyError, TypeError, ValueError: the row is not one of a valid catalogue.
    """
    return ModelConfig(
        provider=row["provider"],
        id=row["id"],
        api_name=row.get("api_name") or row["id"],
        aliases=tuple(row.get("aliases", ())),
        context_window=row.get("context_window"),
        max_output=row.get("max_output"),
        cache_min_tokens=row.get("cache_min_tokens"),
        prices=tuple(_price(price) for price in row.get("prices", ())),
        capabilities=frozenset(row.get("capabilities", ())),
        quality=row.get("quality"),
        parameters=_parameters(row.get("parameters")),
        deprecated_on=row.get("deprecated_on"),
        retires_on=row.get("retires_on"),
        successor=row.get("successor"),
        size=row.get("size", "medium"),
        follows=row.get("follows"),
        as_of=row.get("as_of"),
        batch_queue_tokens=row.get("batch_queue_tokens"),
        facts=dict(row),
    )


def _price(row: Mapping[str, Any]) -> Price:
    return Price(
        **_picousd(row),
        tiers=tuple(PriceTier(above=tier["above"], **_picousd(tier)) for tier in row.get("tiers", ())),
        valid_from=row.get("valid_from"),
        valid_until=row.get("valid_until"),
        # USD per thousand, so a thousandth of it each.
        web_search=None if row.get("web_search") is None else round(row["web_search"] * 10**9),
        service_tiers=tuple((name, _price(tier)) for name, tier in row.get("service_tiers", {}).items()),
        doubt=None,
    )


def _picousd(row: Mapping[str, Any]) -> dict[str, int | None]:
    """Pico-USD per token from USD per million tokens: the same number, a million times."""
    return {kind: None if row.get(kind) is None else round(row[kind] * _PICO_PER_MICRO) for kind in KINDS}


def _parameters(row: Mapping[str, Any] | None) -> ParameterLimits:
    if not row:
        return ParameterLimits()
    return ParameterLimits(**{**row, "efforts": tuple(row.get("efforts", ()))})


def merge_user_row(name: str, listed: Mapping[str, Any] | None, user: Mapping[str, Any]) -> dict[str, Any]:
    """Return the catalogue's row with the user's fields in place, or a row of the user's alone.

    A price that the user names holds for prompts of any size and from now on; the prices that are not named stay the
    catalogue's newest, tiers included.  Tiers that the user names replace the catalogue's.  `batch` is the price of the
    provider's batch API.
    """
    provider, _, model = name.partition("/")
    row: dict[str, Any] = {**(listed or {}), "provider": provider, "id": model}
    row |= {field: value for field, value in user.items() if field not in (*KINDS, "tiers", "batch")}
    if "parameters" in user:
        row["parameters"] = {**((listed or {}).get("parameters") or {}), **user["parameters"]}
    if successor := user.get("successor"):
        row["successor"] = successor if successor.startswith(f"{provider}/") else f"{provider}/{successor}"
    named = {kind: user[kind] for kind in KINDS if kind in user}
    if named or "tiers" in user:
        newest = dict((row.get("prices") or [{}])[-1])
        newest.pop("valid_from", None)
        newest.pop("valid_until", None)
        tiers = user["tiers"] if "tiers" in user else [{**tier, **named} for tier in newest.get("tiers", ())]
        row["prices"] = [{**newest, **named, "tiers": tiers}]
    if "batch" in user:
        *earlier, newest = row.get("prices") or [{}]
        service_tiers = {**newest.get("service_tiers", {}), "batch": user["batch"]}
        row["prices"] = [*earlier, {**newest, "service_tiers": service_tiers}]
    row["sources"] = {**row.get("sources", {}), "user": ", ".join(sorted(user)) or "a row without fields"}
    return row
