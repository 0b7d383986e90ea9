"""The router: rank candidates by strategy and exclude those that cannot serve the request.  Pure."""

from __future__ import annotations

from itertools import takewhile
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from llmroute.routing.exclusions import exclude, has_open_circuit, ignoring_circuit
from llmroute.routing.plan import SAME_CLASS, Exclusion, Plan, RankedCandidate, Skip
from llmroute.routing.strategies import SCORES, expected_latency_s

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llmroute.routing.plan import Candidate, RoutingConstraints

_Key: TypeAlias = "tuple[bool, bool, bool, tuple[float, ...], float, bool, str]"
_Keyed: TypeAlias = "tuple[_Key, RankedCandidate]"


def plan(constraints: RoutingConstraints, candidates: Iterable[Candidate]) -> Plan:
    """Return the candidates that can serve the request, best first, and the others with reasons."""
    entries, excluded = _sift(constraints, candidates)
    entries.sort(key=lambda pair: pair[0])
    ranked = [entry for _, entry in entries]
    if not constraints.checked:
        # A cascade keeps its order; after an outage the models of other providers come first anyway.
        ranked = other_provider_second(ranked)
    return Plan(tuple(ranked), tuple(excluded), constraints.strategy)


def keep_order(constraints: RoutingConstraints, candidates: Iterable[Candidate]) -> Plan:
    """Return a plan in the order given: for a chain or a list of models."""
    entries, excluded = _sift(constraints, candidates)
    return Plan(tuple(entry for _, entry in entries), tuple(excluded), constraints.strategy)


def _sift(constraints: RoutingConstraints, candidates: Iterable[Candidate]) -> tuple[list[_Keyed], list[Exclusion]]:
    score = SCORES[constraints.strategy]
    entries: list[_Keyed] = []
    last_resort: list[_Keyed] = []
    excluded: list[Exclusion] = []
    default_provider, prefer_local = constraints.default_provider, constraints.prefer_local
    for candidate in candidates:
        if (exclusion := exclude(candidate, constraints)) is not None:
            excluded.append(exclusion)
            continue
        scored = score(candidate, constraints)
        provider, cost = candidate.model.provider, candidate.expected_cost_picousd
        far = prefer_local and not candidate.local
        price = inf if cost is None else cost
        # The budget would limit its answer to less than is expected.
        cut = constraints.budget_picousd is not None and price > constraints.budget_picousd
        key = (candidate.last_resort, far, cut, scored.rank, price, provider != default_provider, candidate.model.name)
        latency_ms = round(expected_latency_s(candidate) * 1000)
        entry = RankedCandidate(candidate, latency_ms, scored.value, scored.terms)
        (last_resort if candidate.last_resort and not constraints.local_only else entries).append((key, entry))
    if not entries:
        return last_resort, excluded
    reason = "last resort: used only if no other model can be called, or if requested by name"
    excluded.extend(Exclusion(entry.model, reason) for _, entry in last_resort)
    return entries, excluded


def other_provider_second(entries: list[RankedCandidate]) -> list[RankedCandidate]:
    """Move the best entry of another provider to second place, because an outage affects all models of a provider."""
    for index in range(1, len(entries)):
        if entries[index].model.provider != entries[0].model.provider:
            entries.insert(1, entries.pop(index))
            break
    return entries


def soonest(constraints: RoutingConstraints, candidates: Iterable[Candidate]) -> Plan:
    """Return a plan for when every circuit is open: the model whose circuit half-opens first comes first."""
    resting = [one for one in candidates if one.stats.open_until_ms is not None and one.stats.fails_open]
    resting.sort(key=lambda one: (one.stats.open_until_ms, one.model.name))
    return keep_order(constraints, [ignoring_circuit(one) for one in resting])


def with_skipped(order: Iterable[str], made: Plan) -> Plan:
    """Return a plan of listed models with the skipped ones; `order` has the names as listed."""
    entered = {entry.model.name for entry in made.entries}
    excluded = {exclusion.model.name: exclusion for exclusion in made.excluded}
    skipped: list[Skip] = []
    rank = 0
    for name in order:
        if name in entered:
            rank += 1
        elif name in excluded:
            skipped.append(Skip(excluded[name].model, excluded[name].reason, rank))
    return made._replace(skipped=tuple(skipped))


def with_first_choice(constraints: RoutingConstraints, candidates: Sequence[Candidate], made: Plan) -> Plan:
    """Return a plan with the models skipped because of open circuits that would have come before its first entry."""
    if not any(has_open_circuit(one, constraints) for one in candidates):
        return made
    wanted = plan(constraints, [ignoring_circuit(one) for one in candidates]).entries
    first = made.entries[0].model.name if made.entries else None
    before = [entry.model.name for entry in takewhile(lambda entry: entry.model.name != first, wanted)]
    return with_skipped(before, made)._replace(measure=wanted[0].candidate if wanted else None)


def without_upgrades(made: Plan) -> Plan:
    """Exclude upgrades: models over three times the cost of the first choice, or not free if that is free."""
    if not made.entries:
        return made
    remaining = tuple(entry for entry in made.entries if not is_upgrade(entry.candidate, made.first_choice))
    dearer = tuple(_forbidden(entry.candidate, made.first_choice) for entry in made.entries if entry not in remaining)
    return made._replace(entries=remaining, excluded=made.excluded + dearer)


def allowed(made: Plan, constraints: RoutingConstraints, candidates: Sequence[Candidate]) -> Plan:
    """Return a plan without forbidden upgrades; if it is empty, with models whose circuit is open."""
    if not constraints.upgrade:
        made = _without_advice(without_upgrades(made), candidates)
    if made.entries:
        return made
    late = soonest(constraints, candidates)._replace(measure=made.measure, named=made.named)
    if not constraints.upgrade:
        late = without_upgrades(late)
    return late._replace(excluded=made.excluded)


def _without_advice(made: Plan, candidates: Sequence[Candidate]) -> Plan:
    """Suggest no option that would allow a forbidden upgrade."""
    if (first := made.measure) is None:
        return made
    dearer = {one.model.name: one for one in candidates if is_upgrade(one, first)}
    excluded = (
        _forbidden(dearer[one.model.name], first) if one.admitted_by and one.model.name in dearer else one
        for one in made.excluded
    )
    return made._replace(excluded=tuple(excluded))


def _forbidden(dearer: Candidate, first: Candidate) -> Exclusion:
    from llmroute.text.option_text import OptionText, Remedy

    known = None not in (dearer.typical_cost_picousd, first.typical_cost_picousd)
    problem = "costs more than the first choice" if known else "could cost more than the first choice (price unknown)"
    return Exclusion(dearer.model, OptionText(problem, ", which ", Remedy("upgrade", value=False), " forbids"))


def is_upgrade(candidate: Candidate, first: Candidate) -> bool:
    """Return whether a model costs over three times as much as the first choice, or anything if that is free.

    Prices are compared: both are taken to write a completion of typical length.  An unknown price of either counts as
    an upgrade; a free model never does.
    """
    cost, least = candidate.typical_cost_picousd, first.typical_cost_picousd
    if cost is None or least is None:
        return cost != 0 and candidate.model.name != first.model.name
    return cost > SAME_CLASS * least
