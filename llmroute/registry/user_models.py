"""The user's own models: a fine-tune, a contract's price, a private gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.registry.row_parser import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

FREE_ROW = dict.fromkeys(KINDS, 0)
"""What a model costs that runs on the user's own machine."""


def merge_user_row(name: str, listed: Mapping[str, Any] | None, user: Mapping[str, Any]) -> dict[str, Any]:
    """Return the catalogue's row with the user's fields in place, or a row of the user's alone.

    A price that the user names holds for prompts of any size and from now on; the prices that are not named stay the
    catalogue's newest, tiers included.  Tiers that the user names replace the catalogue's.
    """
    provider, _, model = name.partition("/")
    row: dict[str, Any] = {**(listed or {}), "provider": provider, "id": model}
    row |= {field: value for field, value in user.items() if field not in (*KINDS, "tiers")}
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
    row["sources"] = {**row.get("sources", {}), "user": ", ".join(sorted(user)) or "a row without fields"}
    return row
