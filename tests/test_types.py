"""The plain values say what they are."""

from __future__ import annotations

import pytest

from llmroute import errors
from llmroute.errors import LLMRouteError
from llmroute.types import PICO_PER_USD, ModelConfig, Price

EXITS = {
    "RequestError": 2,
    "ConfigError": 2,
    "NoCandidateError": 3,
    "EngineUnavailableError": 3,
    "ModelRetiredError": 3,
    "LedgerError": 3,
    "OutputError": 3,
    "VendorReportError": 4,
    "ConfigWriteError": 3,
    "BudgetExceededError": 5,
    "DeadlineError": 7,
    "RateLimitError": 4,
    "QuotaError": 3,
    "AuthenticationError": 3,
    "ModelGoneError": 3,
    "TransientError": 4,
    "ProviderTimeoutError": 4,
    "UnreachableError": 4,
    "ContextLengthError": 2,
    "ContentError": 6,
    "ParameterError": 2,
    "BadRequestError": 2,
    "BadOutputError": 6,
    "IncompleteAnswerError": 6,
}


@pytest.mark.parametrize(("name", "exit_code"), EXITS.items())
def test_each_error_has_its_exit_code_and_its_word(name: str, exit_code: int) -> None:
    kind = getattr(errors, name)
    assert kind.exit_code == exit_code
    error = kind("what happened", hint="what to do")
    assert (str(error), error.message, error.hint, error.attempts) == (
        "what happened",
        "what happened",
        "what to do",
        (),
    )


def test_every_error_has_a_word_of_its_own() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, LLMRouteError)]
    assert len({each.kind for each in kinds}) == len(kinds)


def test_prices_per_thousand_are_those_of_the_newest_price() -> None:
    prices = (Price(input=1, output=1), Price(input=2_500_000, output=None))
    model = ModelConfig("openai", "m", "m", prices=prices, context_window=100)
    assert model.cost_per_1k_prompt == 2_500_000 * 1000 / PICO_PER_USD == 0.0025
    assert model.cost_per_1k_completion is None
    assert (model.name, model.max_tokens) == ("openai/m", 100)
    assert ModelConfig("openai", "m", "m").cost_per_1k_prompt is None
