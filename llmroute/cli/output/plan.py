"""`--dry-run`: the plan, and the reason for each excluded model. Sends nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from llmroute.cli.flag_names import in_flags
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.tables import attachments_as_json, columns, fitted, flowing
from llmroute.cli.output.terminal import harmless, width
from llmroute.planning.usage_cost import usd
from llmroute.routing.strategies import chance_right
from llmroute.text.money import money
from llmroute.text.plural import many

if TYPE_CHECKING:
    from llmroute.routing.plan import Candidate, Plan, RankedCandidate
    from llmroute.types import AttachmentFacts


FIRST = 10
"""The number of candidates that are shown without --all."""


def show_plan(plan: Plan, *, as_json: bool, every_candidate: bool) -> None:
    """Print a plan: as text the first ten candidates, or all; as JSON always all."""
    if as_json:
        write_json(_as_json(plan))
    else:
        shown = len(plan.entries) if every_candidate else FIRST
        write_text(harmless(_as_text(plan, shown, width() if sys.stdout.isatty() else None)))


def _as_json(plan: Plan) -> dict[str, Any]:
    return {
        "strategy": plan.strategy,
        "chain": plan.chain,
        **attachments_as_json(plan.attachments),
        "candidates": [_entry_as_json(rank, entry) for rank, entry in enumerate(plan.entries, 1)],
        "excluded": [
            {"provider": one.model.provider, "model": one.model.id, "reason": in_flags(one.reason)}
            for one in plan.excluded
        ],
    }


def _entry_as_json(rank: int, entry: RankedCandidate) -> dict[str, Any]:
    candidate = entry.candidate
    return {
        "rank": rank,
        "provider": entry.model.provider,
        "model": entry.model.id,
        "expected_cost_usd": usd(candidate.expected_cost_picousd),
        "worst_cost_usd": usd(candidate.worst_cost_picousd),
        "expected_latency_ms": entry.expected_latency_ms,
        "expected_output_tokens": candidate.output.tokens,
        "answers": candidate.output.answers,
        "quality": candidate.quality,
        "quality_basis": candidate.quality_basis,
        "score": entry.score,
        "terms": entry.terms,
    }


def _as_text(plan: Plan, shown: int, fits: int | None) -> str:
    from rich.cells import cell_len

    rows = [_cells(rank, entry) for rank, entry in enumerate(plan.entries[:shown], 1)]
    head = ("", "model", "expected", "at most", "time", "tokens", "quality", "score")
    numbers = (0, 2, 3, 4)
    table = columns(head, rows, numbers)
    if fits is not None and any(cell_len(line) > fits for line in table.splitlines()):
        # Where a line is too short, the basis of the figures and the score are below them.
        table = fitted(head[:-3], [row[:-3] for row in rows], 1, fits, numbers)
        table += "\n" + flowing(("", *head[-3:]), [[row[0], *row[-3:]] for row in rows], fits, numbers=(0,))
    more = len(plan.entries) - shown
    if more > 0:
        table += f"\n... and {more} more: --all shows them\n"
    chosen_by = f"chain {plan.chain}" if plan.chain else f"strategy {plan.strategy}"
    out = _left_out(plan)
    attached = "".join(f"attached: {_attached(one)}\n" for one in plan.attachments)
    text = f"{chosen_by}; nothing is sent\n{attached}\n{table}"
    return text + ("\n" + flowing(("out", "because"), out, fits) if out else "")


def _attached(one: AttachmentFacts) -> str:
    """Return the name of an attachment with its type and measures."""
    measures = [one.media_type]
    if one.width and one.height:
        measures.append(f"{one.width}x{one.height} pixels")
    if one.pages:
        measures.append(many(one.pages, "page"))
    if one.size_bytes is not None:
        measures.append(many(one.size_bytes, "byte"))
    return f"{one.name} ({', '.join(measures)})"


def _cells(rank: int, entry: RankedCandidate) -> list[str]:
    candidate = entry.candidate
    return [
        str(rank),
        entry.model.name,
        money(usd(candidate.expected_cost_picousd)),
        money(usd(candidate.worst_cost_picousd)),
        _seconds(entry.expected_latency_ms / 1000),
        f"{candidate.output.tokens:,}, {_basis_of_length(candidate)}",
        _quality(entry),
        _score(entry),
    ]


def _basis_of_length(candidate: Candidate) -> str:
    """Return the basis of the expected length."""
    if answers := candidate.output.answers:
        return many(answers, "answer")
    return "no complete answer" if candidate.stats.called else "never called"


def _quality(entry: RankedCandidate) -> str:
    """Return the quality and its basis, with the results of checks of the model's answers."""
    candidate = entry.candidate
    results = candidate.stats.check_results
    passed = f", {results.passed:.0f} of {results.checked:.0f} passed" if _is_checked(entry) and results.checked else ""
    return f"{candidate.quality}, {candidate.quality_basis}{passed}"


def _is_checked(entry: RankedCandidate) -> bool:
    return "reached" in entry.terms


def _score(entry: RankedCandidate) -> str:
    """Return the score with its terms, and the chance that a cascade reaches the candidate."""
    reached = f"; reached {entry.terms['reached']:.0%}" if _is_checked(entry) else ""
    return f"{_terms(entry)}{reached}"


def _terms(entry: RankedCandidate) -> str:
    """Return the score with its terms; only the balanced one has several, all in USD."""
    terms = entry.terms
    if "wrong_answer_usd" not in terms:
        return " ".join(f"{name} {value:.3g}" for name, value in terms.items() if name != "reached")
    wrong = 1 - chance_right(entry.candidate, checked=_is_checked(entry))
    parts = [
        f"{money(terms['call_usd'])} call" if "call_usd" in terms else money(None),
        f"{money(terms['wrong_answer_usd'])} for {wrong:.0%} wrong",
        f"{money(terms['time_usd'])} for {_seconds(entry.expected_latency_ms / 1000)}",
    ]
    preference = terms.get("default_provider_usd", 0.0)
    less = f" - {money(-preference)} default provider" if preference else ""
    surplus = f", {terms['surplus']:.0f} surplus capabilities" if "surplus" in terms else ""
    total = "" if entry.score is None else f"{money(entry.score)} = "
    return f"{total}{' + '.join(parts)}{less}{surplus}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 (two digits)


def _left_out(plan: Plan) -> list[list[str]]:
    """Return a line for each excluded model; one line for all of a provider with the same reason."""
    alike: dict[tuple[str, str], list[str]] = {}
    for one in plan.excluded:
        alike.setdefault((one.model.provider, in_flags(one.reason)), []).append(one.model.name)
    return [
        [names[0] if len(names) == 1 else f"{provider}: {len(names)} models", reason]
        for (provider, reason), names in alike.items()
    ]
