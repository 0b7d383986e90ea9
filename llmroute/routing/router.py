"""Request + candidates + memory -> plan: ordered, scored, every exclusion with its reason.  Pure."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from llmroute.routing.plan import SAME_CLASS, Exclusion, Plan, RankedCandidate, Skip
from llmroute.routing.strategies import SCORES, expected_latency_s, quality

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from llmroute.routing.plan import Candidate, RoutingConstraints
    from llmroute.routing.strategies import Score


# No failure is remembered for so long; only a refusal of the key is.
LONG_S = 7 * 86_400

_Keyed: TypeAlias = "tuple[tuple[bool, bool, Score, bool, str], RankedCandidate]"


def plan(wish: RoutingConstraints, candidates: Iterable[Candidate]) -> Plan:
    """Rank every candidate that may serve the wish, and say of each other one why it may not."""
    entries, excluded = _sift(wish, candidates)
    entries.sort(key=lambda pair: pair[0])
    ranked = other_provider_second([entry for _, entry in entries])
    return Plan(tuple(ranked), tuple(excluded), wish.strategy)


def keep_order(wish: RoutingConstraints, candidates: Iterable[Candidate], chain: str | None = None) -> Plan:
    """As `plan`, but in the order given: for a chain, or for models that were named one by one."""
    entries, excluded = _sift(wish, candidates)
    return Plan(tuple(entry for _, entry in entries), tuple(excluded), None if chain else wish.strategy, chain)


def _sift(wish: RoutingConstraints, candidates: Iterable[Candidate]) -> tuple[list[_Keyed], list[Exclusion]]:
    score = SCORES[wish.strategy]
    entries: list[_Keyed] = []
    last_resort: list[_Keyed] = []
    excluded: list[Exclusion] = []
    default_provider, prefer_local = wish.default_provider, wish.prefer_local
    for candidate in candidates:
        if (exclusion := exclude(candidate, wish)) is not None:
            excluded.append(exclusion)
            continue
        rank, terms = score(candidate, wish)
        provider = candidate.model.provider
        far = prefer_local and not candidate.local
        key = (candidate.last_resort, far, rank, provider != default_provider, candidate.model.name)
        entry = RankedCandidate(candidate, round(expected_latency_s(candidate, wish) * 1000), rank[-1], terms)
        (last_resort if candidate.last_resort and not wish.local_only else entries).append((key, entry))
    if not entries:
        return last_resort, excluded
    reason = "the engine of last resort: used when nothing else can be, or when asked for"
    excluded.extend(Exclusion(entry.model, reason) for _, entry in last_resort)
    return entries, excluded


def other_provider_second(entries: list[RankedCandidate]) -> list[RankedCandidate]:
    """Move the best entry of another provider to the second place: outages are a provider's, not a model's."""
    for index in range(1, len(entries)):
        if entries[index].model.provider != entries[0].model.provider:
            entries.insert(1, entries.pop(index))
            break
    return entries


def soonest(wish: RoutingConstraints, candidates: Iterable[Candidate]) -> Plan:
    """Plan for when everything is left alone: what would be let in again first is tried first."""
    resting = [one for one in candidates if one.learned.open_until_ms is not None and one.learned.fails_open]
    resting.sort(key=lambda one: (one.learned.open_until_ms, one.model.name))
    return keep_order(wish, [_awake(one) for one in resting])


def with_skipped(order: Iterable[str], made: Plan) -> Plan:
    """Return a plan of listed models with those of them that it passes over; `order` are the names as listed."""
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


def with_first_choice(wish: RoutingConstraints, candidates: Sequence[Candidate], made: Plan) -> Plan:
    """Return a plan with what would have come before its first entry, were it not left alone after failures."""
    if not any(_rests(one, wish) for one in candidates):
        return made
    wanted = plan(wish, [_awake(one) for one in candidates]).entries
    first = made.entries[0].model.name if made.entries else None
    before = [entry.model.name for entry in takewhile(lambda entry: entry.model.name != first, wanted)]
    return with_skipped(before, made)._replace(measure=wanted[0].candidate if wanted else None)


def without_upgrades(made: Plan) -> Plan:
    """Take out what costs more than the first choice: anything that costs when that is free, else above three times."""
    if not made.entries:
        return made
    kept = tuple(entry for entry in made.entries if not is_upgrade(entry.candidate, made.first_choice))
    dearer = tuple(_forbidden(entry.candidate, made.first_choice) for entry in made.entries if entry not in kept)
    return made._replace(entries=kept, excluded=made.excluded + dearer)


def allowed(made: Plan, wish: RoutingConstraints, candidates: Sequence[Candidate]) -> Plan:
    """Return a plan without what may not stand in for its first choice; where nothing is left, what rests is tried."""
    if not wish.upgrade:
        made = _without_advice(without_upgrades(made), candidates)
    if made.entries:
        return made
    late = soonest(wish, candidates)._replace(measure=made.measure, named=made.named)
    if not wish.upgrade:
        late = without_upgrades(late)
    return late._replace(excluded=made.excluded)


def _without_advice(made: Plan, candidates: Sequence[Candidate]) -> Plan:
    """Let no option be named as admitting what may not stand in for the first choice that is known."""
    if (first := made.measure) is None:
        return made
    dearer = {one.model.name: one for one in candidates if is_upgrade(one, first)}
    excluded = (
        _forbidden(dearer[one.model.name], first) if one.admitted_by and one.model.name in dearer else one
        for one in made.excluded
    )
    return made._replace(excluded=tuple(excluded))


def _forbidden(dearer: Candidate, first: Candidate) -> Exclusion:
    from llmroute.text.option_names import OptionText, Remedy

    known = None not in (dearer.expected_cost_picousd, first.expected_cost_picousd)
    told = "it costs more than the first choice" if known else "it may cost more than the first choice"
    return Exclusion(dearer.model, OptionText(told, ", and ", Remedy("upgrade", value=False), " forbids that"))


def is_upgrade(candidate: Candidate, first: Candidate) -> bool:
    """Whether a model is expected to cost something where the first choice is free, or is of a dearer price class.

    A price that is unknown may be any, of either of them; what is free is no upgrade from anything.
    """
    cost, least = candidate.expected_cost_picousd, first.expected_cost_picousd
    if cost is None or least is None:
        return cost != 0 and candidate.model.name != first.model.name
    return cost > SAME_CLASS * least


def exclude(candidate: Candidate, wish: RoutingConstraints) -> Exclusion | None:
    """Say why a candidate may not serve the wish; None when it may."""
    reason = _unable(candidate, wish)
    if reason is not None:
        return Exclusion(candidate.model, reason)
    if (reason := wish.size.too_long(candidate.model.context_window)) is not None:
        return Exclusion(candidate.model, reason, too_long=True)
    if (reason := _unwanted(candidate, wish)) is not None:
        return Exclusion(candidate.model, reason)
    if not (wish.min_quality or wish.budget_picousd is not None or wish.max_latency_ms is not None):
        return None
    if misses := list(_misses(candidate, wish)):
        from llmroute.text.option_names import Remedy

        return Exclusion(
            candidate.model,
            " and ".join(miss.reason for miss in misses),
            tuple(Remedy(miss.option, miss.admitting) for miss in misses),
            sum(miss.distance for miss in misses),
            over_budget=candidate if [miss.option for miss in misses] == ["budget_remaining"] else None,
        )
    return None


def _unable(candidate: Candidate, wish: RoutingConstraints) -> str | None:
    """Say what a candidate cannot do, whatever limits the caller sets."""
    model = candidate.model
    if candidate.unusable:
        return candidate.unusable
    if wish.local_only and not candidate.local:
        return "it does not run on this machine"
    if not wish.capabilities <= model.capabilities:
        return f"it lacks {', '.join(sorted(wish.capabilities - model.capabilities))}"
    if wish.unsupported and (parameter := wish.unsupported.get(model.name)):
        return f"it takes no {parameter}"
    return None


def _unwanted(candidate: Candidate, wish: RoutingConstraints) -> str | None:
    """Say why a model that could answer is left alone, or cannot be held to a budget; None when it may be called."""
    if wish.budget_picousd is not None and candidate.least_worst_picousd is None:
        return "its price is unknown, and a budget binds"
    learned = candidate.learned
    if learned.open_until_ms is not None and _rests(candidate, wish):
        seconds = -(-(learned.open_until_ms - wish.now_ms) // 1000)
        long = "until its key changes" if seconds > LONG_S else f"for {seconds} s"
        return f"it is left alone {long} after {learned.open_because or 'failures'}"
    return None


def _rests(candidate: Candidate, wish: RoutingConstraints) -> bool:
    until_ms = candidate.learned.open_until_ms
    return until_ms is not None and until_ms > wish.now_ms and not candidate.learned.awake


def _awake(candidate: Candidate) -> Candidate:
    return candidate._replace(learned=candidate.learned._replace(awake=True))


class _Miss(NamedTuple):
    """One of the caller's own limits that a candidate misses: its option, which value admits it, how far off it is."""

    reason: str
    option: str
    admitting: float
    distance: float


def _misses(candidate: Candidate, wish: RoutingConstraints) -> Iterator[_Miss]:
    worst = candidate.least_worst_picousd
    if wish.budget_picousd is not None and worst is not None and worst > wish.budget_picousd:
        # Rounded up, so that as much does admit it.
        usd = -(-worst // 10**6) / 10**6
        distance = worst / max(wish.budget_picousd, 1) - 1
        yield _Miss(f"it could cost ${usd:.6f}", "budget_remaining", usd, distance)
    rated = quality(candidate)
    if rated < wish.min_quality:
        short = wish.min_quality - rated
        reason = f"its quality {rated} is below {wish.min_quality}"
        yield _Miss(reason, "min_quality", rated, short / wish.min_quality)
    latency_ms = round(expected_latency_s(candidate, wish) * 1000)
    if wish.max_latency_ms is not None and latency_ms > wish.max_latency_ms:
        admitting_ms = -(-latency_ms // 100) * 100
        yield _Miss(
            f"it is expected to take {latency_ms} ms",
            "max_latency_ms",
            admitting_ms,
            latency_ms / max(wish.max_latency_ms, 1) - 1,
        )
