"""The counts and costs of a batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmroute.types import PICO_PER_USD, as_picousd

if TYPE_CHECKING:
    from llmroute.errors import LLMRouteError
    from llmroute.types import LLMResponse


@dataclass(slots=True)
class BatchTotals:
    """The counts and costs of a batch so far.

    `invalid` counts the lines that are not requests, `answered_before` the requests that an earlier run answered.
    `interrupted` counts the requests that were sent, may have cost something, and were cancelled before their result.
    `truncated` (at the model's output limit), `budget_cuts` (at a limit that a budget set) and `prompts_cut` (the model
    did not read the complete prompt) are answered too.  `lines` counts the lines that were read: the complete input if
    `read_to_end`.
    `first_failure` is the error of the first line of batch jobs that failed.
    `failure_codes` holds the exit codes of the errors, `models` the number of answers by model name.
    """

    answered: int = 0
    failed: int = 0
    invalid: int = 0
    answered_before: int = 0
    not_run: int = 0
    interrupted: int = 0
    truncated: int = 0
    budget_cuts: int = 0
    prompts_cut: int = 0
    cost_picousd: int = 0
    unknown_costs: int = 0
    lines: int = 0
    read_to_end: bool = False
    stopped_by: LLMRouteError | None = None
    first_failure: LLMRouteError | None = None
    failure_codes: set[int] = field(default_factory=set)
    models: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        """The number of lines that need no more work in this run."""
        return self.answered + self.failed + self.invalid + self.answered_before + self.not_run

    @property
    def cost_usd(self) -> float:
        """The known cost of this run."""
        return self.cost_picousd / PICO_PER_USD

    def add_answer(self, response: LLMResponse, *, limited: bool) -> None:
        """Count an answer, its cost and by its own signs whether it is cut.

        `limited` says that its completion limit is the caller's own: an answer of that length is not cut.
        """
        self.answered += 1
        self.models[f"{response.provider}/{response.model}"] += 1
        self.prompts_cut += response.prompt_cut is not None
        if response.budget_cut is not None:
            self.budget_cuts += 1
        elif response.finish_reason == "length" and not limited:
            self.truncated += 1
        self._add_cost(response.cost_usd)

    def add_invalid(self, error: LLMRouteError) -> None:
        """Count a line that is not a request."""
        self.invalid += 1
        self.failure_codes.add(error.exit_code)

    def add_failure(self, error: LLMRouteError) -> None:
        """Count a request without an answer; its cost is counted by `add_costs`."""
        self.failed += 1
        self.failure_codes.add(error.exit_code)

    def add_costs(self, error: LLMRouteError) -> None:
        """Add the costs of the attempts of a request without an answer."""
        for attempt in error.attempts:
            self._add_cost(attempt.cost_usd)

    def _add_cost(self, cost_usd: float | None) -> None:
        if cost_usd is None:
            self.unknown_costs += 1
        else:
            self.cost_picousd += as_picousd(cost_usd)
