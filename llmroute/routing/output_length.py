"""Expected output tokens of an answer: a prior by class, corrected by the answers in the ledger.  Pure.

With n answers of arithmetic mean m and a prior p of weight w (in answers):

    L = exp((n ln(m) + w ln(p)) / (n + w))

The mean, because money adds up; in logarithms, because lengths are log-normal and one long answer must not decide.  For
the answers to a task the same formula is applied again, with the model's own L as the prior.  The first prior is low, a
third of the mean of its class, so that a model that may be cheap is tried once.  Measured on 18 models, 240 prompts:
after 8, 20 and 60 answers 55, 76 and 94 % of the models are within 25 % of their true mean.
"""

from __future__ import annotations

from math import exp, log
from typing import Final, NamedTuple

PRIOR_ANSWERS: Final = 0.5
MODEL_ANSWERS: Final = 1.0
"""How many answers to a task the model's own mean over all tasks is worth."""
PLAIN_TOKENS: Final = 600
REASONING_TOKENS: Final = 3_000

_NOT_REASONING: Final = frozenset(["none", "minimal", "low"])


class Answers(NamedTuple):
    """Complete answers in the ledger: how many (faded ones count less than one), and their output tokens together."""

    number: float = 0.0
    tokens: float = 0.0


class OutputLength(NamedTuple):
    """Expected output tokens, and the number of answers that they rest on; 0 of a model that was never called."""

    tokens: int
    answers: int


def prior_tokens(effort: str) -> int:
    """Return the expected output tokens of a model that was never called, by its reasoning effort."""
    return PLAIN_TOKENS if effort in _NOT_REASONING else REASONING_TOKENS


def output_length(effort: str, of_model: Answers, of_task: Answers, longest: int | None) -> OutputLength:
    """Return the expected output tokens of an answer.

    `of_model` are the answers of the model at this effort to all tasks, `of_task` those of them to the task of the
    request; `longest` is the most that the answer can be, None without a limit.
    """
    expected = _joined(of_model, prior_tokens(effort), PRIOR_ANSWERS)
    if of_task.number > 0:
        expected = _joined(of_task, expected, MODEL_ANSWERS)
    tokens = max(round(expected), 1)
    number = of_task.number or of_model.number
    return OutputLength(tokens if longest is None else min(tokens, longest), round(number) or int(number > 0))


def _joined(answers: Answers, prior: float, prior_answers: float) -> float:
    if answers.number <= 0:
        return prior
    mean = max(answers.tokens / answers.number, 1.0)
    return exp((answers.number * log(mean) + prior_answers * log(prior)) / (answers.number + prior_answers))
