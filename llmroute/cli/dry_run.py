"""`--dry-run`: the plan, and why each other model is out.  Sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.cli.output import write_json, write_text
from llmroute.cli.render import columns, money
from llmroute.cli.terminal import harmless
from llmroute.service.bookkeeping import usd

if TYPE_CHECKING:
    from llmroute.routing.plan import Entry, Plan


def show_plan(plan: Plan, *, as_json: bool) -> None:
    """Print a plan."""
    if as_json:
        write_json(_as_json(plan))
    else:
        write_text(harmless(_as_text(plan)))


def _as_json(plan: Plan) -> dict[str, Any]:
    return {
        "strategy": plan.strategy,
        "chain": plan.chain,
        "candidates": [_entry_as_json(rank, entry) for rank, entry in enumerate(plan.entries, 1)],
        "excluded": [
            {"provider": one.model.provider, "model": one.model.id, "reason": one.reason} for one in plan.excluded
        ],
    }


def _entry_as_json(rank: int, entry: Entry) -> dict[str, Any]:
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


def _as_text(plan: Plan) -> str:
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
    out = [[one.model.name, one.reason] for one in plan.excluded]
    told = f"{how}; nothing is sent\n\n" + columns(head, rows, numbers=(0, 2, 3, 4, 5, 6))
    return told + ("\n" + columns(("out", "because"), out) if out else "")
