"""A life is read from dates, on the day it is asked for."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.registry import ModelRegistry
from llmroute.registry.lifecycle import current_successor, lifecycle, notice, stale_warning
from llmroute.types import ModelConfig


def model(name: str, retires_on: str | None = None, successor: str | None = None) -> ModelConfig:
    provider, _, model_id = name.partition("/")
    return ModelConfig(
        provider=provider,
        id=model_id,
        api_name=model_id,
        deprecated_on="2026-06-01",
        retires_on=retires_on,
        successor=successor,
    )


@pytest.mark.parametrize(
    ("day", "status"),
    [
        (date(2026, 5, 31), "active"),
        (date(2026, 6, 1), "deprecated"),
        (date(2026, 11, 10), "deprecated"),
        (date(2026, 11, 11), "retiring"),
        (date(2026, 12, 10), "retiring"),
        (date(2026, 12, 11), "retired"),
    ],
)
def test_a_status_turns_on_its_day(day: date, status: str) -> None:
    assert lifecycle(model("openai/a", "2026-12-11"), day) == status


def test_a_model_without_dates_is_active_on_any_day() -> None:
    assert (
        lifecycle(ModelConfig("ollama", "llama2", "llama2", successor="ollama/llama3.1"), date(2099, 1, 1)) == "active"
    )


def test_a_model_whose_end_is_known_is_deprecated_though_no_source_tells_since_when() -> None:
    model = ModelConfig("anthropic", "a", "a", retires_on="2027-01-22")
    assert lifecycle(model, date(2026, 11, 27)) == "deprecated"
    assert lifecycle(model, date(2027, 1, 1)) == "retiring"
    registry = ModelRegistry(today=date(2026, 11, 27))
    ending = registry.resolve("claude-opus-4-5")
    assert (registry.status(ending), ending.retires_on) == ("deprecated", "2027-01-22")


def test_successors_are_followed_to_the_first_that_lives() -> None:
    chain = {
        "openai/a": model("openai/a", "2025-01-01", "openai/b"),
        "openai/b": model("openai/b", "2026-01-01", "openai/c"),
        "openai/c": model("openai/c", "2027-01-01", "openai/d"),
    }
    assert current_successor(chain["openai/a"], date(2026, 6, 1), chain.get) == chain["openai/c"]
    assert current_successor(chain["openai/a"], date(2025, 6, 1), chain.get) == chain["openai/b"]
    assert current_successor(chain["openai/a"], date(2027, 6, 1), chain.get) is None


@given(st.lists(st.integers(0, 5), min_size=6, max_size=6))
def test_a_chain_of_successors_that_bites_its_tail_ends(links: list[int]) -> None:
    chain = {f"openai/{at}": model(f"openai/{at}", "2025-01-01", f"openai/{to}") for at, to in enumerate(links)}
    assert current_successor(chain["openai/0"], date(2026, 1, 1), chain.get) is None


def test_a_model_about_to_retire_is_told_with_its_successor() -> None:
    registry = ModelRegistry(today=date(2026, 11, 22))
    told = registry.notice(registry.resolve("claude-sonnet-4-5"))
    assert told == "anthropic/claude-sonnet-4-5 retires on 2026-11-30; its successor is anthropic/claude-sonnet-5-5"
    assert registry.notice(registry.resolve("gpt-4o")) is None
    assert notice(model("openai/a", "2026-12-01"), date(2026, 11, 22), None) == (
        "openai/a retires on 2026-12-01; it has no successor"
    )


def test_the_same_catalogue_ages_with_the_day() -> None:
    statuses = []
    for day in (date(2026, 10, 1), date(2026, 12, 1), date(2027, 1, 14)):
        registry = ModelRegistry(today=day)
        statuses.append(registry.status(registry.resolve("gpt-4o")))
        assert registry.living(registry.resolve("gpt-4o")).name == (
            "openai/gpt-6-luna" if statuses[-1] == "retired" else "openai/gpt-4o"
        )
    assert statuses == ["active", "deprecated", "retired"]


def test_without_a_day_the_users_own_calendar_decides() -> None:
    assert ModelRegistry().today == date.today()  # noqa: DTZ011 (as in the registry)


def test_a_stale_catalogue_warns_after_sixty_days_and_once_a_week() -> None:
    assert stale_warning("2026-11-22", date(2027, 1, 21), None) is None
    warning = stale_warning("2026-11-22", date(2027, 1, 22), None)
    assert warning == "the model catalogue is 61 days old; update it with: llmroute models refresh"
    assert stale_warning("2026-11-22", date(2027, 1, 28), date(2027, 1, 22)) is None
    assert stale_warning("2026-11-22", date(2027, 1, 29), date(2027, 1, 22)) is not None
    shipped = ModelRegistry(today=date(2027, 6, 1))
    aged = date.fromisoformat(shipped.as_of) + timedelta(days=61)
    assert ModelRegistry(today=aged).stale_warning(None) == warning
