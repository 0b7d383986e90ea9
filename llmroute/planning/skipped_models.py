"""Models that a request passes over: listed by its caller, or first by its strategy, and not tried in their turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.planning.usage_cost import usd
from llmroute.routing.router import is_upgrade
from llmroute.text.option_names import OptionText
from llmroute.types import SkippedModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.routing.plan import Plan, RankedCandidate, Skip
    from llmroute.types import ModelConfig


class SkippedModels:
    """What one request has passed over so far: `skipped` has each model once, in order."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ahead = list(plan.skipped)
        self._ranks = {entry.model.name: rank for rank, entry in enumerate(plan.entries)}
        self.skipped: list[SkippedModel] = []

    def add(self, model: ModelConfig, reason: str) -> None:
        """Keep that a model was passed over when it was its turn."""
        self.skipped.append(SkippedModel(model.provider, model.id, reason))

    def before(self, entry: RankedCandidate | None) -> list[Skip]:
        """Pass over what stands before an entry, or with None all that is left; return what was not before."""
        rank = len(self._ranks) if entry is None else self._ranks.get(entry.model.name, len(self._ranks))
        due = [skip for skip in self._ahead if skip.rank <= rank]
        self._ahead = self._ahead[len(due) :]
        for skip in due:
            self.add(skip.model, skip.reason)
        return due


def told_skips(skips: Iterable[Skip]) -> OptionText:
    """Return in words which models are passed over, and why."""
    parts: list[str] = []
    for skip in skips:
        parts += ["; " if parts else "", f"{skip.model.name}: ", skip.reason]
    return OptionText("passed over ", *parts)


def told_at_first(plan: Plan) -> OptionText | None:
    """Return what a person is told before the first model of a plan is tried; None where there is nothing to tell.

    Of several models that a strategy would have chosen before it the first one is told, and how many more there are.
    """
    first = plan.entries[0]
    skips = [skip for skip in plan.skipped if not skip.rank]
    if not skips:
        return None
    told = skips if plan.named else skips[:1]
    more = f", and {len(skips) - len(told)} more" if len(skips) > len(told) else ""
    return OptionText(told_skips(told), f"{more}; using {first.model.name}{price_of_jump(first, plan)}")


def price_of_jump(entry: RankedCandidate, plan: Plan) -> str:
    """Return in words what an entry costs, where that is far above the first choice of the plan; else nothing."""
    if not is_upgrade(entry.candidate, plan.first_choice):
        return ""
    cost = usd(entry.candidate.expected_cost_picousd)
    return ", whose price is unknown" if cost is None else f", which costs about ${cost:.2g}"
