"""Models as a table that fits the terminal, as a list of facts, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.cli.output.tables import fitted
from llmroute.types import CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from llmroute.registry.expectations import Quality
    from llmroute.service.models.listing import PricedModel
    from llmroute.types import Price, PriceTier

PRICE_KINDS = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
_LETTERS = {name[0]: name for name in CAPABILITIES}
_LEGEND = "$ per million tokens; + available with your keys and servers; can: "
_NARROWEST_NAME = 20
_LABEL = 18


def model_as_json(one: PricedModel, *, available: bool) -> dict[str, Any]:
    """Return a model as the documented JSON object."""
    model = one.model
    return {
        "provider": model.provider,
        "id": model.id,
        "aliases": list(model.aliases),
        "context_window": model.context_window,
        "max_output": model.max_output,
        "prices": price_as_json(one.price),
        "capabilities": sorted(model.capabilities),
        "quality": model.quality,
        "expected_quality": one.expected_quality.value,
        "quality_basis": one.expected_quality.basis,
        "expected_latency_ms": one.expected_latency_ms,
        "lifecycle": {
            "status": one.status,
            "deprecated_on": model.deprecated_on,
            "retires_on": model.retires_on,
            "successor": model.successor,
        },
        "available": available,
    }


def price_as_json(price: Price | None) -> dict[str, Any]:
    """Return USD per million tokens, None where it is unknown."""
    service_tiers = price.service_tiers if price else ()
    return {**_with_steps(price), "service_tiers": {name: _with_steps(tier) for name, tier in service_tiers}}


def _with_steps(price: Price | None) -> dict[str, Any]:
    """Return a price with those of longer prompts."""
    steps = price.tiers if price else ()
    return {**_usd_per_mtok(price), "tiers": [{"above": step.above, **_usd_per_mtok(step)} for step in steps]}


def _usd_per_mtok(price: Price | PriceTier | None) -> dict[str, float | None]:
    rates = {kind: getattr(price, kind, None) for kind in PRICE_KINDS}
    return {kind: None if rate is None else rate / 10**6 for kind, rate in rates.items()}


def model_table(found: Sequence[PricedModel], available: Collection[str], width: int) -> str:
    """Return the table: no line is longer than `width`, and no name is cut.

    A name that leaves no room is on its own line above its facts.
    """
    head = ("", "model", "$ in", "$ out", "window", "qual", "time", "can", "lifecycle")
    rows = [_cells(one, available=one.model.name in available) for one in found]
    text = fitted(head, rows, 1, width, numbers=(2, 3, 4, 5, 6))
    import textwrap

    legend = _LEGEND + ", ".join(f"{letter} {word}" for letter, word in _LETTERS.items())
    return text + "\n" + textwrap.fill(legend, width) + "\n"


def _cells(one: PricedModel, *, available: bool) -> list[str]:
    model, usd = one.model, _usd_per_mtok(one.price)
    return [
        "+" if available else "",
        model.name,
        *("?" if usd[kind] is None else f"{usd[kind]:g}" for kind in ("input", "output")),
        _tokens(model.context_window),
        _quality(one.expected_quality),
        _seconds(one.expected_latency_ms),
        "".join(letter if word in model.capabilities else "-" for letter, word in _LETTERS.items()),
        "" if one.status == "active" else one.status,
    ]


def _seconds(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "?"
    return f"{milliseconds / 1000:.1f}s" if milliseconds < 10_000 else f"{milliseconds / 1000:.0f}s"  # noqa: PLR2004


def _quality(quality: Quality) -> str:
    return f"{'' if quality.basis == 'rated' else '~'}{quality.value}"


def _tokens(count: int | None) -> str:
    if count is None:
        return "?"
    if count < 1000:  # noqa: PLR2004 (a thousand is a k)
        return str(count)
    return f"{count / 10**6:.3g}M" if count >= 10**6 else f"{count // 1000}k"


def sheet_as_json(one: PricedModel, why_unavailable: str | None, notice: str | None) -> dict[str, Any]:
    """Return all facts about a model: the fields of the list, and the source of each fact."""
    model, facts = one.model, one.model.facts
    return {
        **model_as_json(one, available=why_unavailable is None),
        "api_name": model.api_name,
        "price_history": [
            {"valid_from": price.valid_from, "valid_until": price.valid_until, **price_as_json(price)}
            for price in model.prices
        ],
        "parameters": facts.get("parameters") or {},
        "arena": facts.get("arena"),
        "sources": facts.get("sources") or {},
        "as_of": model.as_of,
        "notice": notice,
        "why_unavailable": why_unavailable,
    }


def sheet(one: PricedModel, why_unavailable: str | None, notice: str | None, width: int | None) -> str:
    """Return all facts about a model as text: each with its source below it, wrapped if there is a width."""
    model, facts = one.model, sheet_as_json(one, why_unavailable, notice)
    sources = facts["sources"]
    rows = [
        ("model", model.name, ""),
        ("as of", model.as_of, sources.get("user") and f"config.toml: {sources['user']}"),
        ("API name", model.api_name, ""),
        ("aliases", ", ".join(model.aliases), ""),
        ("available", f"no: {why_unavailable}" if why_unavailable else "yes", ""),
        ("context window", _known(model.context_window, " tokens"), sources.get("context_window")),
        ("maximum answer", _known(model.max_output, " tokens"), sources.get("max_output")),
        *_price_rows(one, sources.get("prices")),
        ("capabilities", ", ".join(sorted(model.capabilities)), sources.get("capabilities", sources.get("flags"))),
        ("quality", _quality(one.expected_quality), _quality_source(one, facts["arena"]) or sources.get("quality")),
        (
            "expected latency",
            _seconds(one.expected_latency_ms),
            "for a typical answer, from your calls or the model's class",
        ),
        ("parameters", _parameters(facts["parameters"]), sources.get("parameters")),
        ("lifecycle", notice or one.status, sources.get("lifecycle")),
        ("deprecated on", model.deprecated_on, sources.get("deprecated_on")),
        ("retires on", model.retires_on, sources.get("retires_on")),
        ("successor", model.successor, sources.get("successor")),
    ]
    return "".join(_fact(label, value or "-", source, width) for label, value, source in rows)


def _fact(label: str, value: str, source: str | None, width: int | None) -> str:
    lines = [value, *([f"({source})"] if source else [])]
    if width:
        import textwrap

        room = max(width - _LABEL, _NARROWEST_NAME)
        lines = [part for line in lines for part in textwrap.wrap(line, room)]
    return "".join(f"{label if at == 0 else '':<{_LABEL}}{line}\n" for at, line in enumerate(lines))


def _parameters(limits: dict[str, Any]) -> str:
    """Return the limits of the parameters as text; the fields of the wire format are in the JSON only."""
    parts: list[str] = []
    if efforts := limits.get("efforts"):
        default = f" (default {limits['default_effort']})" if limits.get("default_effort") else ""
        parts.append(f"effort {', '.join(efforts)}{default}")
    if limits.get("temperature") is False:
        parts.append("no temperature")
    elif limits.get("temperature_needs_effort_none"):
        parts.append("temperature only with effort none")
    elif highest := limits.get("max_temperature"):
        parts.append(f"temperature up to {highest:g}")
    if limits.get("stop") is False:
        parts.append("no stop sequences")
    return "; ".join(parts) or "all"


def _price_rows(one: PricedModel, source: str | None) -> list[tuple[str, str, str | None]]:
    rows: list[tuple[str, str, str | None]] = []
    for price in one.model.prices:
        begins = f"from {price.valid_from}" if price.valid_from else ""
        ends = f"until {price.valid_until}" if price.valid_until else ""
        now = _standing(price, one)
        dated = ", ".join(filter(None, (" ".join(filter(None, (begins, ends))), now)))
        rows.append(("price", _rates(price) + (f" ({dated})" if dated else ""), None))
        rows += [("", f"above {tier.above:,} tokens: {_rates(tier)}", None) for tier in price.tiers]
        for name, tier in price.service_tiers:
            rows.append(("", f"{name} tier: {_rates(tier)}", None))
            rows += [("", f"{name} tier above {step.above:,} tokens: {_rates(step)}", None) for step in tier.tiers]
    label, rates, _ = rows.pop() if rows else ("price", "?", None)
    return [*rows, (label, rates, source)]


def _standing(price: Price, one: PricedModel) -> str:
    if one.price is None or price.valid_from != one.price.valid_from:
        return ""
    if one.price.doubt is not None:
        return "assumed to apply today, as the end of a price has passed"
    return "applies today" if len(one.model.prices) > 1 else ""


def _rates(price: Price | PriceTier) -> str:
    usd = _usd_per_mtok(price)
    parts = [f"${usd[kind]:g} {kind.replace('_', ' ')}" for kind in PRICE_KINDS if usd[kind] is not None]
    return (", ".join(parts) or "?") + " per million tokens"


def _known(value: int | None, unit: str = "") -> str:
    return "?" if value is None else f"{value:,}{unit}"


def _quality_source(one: PricedModel, arena: dict[str, Any] | None) -> str:
    basis = one.expected_quality.basis
    return _arena(arena) if basis == "rated" else f"provisional, {basis}: the model has no rating"


def _arena(row: dict[str, Any] | None) -> str:
    return f"Arena {row['rating']:g} ({row['row']}, {row['votes']:,} votes, {row['snapshot']})" if row else ""
