"""Models that a request skips although the caller listed them or the strategy ranked them first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.planning.usage_cost import usd
from llmroute.routing.router import is_upgrade
from llmroute.text.money import money
from llmroute.text.option_text import OptionText
from llmroute.types import SkippedModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.routing.plan import Plan, RankedCandidate, Skip
    from llmroute.types import ModelConfig


class SkippedModels:
    """The models that a request has skipped so far, each once and in order, in `skipped`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ahead = list(plan.skipped)
        self._ranks = {entry.model.name: rank for rank, entry in enumerate(plan.entries)}
        self.skipped: list[SkippedModel] = []

    def add(self, model: ModelConfig, reason: str) -> None:
        """Record that a model was skipped."""
        self.skipped.append(SkippedModel(model.provider, model.id, reason))

    def before(self, entry: RankedCandidate | None) -> list[Skip]:
        """Record the models skipped before an entry, or with None all that remain; return the new ones."""
        rank = len(self._ranks) if entry is None else self._ranks.get(entry.model.name, len(self._ranks))
        due = [skip for skip in self._ahead if skip.rank <= rank]
        self._ahead = self._ahead[len(due) :]
        for skip in due:
            self.add(skip.model, skip.reason)
        return due


def skip_note(skips: Iterable[Skip]) -> OptionText:
    """Return a note that names the skipped models and the reasons."""
    parts: list[str] = []
    for skip in skips:
        parts += ["; " if parts else "", f"{skip.model.name}: ", skip.reason]
    return OptionText("skipped ", *parts)


def first_choice_note(plan: Plan) -> OptionText | None:
    """Return the note on models skipped before the first attempt; None if there are none.

    If the strategy ranked several models before the one that is called, the note names the first and counts the rest.
    """
    first = plan.entries[0]
    skips = [skip for skip in plan.skipped if not skip.rank]
    if not skips:
        return None
    named = skips if plan.named else skips[:1]
    more = f", and {len(skips) - len(named)} more" if len(skips) > len(named) else ""
    return OptionText(skip_note(named), f"{more}; using {first.model.name}{price_note(first, plan)}")


def price_note(entry: RankedCandidate, plan: Plan) -> str:
    """Return the expected cost in parentheses if it is far above that of the first choice; else an empty string."""
    if not is_upgrade(entry.candidate, plan.first_choice):
        return ""
    cost = usd(entry.candidate.expected_cost_picousd)
    return " (price unknown)" if cost is None else f" (about {money(cost)})"
