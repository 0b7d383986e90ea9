"""Request + candidates + memory -> plan: ordered, scored, every exclusion with its reason.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.routing.plan import Entry, Exclusion, Plan
from llmroute.routing.strategies import SCORES, expected_latency_s, quality
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llmroute.routing.plan import Candidate, Wish

OVER_BUDGET = "it could cost"

_Keyed = tuple[tuple[object, ...], Entry]


def plan(wish: Wish, candidates: Iterable[Candidate]) -> Plan:
    """Rank every candidate that may serve the wish, and say of each other one why it may not."""
    entries, excluded = _sift(wish, candidates)
    entries.sort(key=lambda pair: pair[0])
    ranked = _other_provider_second([entry for _, entry in entries])
    return Plan(tuple(ranked), tuple(excluded), wish.strategy)


def keep_order(wish: Wish, candidates: Iterable[Candidate], chain: str | None = None) -> Plan:
    """As `plan`, but in the order given: for a chain, or for models that were named one by one."""
    entries, excluded = _sift(wish, candidates)
    return Plan(tuple(entry for _, entry in entries), tuple(excluded), None if chain else wish.strategy, chain)


def _sift(
    wish: Wish, candidates: Iterable[Candidate]
) -> tuple[list[tuple[tuple[object, ...], Entry]], list[Exclusion]]:
    score = SCORES[wish.strategy]
    entries: list[tuple[tuple[object, ...], Entry]] = []
    last_resort: list[tuple[tuple[object, ...], Entry]] = []
    excluded: list[Exclusion] = []
    for candidate in candidates:
        if (exclusion := exclude(candidate, wish)) is not None:
            excluded.append(exclusion)
            continue
        rank, terms = score(candidate, wish)
        model = candidate.model
        key = (
            wish.prefer_local and not candidate.local,
            *rank,
            model.provider != wish.default_provider,
            model.name,
        )
        entry = Entry(candidate, round(expected_latency_s(candidate, wish) * 1000), rank[-1], terms)
        (last_resort if candidate.last_resort else entries).append((key, entry))
    if not entries:
        return last_resort, excluded
    reason = "the engine of last resort: used when nothing else can be, or when asked for"
    excluded.extend(Exclusion(entry.model, reason) for _, entry in last_resort)
    return entries, excluded


def _other_provider_second(entries: list[Entry]) -> Sequence[Entry]:
    """Move the best entry of another provider to the second place: outages are a provider's, not a model's."""
    for index in range(1, len(entries)):
        if entries[index].model.provider != entries[0].model.provider:
            entries.insert(1, entries.pop(index))
            break
    return entries


def exclude(candidate: Candidate, wish: Wish) -> Exclusion | None:
    """Say why a candidate may not serve the wish; None when it may."""
    model = candidate.model
    learned = candidate.learned

    def out(reason: str, admitted_by: str | None = None, distance: float = float("inf")) -> Exclusion:
        return Exclusion(model, reason, admitted_by, distance)

    if candidate.unusable:
        return out(candidate.unusable)
    if wish.local_only and not candidate.local:
        return out("it does not run on this machine")
    if missing := wish.capabilities - model.capabilities:
        return out(f"it lacks {', '.join(sorted(missing))}")
    if parameter := wish.unsupported.get(model.name):
        return out(f"it takes no {parameter}")
    if (lack := _window_lack(candidate, wish)) is not None:
        return out(lack)
    if quality(candidate) < wish.min_quality:
        rated = quality(candidate)
        return out(
            f"its quality {rated} is below {wish.min_quality}", f"--min-quality {rated}", wish.min_quality - rated
        )
    latency_ms = round(expected_latency_s(candidate, wish) * 1000)
    if wish.max_latency_ms is not None and latency_ms > wish.max_latency_ms:
        admitting_ms = -(-latency_ms // 100) * 100
        return out(f"it is expected to take {latency_ms} ms", f"--max-latency {admitting_ms}", latency_ms)
    if wish.budget_picousd is not None:
        worst = candidate.least_worst_picousd
        if worst is None:
            return out("its price is unknown, and a budget binds")
        if worst > wish.budget_picousd:
            usd = worst / PICO_PER_USD
            return out(f"{OVER_BUDGET} ${usd:.6f}", f"--budget {usd:.6f}", usd)
    if learned.open_until_ms is not None and learned.open_until_ms > wish.now_ms:
        seconds = -(-(learned.open_until_ms - wish.now_ms) // 1000)
        return out(f"it is left alone for {seconds} s after {learned.open_because or 'failures'}", None, seconds)
    return None


def _window_lack(candidate: Candidate, wish: Wish) -> str | None:
    window = candidate.model.context_window
    if window is None:
        return None
    needed = wish.expected_input_tokens + (wish.max_tokens or wish.expected_output_tokens)
    return f"its window of {window} tokens is below the {needed} that are needed" if needed > window else None
