"""A user's own rows add models and override fields; a wrong one is refused by its key."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.errors import ConfigError
from llmroute.registry import ModelRegistry
from llmroute.registry.schema import UserRow
from llmroute.types import PriceTier

TODAY = date(2026, 11, 22)


def registry(**models: Any) -> ModelRegistry:
    return ModelRegistry(today=TODAY, user_models=models)


def test_a_fine_tune_is_a_model_like_any_other() -> None:
    row = {"aliases": ["mine"], "context_window": 1000, "input": 1.5, "output": 6, "capabilities": ["code"]}
    own = registry(**{"openai/ft:gpt-4.1:acme": row})
    found = own.resolve("mine")
    assert (found.name, found.known, found.context_window) == ("openai/ft:gpt-4.1:acme", True, 1000)
    assert (found.prices[0].input, found.prices[0].output) == (1_500_000, 6_000_000)
    assert found in own.find_models_by_capability("code")
    assert "openai/ft:gpt-4.1:acme" in own.list_models("openai")


def test_a_field_that_is_not_named_stays_the_catalogues() -> None:
    listed = ModelRegistry(today=TODAY).resolve("openai/gpt-6.1-sol")
    found = registry(**{"openai/gpt-6.1-sol": {"context_window": 9000}}).resolve("gpt-6.1-sol")
    assert found.context_window == 9000
    assert (found.prices, found.capabilities, found.parameters) == (
        listed.prices,
        listed.capabilities,
        listed.parameters,
    )


def test_a_contracts_price_holds_for_prompts_of_any_size() -> None:
    found = registry(**{"openai/gpt-6.1-sol": {"input": 1}}).resolve("gpt-6.1-sol")
    price = found.prices[-1]
    assert (price.input, price.output) == (1_000_000, 10_000_000)
    assert price.tiers == (PriceTier(272_000, 1_000_000, 15_000_000, 200_000, 5_000_000),)


def test_a_parameter_that_is_not_named_stays_the_catalogues() -> None:
    found = registry(**{"openai/gpt-6.1-sol": {"parameters": {"stop": False}}}).resolve("gpt-6.1-sol")
    assert not found.parameters.stop
    assert found.parameters.max_tokens_name == "max_completion_tokens"


def test_rows_that_were_checked_before_are_taken_without_pydantic() -> None:
    script = (
        "import sys; from llmroute.registry import ModelRegistry;"
        "r = ModelRegistry(user_models={'openai/ft-x': {'input': 1}}, user_models_checked=True);"
        "assert r.resolve('ft-x').prices[0].input == 10**6;"
        "sys.exit('pydantic' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_local_model_of_the_users_is_free_unless_it_names_a_price() -> None:
    own = registry(**{"ollama/house": {"context_window": 8}, "ollama/rack": {"input": 1}, "openai/house": {}})
    assert own.resolve("ollama/house").cost_per_1k_prompt == 0
    assert own.resolve("ollama/rack").cost_per_1k_prompt == 0.001
    assert own.resolve("openai/house").cost_per_1k_prompt is None


def test_a_contracts_tiers_replace_the_catalogues() -> None:
    found = registry(**{"openai/gpt-6.1-sol": {"tiers": []}}).resolve("gpt-6.1-sol")
    assert found.prices[-1].tiers == ()


def test_a_users_alias_outranks_an_alias_of_the_catalogue() -> None:
    own = registry(**{"mistral/house": {"aliases": ["mistral-large-latest"]}})
    assert own.resolve("mistral-large-latest").name == "mistral/house"


def test_a_users_retired_model_is_succeeded_by_a_short_name() -> None:
    row = {"retires_on": date(2026, 1, 1), "successor": "gpt-6-luna"}
    own = registry(**{"openai/house": row})
    assert own.living(own.resolve("openai/house")).name == "openai/gpt-6-luna"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"input": -1}, r'models."openai/ft-x".input must be at least 0'),
        ({"input": "cheap"}, r'models."openai/ft-x".input must be a number'),
        ({"input": True}, r'models."openai/ft-x".input must be a number'),
        ({"input": 0.0000001}, r'models."openai/ft-x".input has more than six decimals'),
        ({"context_window": 0}, r'models."openai/ft-x".context_window must be above 0'),
        ({"capabilities": ["magic"]}, "models.\"openai/ft-x\".capabilities[0] must be 'analysis', 'code',"),
        ({"retires_on": "soon"}, r'models."openai/ft-x".retires_on must be a date (YYYY-MM-DD)'),
        ({"retires_on": "2026-02-30"}, r'models."openai/ft-x".retires_on must be a date (YYYY-MM-DD)'),
        (
            {"parameters": {"effort_form": "x"}},
            "models.\"openai/ft-x\".parameters.effort_form must be 'reasoning_effort',",
        ),
        ({"prise": 1}, r'models."openai/ft-x".prise is not a known name'),
        ({"tiers": [{"input": 1}]}, r'models."openai/ft-x".tiers[0].above is missing'),
        ("cheap", r'models."openai/ft-x" must be a table'),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(row: Any, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        registry(**{"openai/ft-x": row})
    assert refusal.value.message.startswith(message)


@pytest.mark.parametrize("name", ["ft-x", "groq/x", "openai/", ""])
def test_a_row_without_a_provider_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="a model is named provider/id") as refusal:
        registry(**{name: {}})
    assert "openai" in str(refusal.value.hint)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from([*UserRow.model_fields, "nonsense"])


@given(st.dictionaries(FIELDS, JSON, max_size=3))
def test_any_row_is_taken_or_refused_by_its_key(row: dict[str, Any]) -> None:
    name = "openai/ft-x"
    try:
        found = registry(**{name: row}).resolve(name)
    except ConfigError as refusal:
        found, message = None, refusal.message
    assert found.name == name if found else message.startswith('models."openai/ft-x"')
