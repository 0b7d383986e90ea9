"""The completion limit of a call: where it comes from, and how a longer answer is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.text.option_text import OptionText, Remedy

if TYPE_CHECKING:
    from llmroute.errors.attempt import LimitOrigin
    from llmroute.execution.accounting.budget import RequestBudget
    from llmroute.types import ModelConfig
    from llmroute.worst_case import WorstCase


class AnswerLimit(NamedTuple):
    """A completion limit; `tokens` is None where it is the model's own, and `remedy` says how to allow more."""

    origin: LimitOrigin
    tokens: int | None
    remedy: OptionText

    @property
    def words(self) -> str:
        """The end of an answer at the limit, in words."""
        match self.origin:
            case "budget":
                return f"it ended at {self.tokens} tokens, to which the budget limited it"
            case "caller":
                return f"it ended at its limit of {self.tokens} tokens"
            case _:
                return "it ended at the completion limit"

    def budget_cut(self, finish_reason: str | None) -> OptionText | None:
        """Return how a budget shortened an answer; None where none did."""
        if finish_reason != "length" or self.origin != "budget":
            return None
        return OptionText(f"the budget limited the answer to {self.tokens} tokens (", self.remedy, ")")


_MORE = OptionText("allow more with ", Remedy("max_tokens"))
OF_MODEL = AnswerLimit("model", None, _MORE)
OF_WINDOW = AnswerLimit("model", None, OptionText("use a model with a larger context window"))


def answer_limit(
    own: int | None, budgeted: int | None, model: ModelConfig, worst: WorstCase | None, budget: RequestBudget
) -> AnswerLimit:
    """Return the limit of an answer: the caller's `own` limit, the one that a budget set, or the model."""
    longest = model.max_output
    if own is not None:
        return AnswerLimit("caller", own, _MORE) if longest is None or own <= longest else OF_MODEL
    if budgeted is None or (longest is not None and budgeted >= longest):
        return OF_MODEL
    return AnswerLimit("budget", budgeted, _larger_budget(budgeted, worst, budget))


def _larger_budget(tokens: int, worst: WorstCase | None, budget: RequestBudget) -> OptionText:
    if worst is not None and tokens >= worst.most_tokens:
        # No budget allows more than this by itself.
        return _MORE
    if worst is not None and budget.left_picousd is not None and worst.tokens_within(budget.left_picousd) == tokens:
        return OptionText("allow more with a larger ", Remedy("budget_remaining"))
    return OptionText("a larger budget allows more")
