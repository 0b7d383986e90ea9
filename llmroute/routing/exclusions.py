"""Why a candidate cannot serve a request.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.routing.plan import Exclusion
from llmroute.routing.strategies import expected_latency_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.routing.plan import Candidate, RoutingConstraints
    from llmroute.routing.token_estimate import PromptSize
    from llmroute.types import ModelConfig

# No circuit stays open for so long, except that of a rejected key.
LONG_S = 7 * 86_400


def exclude(candidate: Candidate, constraints: RoutingConstraints) -> Exclusion | None:
    """Return why a candidate cannot serve the request; None if it can."""
    reason = _unable(candidate, constraints)
    if reason is not None:
        whole_provider = bool(candidate.unusable) and candidate.provider_unusable
        return Exclusion(
            candidate.model,
            reason,
            whole_provider=whole_provider,
            lacks_tier=_lacks_tier(candidate, constraints),
            lacks_medium=not constraints.size.capabilities <= candidate.model.capabilities,
        )
    if (reason := _unfit(candidate.model, constraints.size)) is not None:
        return Exclusion(candidate.model, reason, unfit=True)
    if (reason := constraints.size.for_model(candidate.model).too_long(candidate.model.context_window)) is not None:
        return Exclusion(candidate.model, reason, too_long=True)
    if (reason := _unwanted(candidate, constraints)) is not None:
        return Exclusion(candidate.model, reason)
    if not (
        constraints.min_quality or constraints.budget_picousd is not None or constraints.max_latency_ms is not None
    ):
        return None
    if misses := list(_misses(candidate, constraints)):
        from llmroute.text.option_text import Remedy

        return Exclusion(
            candidate.model,
            " and ".join(miss.reason for miss in misses),
            tuple(Remedy(miss.option, miss.admitting) for miss in misses),
            sum(miss.distance for miss in misses),
            over_budget=candidate if [miss.option for miss in misses] == ["budget_remaining"] else None,
        )
    return None


def _unable(candidate: Candidate, constraints: RoutingConstraints) -> str | None:
    """Return why a candidate cannot be called for the request; None if it can."""
    model = candidate.model
    if candidate.unusable:
        return candidate.unusable
    if constraints.local_only and not candidate.local:
        return "does not run on this machine"
    if not constraints.capabilities <= model.capabilities:
        return f"lacks {', '.join(sorted(constraints.capabilities - model.capabilities))}"
    if _lacks_tier(candidate, constraints):
        return f"no known price for the service tier {constraints.tier}"
    if constraints.unsupported and (parameter := constraints.unsupported.get(model.name)):
        return f"does not accept {parameter}"
    return None


def _lacks_tier(candidate: Candidate, constraints: RoutingConstraints) -> bool:
    return constraints.tier not in (None, "standard", *candidate.tiers)


def _unfit(model: ModelConfig, size: PromptSize) -> str | None:
    """Return why the provider of a model does not take the attachments; None if it does."""
    if not size.capabilities:
        return None
    from llmroute.attachments.limits import why_unfit

    return why_unfit(model, size.attachments, size.worst_input)


def beyond_budget(candidate: Candidate, budget_picousd: int) -> str | None:
    """Return why the budget of a request does not admit a candidate; None if it does."""
    worst = candidate.least_worst_picousd
    if worst is None:
        return "price unknown, and the request has a budget"
    return None if worst <= budget_picousd else f"could cost up to ${_admitting_usd(worst):.6f}"


def _admitting_usd(worst_picousd: int) -> float:
    """Return a worst case in USD, rounded up to the millionth, so that it is a budget that admits the candidate."""
    return -(-worst_picousd // 10**6) / 10**6


def _unwanted(candidate: Candidate, constraints: RoutingConstraints) -> str | None:
    """Return why a candidate is skipped: no price to hold to the budget, or an open circuit; None if it is not."""
    if constraints.budget_picousd is not None and candidate.least_worst_picousd is None:
        return beyond_budget(candidate, constraints.budget_picousd)
    stats = candidate.stats
    if stats.open_until_ms is not None and has_open_circuit(candidate, constraints):
        seconds = -(-(stats.open_until_ms - constraints.now_ms) // 1000)
        duration = "until its key changes" if seconds > LONG_S else f"for {seconds} s"
        return f"circuit open {duration}: {stats.open_because or 'repeated failures'}"
    return None


def has_open_circuit(candidate: Candidate, constraints: RoutingConstraints) -> bool:
    """Return whether an open circuit keeps a candidate from being called now."""
    until_ms = candidate.stats.open_until_ms
    return until_ms is not None and until_ms > constraints.now_ms and not candidate.stats.ignore_circuit


def ignoring_circuit(candidate: Candidate) -> Candidate:
    """Return a candidate that is called although its circuit is open."""
    return candidate._replace(stats=candidate.stats._replace(ignore_circuit=True))


class _Miss(NamedTuple):
    """A limit of the caller that a candidate misses: its option, and the value that would allow the candidate."""

    reason: str
    option: str
    admitting: float
    distance: float


def _misses(candidate: Candidate, constraints: RoutingConstraints) -> Iterator[_Miss]:
    worst, budget = candidate.least_worst_picousd, constraints.budget_picousd
    if budget is not None and worst is not None and (reason := beyond_budget(candidate, budget)) is not None:
        yield _Miss(reason, "budget_remaining", _admitting_usd(worst), worst / max(budget, 1) - 1)
    rated = candidate.quality
    if rated < constraints.min_quality:
        short = constraints.min_quality - rated
        reason = f"quality {rated} is below {constraints.min_quality}"
        yield _Miss(reason, "min_quality", rated, short / constraints.min_quality)
    latency_ms = round(expected_latency_s(candidate) * 1000)
    if constraints.max_latency_ms is not None and latency_ms > constraints.max_latency_ms:
        admitting_ms = -(-latency_ms // 100) * 100
        yield _Miss(
            f"expected latency {latency_ms} ms is above {constraints.max_latency_ms} ms",
            "max_latency_ms",
            admitting_ms,
            latency_ms / max(constraints.max_latency_ms, 1) - 1,
        )
