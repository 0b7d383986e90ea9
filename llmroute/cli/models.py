"""`llmroute models`: what there is to choose from."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmroute.cli import options as flags  # noqa: TC001 (typer reads annotations at run time)
from llmroute.cli.failures import failures
from llmroute.cli.output import write_json, write_text
from llmroute.cli.render import columns
from llmroute.errors import RequestError

if TYPE_CHECKING:
    from llmroute.service.listing import Listed
    from llmroute.types import Price


def models(
    provider: Annotated[str | None, typer.Option("-p", "--provider", help="Only this provider's.")] = None,
    only_available: Annotated[bool, typer.Option("--available", help="Only what can be called from here.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Retired models too.")] = False,
    as_json: flags.AsJSON = False,
) -> None:
    """List models: a table on a terminal, one provider/id a line in a pipe."""
    with failures(as_json=as_json):
        from llmroute.providers import PROVIDERS
        from llmroute.service.api import LLMService
        from llmroute.service.listing import available, listed

        if provider is not None and provider not in PROVIDERS:
            raise RequestError(f"provider {provider!r} is none of {', '.join(PROVIDERS)}")
        service = LLMService()
        found = [one for one in listed(service, provider) if everything or one.status != "retired"]
        if not (as_json or only_available or sys.stdout.isatty()):
            write_text("".join(f"{one.model.name}\n" for one in found))
            return
        callable_here = available(service, found)
        if only_available:
            found = [one for one in found if one.model.name in callable_here]
        if as_json:
            write_json([_as_json(one, callable_here) for one in found])
        elif sys.stdout.isatty():
            write_text(_as_table(found, callable_here))
        else:
            write_text("".join(f"{one.model.name}\n" for one in found))


def _as_json(one: Listed, callable_here: frozenset[str]) -> dict[str, Any]:
    model = one.model
    return {
        "provider": model.provider,
        "id": model.id,
        "aliases": list(model.aliases),
        "context_window": model.context_window,
        "max_output": model.max_output,
        "prices": _prices_as_json(one.price),
        "capabilities": sorted(model.capabilities),
        "quality": model.quality,
        "expected_latency_ms": one.expected_latency_ms,
        "lifecycle": {
            "status": one.status,
            "deprecated_on": model.deprecated_on,
            "retires_on": model.retires_on,
            "successor": model.successor,
        },
        "available": model.name in callable_here,
    }


_PRICE_FIELDS = ("input", "output", "cache_read", "cache_write", "cache_write_1h")


def _prices_as_json(price: Price | None) -> dict[str, Any]:
    """Return USD per million tokens, None where it is unknown."""
    known: dict[str, Any] = {name: _usd_per_mtok(getattr(price, name, None)) for name in _PRICE_FIELDS}
    known["tiers"] = [
        {"above": tier.above, **{name: _usd_per_mtok(getattr(tier, name)) for name in _PRICE_FIELDS}}
        for tier in (price.tiers if price else ())
    ]
    return known


def _usd_per_mtok(picousd_per_token: int | None) -> float | None:
    return None if picousd_per_token is None else picousd_per_token / 10**6


def _as_table(found: list[Listed], callable_here: frozenset[str]) -> str:
    rows = []
    for one in found:
        prices = _prices_as_json(one.price)
        rows.append(
            [
                one.model.name,
                *("?" if prices[way] is None else f"{prices[way]:g}" for way in ("input", "output")),
                f"{one.model.context_window or 0:,}",
                "-" if one.model.quality is None else str(one.model.quality),
                "" if one.status == "active" else one.status,
                "" if one.model.name in callable_here else "not set up",
            ]
        )
    return columns(("model", "$ in/M", "$ out/M", "window", "quality", "", ""), rows, numbers=(1, 2, 3, 4))
