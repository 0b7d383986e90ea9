"""Names lead to models, and what is chosen among models is alive."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.errors import ModelRetiredError, RequestError
from llmroute.registry import ModelRegistry
from llmroute.types import CAPABILITIES, ModelConfig, Price

TODAY = date(2026, 11, 22)
REGISTRY = ModelRegistry(today=TODAY)
LEGACY = [
    ("openai", "gpt-4", "gpt-4"),
    ("openai", "gpt-4-turbo", "gpt-4-turbo"),
    ("openai", "gpt-3.5-turbo", "gpt-3.5-turbo"),
    ("anthropic", "claude-3-opus", "claude-3-opus-20240229"),
    ("anthropic", "claude-3-sonnet", "claude-3-sonnet-20240229"),
    ("anthropic", "claude-3-haiku", "claude-3-haiku-20240307"),
    ("mistral", "mistral-large", "mistral-large-2402"),
    ("mistral", "mistral-medium", "mistral-medium-2312"),
    ("mistral", "mistral-small", "mistral-small-2402"),
    ("mistral", "mistral-tiny", "open-mistral-7b"),
    ("ollama", "llama2", "llama2"),
    ("ollama", "mistral", "mistral"),
    ("ollama", "codellama", "codellama"),
    ("together", "mistral", "mistralai/Mistral-7B-Instruct-v0.1"),
    ("together", "llama-2", "meta-llama/Llama-2-70b-chat-hf"),
    ("together", "codellama/CodeLlama-34b-Instruct-hf", "codellama/CodeLlama-34b-Instruct-hf"),
]


def model(name: str, **facts: object) -> ModelConfig:
    provider, _, model_id = name.partition("/")
    return ModelConfig(provider=provider, id=model_id, api_name=model_id, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(("provider", "name", "api_name"), LEGACY)
def test_a_legacy_name_is_an_id_and_leads_to_the_vendors_own(provider: str, name: str, api_name: str) -> None:
    assert f"{provider}/{name}" in REGISTRY.list_models()
    assert f"{provider}/{name}" in REGISTRY.list_models(provider)
    found = REGISTRY.get_model_config(provider, name)
    assert (found.id, found.api_name, found.known) == (name, api_name, True)
    assert REGISTRY.get_model_config(provider, api_name) == found


@pytest.mark.parametrize(("provider", "name", "_api_name"), [row for row in LEGACY if row[0] != "ollama"])
def test_a_legacy_cloud_model_is_retired_and_a_living_one_succeeds_it(provider: str, name: str, _api_name: str) -> None:
    retired = REGISTRY.get_model_config(provider, name)
    successor = REGISTRY.living(retired)
    assert REGISTRY.status(retired) == "retired"
    assert successor.provider == provider
    assert REGISTRY.status(successor) != "retired"


def test_every_retired_model_has_a_living_successor() -> None:
    for name in REGISTRY.list_models():
        found = REGISTRY.resolve(name)
        assert REGISTRY.status(REGISTRY.living(found)) != "retired", name


@pytest.mark.parametrize("name", ["llama2", "mistral", "codellama"])
def test_ollama_retires_nothing_though_it_names_a_successor(name: str) -> None:
    found = REGISTRY.get_model_config("ollama", name)
    assert REGISTRY.status(found) == "active"
    assert REGISTRY.successor(found) is not None


def test_gpt_4_costs_and_holds_what_the_issue_says() -> None:
    found = REGISTRY.get_model_config("openai", "gpt-4")
    assert found.cost_per_1k_prompt == 0.03
    assert found.cost_per_1k_completion == 0.06
    assert found.max_tokens == 8192


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("openai/gpt-6.1-sol", "openai/gpt-6.1-sol"),
        ("openai:gpt-6.1-sol", "openai/gpt-6.1-sol"),
        ("OpenAI/GPT-6.1-Sol", "openai/gpt-6.1-sol"),
        ("gpt-6.1-sol", "openai/gpt-6.1-sol"),
        ("claude-haiku-4-5-20251001", "anthropic/claude-haiku-4-5"),
        ("mistral-medium-3-5", "mistral/mistral-medium-2604"),
        ("mistral-medium-latest", "mistral/mistral-medium-2604"),
        ("mistral-large-latest", "mistral/mistral-large-2512"),
        ("zai-org/GLM-5.3", "together/zai-org/GLM-5.3"),
        ("together/zai-org/GLM-5.3", "together/zai-org/GLM-5.3"),
        ("gpt-oss:latest", "ollama/gpt-oss:20b"),
        ("mistral", "ollama/mistral"),
        ("mistral:latest", "ollama/mistral"),
        ("mistral:mistral-large-4", "mistral/mistral-large-4"),
        ("builtin/smollm2-135m", "builtin/smollm2-135m"),
    ],
)
def test_a_name_leads_to_the_model_that_is_meant(name: str, meant: str) -> None:
    found = REGISTRY.resolve(name)
    assert found.known
    assert found.name == meant


@pytest.mark.parametrize("name", ["mistral:7b", "ollama/mistral:7b", "ollama:mistral:7b"])
def test_an_unlisted_tag_of_ollama_is_sent_as_asked_and_free(name: str) -> None:
    found = REGISTRY.resolve(name)
    assert (found.provider, found.api_name, found.known) == ("ollama", "mistral:7b", False)
    assert found.cost_per_1k_prompt == found.cost_per_1k_completion == 0
    assert REGISTRY.is_local(found.provider, found.api_name)


@pytest.mark.parametrize("name", ["ollama/gpt-oss:120b-cloud", "ollama/glm-5.3:cloud"])
def test_ollamas_cloud_is_neither_local_nor_of_known_price(name: str) -> None:
    found = REGISTRY.resolve(name)
    assert found.prices == ()
    assert not REGISTRY.is_local(found.provider, found.api_name)


def test_an_unlisted_name_with_its_provider_is_sent_as_asked_at_an_unknown_price() -> None:
    found = REGISTRY.resolve("openai/gpt-99")
    assert (found.name, found.api_name, found.known, found.prices) == ("openai/gpt-99", "gpt-99", False, ())


def test_a_named_provider_outranks_another_providers_id_of_the_same_letters() -> None:
    assert REGISTRY.resolve("openai/gpt-oss-120b").provider == "openai"
    assert REGISTRY.resolve("openai/gpt-oss-120b", "together").name == "together/openai/gpt-oss-120b"


def test_the_default_provider_settles_an_ambiguous_name() -> None:
    assert REGISTRY.resolve("mistral", "together").name == "together/mistral"
    assert REGISTRY.resolve("mistral", "openai").name == "ollama/mistral"


def test_a_bare_unknown_name_is_refused_with_its_neighbours() -> None:
    with pytest.raises(RequestError, match="unknown model 'gtp-4'") as refusal:
        REGISTRY.resolve("gtp-4")
    assert "did you mean openai/gpt-4" in str(refusal.value.hint)
    assert "openai/gtp-4" in str(refusal.value.hint)


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("gpt-6", {"openai/gpt-6-sol", "openai/gpt-6-luna", "openai/gpt-6.2-sol"}),
        ("claude-haiku-4", {"anthropic/claude-haiku-4-5"}),
        ("opus-4", {"anthropic/claude-opus-4-8", "anthropic/claude-opus-4-7"}),
    ],
)
def test_models_that_continue_a_name_or_have_all_its_words_are_suggested_first(name: str, suggested: set[str]) -> None:
    first = REGISTRY.near(name)[: len(suggested)]
    assert set(first) == suggested
    with pytest.raises(RequestError) as refusal:
        REGISTRY.resolve(name)
    assert f"{first[0].partition('/')[0]}/{name}" in str(refusal.value.hint), "the provider of the suggestion"


def test_a_retired_model_is_not_suggested() -> None:
    assert REGISTRY.status(REGISTRY.resolve("anthropic/claude-3-haiku")) == "retired"
    suggested = [REGISTRY.resolve(name) for name in REGISTRY.near("claude-3-haik")]
    assert suggested
    assert all(REGISTRY.status(found) != "retired" for found in suggested)


def test_a_mistyped_provider_of_a_known_model_is_named_alone() -> None:
    with pytest.raises(RequestError, match="unknown provider 'opena'") as refusal:
        REGISTRY.resolve("opena/gpt-5.4")
    assert refusal.value.hint == "did you mean openai/gpt-5.4?"


def test_a_stranger_with_a_slash_is_refused_with_the_providers() -> None:
    with pytest.raises(RequestError) as refusal:
        REGISTRY.resolve("groq/whatever-it-is-called")
    assert "openai, anthropic, mistral, together, ollama, builtin" in str(refusal.value.hint)


def test_an_unknown_provider_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match="unknown provider 'groq'") as refusal:
        REGISTRY.get_model_config("groq", "x")
    assert "the providers are openai" in str(refusal.value.hint)
    with pytest.raises(RequestError, match="unknown provider 'groq'"):
        REGISTRY.list_models("groq")
    with pytest.raises(RequestError, match="unknown provider 'groq'"):
        REGISTRY.resolve("gpt-4", "groq")


@given(st.sampled_from(REGISTRY.list_models()), st.sampled_from([None, *REGISTRY.providers]))
def test_every_listed_name_leads_back_to_itself(name: str, default: str | None) -> None:
    found = REGISTRY.resolve(name, default)
    assert found.name == name
    assert REGISTRY.get_model_config(found.provider, found.id) is found
    assert all(REGISTRY.get_model_config(found.provider, alias) is found for alias in found.aliases)


@given(st.text(max_size=40), st.sampled_from([None, *REGISTRY.providers]))
def test_any_text_is_a_model_or_a_clear_refusal(text: str, default: str | None) -> None:
    with suppress(RequestError):
        assert REGISTRY.resolve(text, default).provider in REGISTRY.providers


@pytest.mark.parametrize("capability", [None, *sorted(CAPABILITIES)])
def test_what_is_offered_lives_and_is_capable(capability: str | None) -> None:
    found = REGISTRY.find_models_by_capability(capability)
    assert found
    best = [*found, REGISTRY.get_cheapest_model(capability), REGISTRY.get_fastest_model(capability)]
    for offered in best:
        assert offered is not None
        assert REGISTRY.status(offered) != "retired"
        assert capability is None or capability in offered.capabilities


def test_a_cost_ceiling_binds_both_prices_and_leaves_unknown_ones_out() -> None:
    rows = [
        model("openai/dear-answer", prices=(Price(input=10**6, output=3 * 10**6),)),
        model("openai/fits", prices=(Price(input=10**6, output=2 * 10**6),)),
        model("openai/unknown"),
    ]
    registry = ModelRegistry(rows, today=TODAY)
    assert [found.id for found in registry.find_models_by_capability(None, 0.002)] == ["fits"]
    assert [found.id for found in registry.find_models_by_capability(None)] == ["fits", "dear-answer", "unknown"]


def test_the_cheapest_is_never_of_unknown_price_and_the_embedded_engine_comes_last() -> None:
    free = (Price(input=0, output=0),)
    rows = [model("openai/unknown"), model("builtin/tiny", prices=free)]
    assert ModelRegistry(rows, today=TODAY).get_cheapest_model() == rows[1]
    paid = model("openai/paid", prices=(Price(input=5, output=5),))
    assert ModelRegistry([*rows, paid], today=TODAY).get_cheapest_model() == paid


def test_the_better_of_two_equally_cheap_models_is_the_cheapest() -> None:
    free = (Price(input=0, output=0),)
    rows = [model("ollama/a", prices=free, quality=20), model("ollama/b", prices=free, quality=60)]
    assert ModelRegistry(rows, today=TODAY).get_cheapest_model() == rows[1]


def test_the_fastest_is_who_answers_soonest_then_who_costs_least() -> None:
    rows = [
        model("openai/dear", prices=(Price(input=9, output=9),)),
        model("anthropic/cheap", prices=(Price(input=1, output=1),)),
        model("together/slow", prices=(Price(input=0, output=0),)),
        model("builtin/tiny", prices=(Price(input=0, output=0),)),
    ]
    registry = ModelRegistry(rows, today=TODAY)
    assert registry.get_fastest_model() == rows[1]
    measured = {"together/slow": 5.0}
    assert registry.get_fastest_model(expected_latency_ms=lambda found: measured.get(found.name)) == rows[2]


def test_the_catalogue_holds_the_typical_latencies() -> None:
    expected = {"openai": 1000, "anthropic": 1000, "mistral": 900, "together": 2000, "ollama": 9500}
    assert {name: REGISTRY.typical_latency_ms(name) for name in expected} == expected
    assert REGISTRY.typical_latency_ms("builtin") == 6500


def test_an_unknown_capability_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match="unknown capability 'telepathy'") as refusal:
        REGISTRY.find_models_by_capability("telepathy")
    assert "analysis, code" in str(refusal.value.hint)


def test_a_retired_model_and_its_successor_are_named_in_the_error() -> None:
    error = REGISTRY.retired_error(REGISTRY.resolve("gpt-4"))
    assert error.message == "openai/gpt-4 was retired on 2026-10-23; its successor is openai/gpt-5.6-sol"
    assert error.hint == "use openai/gpt-5.6-sol"


def test_a_retired_model_without_a_successor_is_an_error_that_says_so() -> None:
    gone = model("openai/gone", retires_on="2026-01-01", successor="openai/nowhere")
    with pytest.raises(ModelRetiredError, match="openai/gone was retired on 2026-01-01; it has no successor"):
        ModelRegistry([gone], today=TODAY).living(gone)


def test_loading_the_catalogue_imports_nothing_heavy() -> None:
    script = (
        "import sys; from llmroute.registry import ModelRegistry; r = ModelRegistry();"
        "[r.resolve(n) for n in r.list_models()];"
        "heavy = {'pydantic', 'httpx', 'rich', 'sqlite3', 'asyncio', 'pathlib', 'difflib', 'decimal', 'tomllib'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    ran = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
