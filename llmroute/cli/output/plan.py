"""`--dry-run`: the plan, and why each other model is out.  Sends nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from llmroute.cli.option_names import in_flags
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.tables import columns, fitted, flowing, money
from llmroute.cli.output.terminal import harmless, width
from llmroute.cli.output.text_width import cells
from llmroute.planning.usage_cost import usd

if TYPE_CHECKING:
    from llmroute.routing.plan import Plan, RankedCandidate


def show_plan(plan: Plan, *, as_json: bool) -> None:
    """Print a plan."""
    if as_json:
        write_json(_as_json(plan))
    else:
        write_text(harmless(_as_text(plan, width() if sys.stdout.isatty() else None)))


def _as_json(plan: Plan) -> dict[str, Any]:
    return {
        "strategy": plan.strategy,
        "chain": plan.chain,
        "candidates": [_entry_as_json(rank, entry) for rank, entry in enumerate(plan.entries, 1)],
        "excluded": [
            {"provider": one.model.provider, "model": one.model.id, "reason": in_flags(one.reason)}
            for one in plan.excluded
        ],
    }


def _entry_as_json(rank: int, entry: RankedCandidate) -> dict[str, Any]:
    return {
        "rank": rank,
        "provider": entry.model.provider,
        "model": entry.model.id,
        "expected_cost_usd": usd(entry.candidate.expected_cost_picousd),
        "worst_cost_usd": usd(entry.candidate.worst_cost_picousd),
        "expected_latency_ms": entry.expected_latency_ms,
        "quality": entry.model.quality,
        "score": entry.score,
        "terms": entry.terms,
    }


def _as_text(plan: Plan, fits: int | None) -> str:
    rows = [
        [
            str(rank),
            entry.model.name,
            money(usd(entry.candidate.expected_cost_picousd)),
            money(usd(entry.candidate.worst_cost_picousd)),
            f"{entry.expected_latency_ms} ms",
            "-" if entry.model.quality is None else str(entry.model.quality),
            f"{entry.score:.3f}",
            " ".join(f"{name} {value:.3g}" for name, value in entry.terms.items()),
        ]
        for rank, entry in enumerate(plan.entries, 1)
    ]
    head = ("", "model", "expected", "worst", "latency", "quality", "score", "terms")
    how = f"chain {plan.chain}" if plan.chain else f"strategy {plan.strategy}"
    numbers = (0, 2, 3, 4, 5, 6)
    table = columns(head, rows, numbers)
    if fits is not None and any(cells(line) > fits for line in table.splitlines()):
        # The terms stand by themselves where the line has no room for them.
        table = fitted(head[:-1], [row[:-1] for row in rows], 1, fits, numbers)
        table += "\n" + flowing(("", "terms"), [[row[0], row[-1]] for row in rows], fits, numbers=(0,))
    told = f"{how}; nothing is sent\n\n{table}"
    out = _left_out(plan)
    return told + ("\n" + flowing(("out", "because"), out, fits) if out else "")


def _left_out(plan: Plan) -> list[list[str]]:
    """Return a line for each model that is out; one for all of a provider that are out for the same reason."""
    alike: dict[tuple[str, str], list[str]] = {}
    for one in plan.excluded:
        alike.setdefault((one.model.provider, in_flags(one.reason)), []).append(one.model.name)
    return [
        [names[0] if len(names) == 1 else f"{provider}: {len(names)} models", reason]
        for (provider, reason), names in alike.items()
    ]
