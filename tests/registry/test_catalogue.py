"""The catalogue is sound, comes from its inputs alone, and agrees with the facts that were checked by hand."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from llmroute.catalogue_build.compile import CATALOGUE, OVERLAY, Compiler, main
from llmroute.catalogue_build.sources import PACKAGES, Inputs
from llmroute.registry import ModelRegistry
from llmroute.registry.row_parser import KINDS
from llmroute.registry.schema import check_catalogue
from llmroute.types import CAPABILITIES

ROOT = Path(__file__).parents[2]
FACTS = Path(os.environ.get("LLMROUTE_CATALOGUE_FACTS", ROOT.parent / "shared" / "catalogue" / "models.json"))
INPUTS = Path(os.environ.get("LLMROUTE_CATALOGUE_INPUTS", ROOT / "build" / "inputs"))
SHIPPED: dict[str, Any] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
OVER: dict[str, Any] = tomllib.loads(OVERLAY.read_text(encoding="utf-8"))
ROWS = {f"{row['provider']}/{row['id']}": row for row in SHIPPED["models"]}

needs_facts = pytest.mark.skipif(not FACTS.exists(), reason=f"the checked facts are not at {FACTS}")


def inputs() -> Inputs:
    """The packages at the versions that the catalogue was compiled from, or a skip that names what is missing."""
    found = Inputs(INPUTS)
    for package in PACKAGES:
        try:
            version = found.version(package)
        except FileNotFoundError as error:
            pytest.skip(f"{error} (LLMROUTE_CATALOGUE_INPUTS names a folder of wheels)")
        if version != SHIPPED["inputs"][package]:
            pytest.skip(f"the catalogue was compiled from {package} {SHIPPED['inputs'][package]}, not {version}")
    return found


def facts() -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = json.loads(FACTS.read_text(encoding="utf-8"))["models"] if FACTS.exists() else []
    return models


def name_of(fact: dict[str, Any]) -> str:
    return f"{fact['provider']}/{fact['id']}"


def ours(fact: dict[str, Any]) -> dict[str, Any]:
    return ModelRegistry().get_model_config(fact["provider"], fact["id"]).facts


def explained(row: dict[str, Any], field: str) -> bool:
    """Whether the overlay says why the catalogue differs."""
    entry = OVER["models"][f"{row['provider']}/{row['id']}"]
    return field in entry.get("hand", {}) or field in entry.get("notes", {})


def test_the_shipped_catalogue_is_sound() -> None:
    check_catalogue(SHIPPED)
    assert len(SHIPPED["models"]) >= 100
    assert CATALOGUE.stat().st_size < 150_000


def test_the_catalogue_names_the_arena_and_its_licence() -> None:
    assert "Arena" in SHIPPED["attribution"]
    assert "CC BY 4.0" in SHIPPED["attribution"]
    for row in ROWS.values():
        assert ("quality" in row) == ("arena" in row)


def test_no_status_is_stored() -> None:
    assert all("status" not in row for row in ROWS.values())


def test_every_fact_of_a_row_has_its_source() -> None:
    pairs = {"prices": "prices", "context_window": "context_window", "max_output": "max_output", "quality": "quality"}
    for name, row in ROWS.items():
        for field, source in pairs.items():
            assert (field in row) <= bool(row["sources"].get(source)), (name, field)
        assert row["sources"]["parameters"], name
        assert "retires_on" not in row or {"lifecycle", "retires_on"} & row["sources"].keys(), name


def test_every_hand_checked_fact_has_its_source() -> None:
    tables = [*OVER["models"].items(), *OVER["providers"].items()]
    hand = [(name, field, fact) for name, entry in tables for field, fact in entry.get("hand", {}).items()]
    assert hand
    for name, field, fact in hand:
        assert fact.keys() == {"value", "source"}, (name, field)
        assert fact["source"], (name, field)
    assert all(profile["source"] for profile in OVER["parameters"].values())


def test_a_successor_of_ours_is_told_from_the_vendors() -> None:
    for name, entry in OVER["models"].items():
        if name.startswith(("together/", "ollama/")) and "successor" in entry.get("hand", {}):
            assert entry["hand"]["successor"]["source"].startswith("llmroute's choice"), name


def test_compiling_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    inputs()
    for name in ("once.json", "twice.json"):
        main(["--inputs", str(INPUTS), "--output", str(tmp_path / name)])
    assert (tmp_path / "once.json").read_bytes() == (tmp_path / "twice.json").read_bytes()


def test_the_shipped_catalogue_is_what_its_inputs_compile_to(tmp_path: Path) -> None:
    inputs()
    main(["--inputs", str(INPUTS), "--output", str(tmp_path / "catalogue.json")])
    assert (tmp_path / "catalogue.json").read_text(encoding="utf-8") == CATALOGUE.read_text(encoding="utf-8")


def test_a_changed_overlay_changes_the_catalogue() -> None:
    overlay = tomllib.loads(OVERLAY.read_text(encoding="utf-8"))
    overlay["models"]["openai/gpt-4"]["hand"] = {"context_window": {"value": 9000, "source": "a test"}}
    row = Compiler(inputs(), overlay).row("openai/gpt-4")
    assert (row["context_window"], row["sources"]["context_window"]) == (9000, "a test")


@needs_facts
@pytest.mark.parametrize("fact", facts(), ids=name_of)
def test_the_catalogue_agrees_with_the_checked_facts(fact: dict[str, Any]) -> None:
    row = ours(fact)
    assert row, "the model is missing"
    differing = [field for field, checked, held in compared(fact, row) if checked != held]
    assert [field for field in differing if not explained(row, field)] == []


def compared(fact: dict[str, Any], row: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    life = fact["lifecycle"]
    newest = (row.get("prices") or [{}])[-1]
    return [
        ("context_window", fact["context_window"], row.get("context_window")),
        ("max_output", fact["max_output"], row.get("max_output")),
        ("prices", prices(fact["price_usd_per_mtok"]), prices(newest)),
        ("flags", stated(fact["capabilities"], row), stated(row["capabilities"], row)),
        ("quality", fact["quality"], row.get("quality")),
        ("deprecated_on", life.get("deprecated_on"), row.get("deprecated_on")),
        ("retires_on", life.get("retires_on") or life.get("retired_on"), row.get("retires_on")),
        ("successor", successor(fact), row.get("successor")),
    ]


def stated(capabilities: list[str], row: dict[str, Any]) -> set[str]:
    """The capabilities but those that the overlay gives the row by a rule of ours, and `pdf`, which the facts lack."""
    entry = OVER["models"][f"{row['provider']}/{row['id']}"]
    ours = {*OVER["editorial"], *entry["editorial"]} if "editorial" in entry else set()
    return set(capabilities) - ours - {"pdf"}


def prices(table: dict[str, Any]) -> dict[str, Any]:
    tiers = [{"above": tier["above"], **{kind: tier.get(kind) for kind in KINDS}} for tier in table.get("tiers", ())]
    return {"tiers": tiers, **{kind: table.get(kind) for kind in KINDS}}


def successor(fact: dict[str, Any]) -> str | None:
    """The checked successor by the name that it has here; it may be called by an alias."""
    named = fact["lifecycle"].get("successor")
    return ModelRegistry().get_model_config(fact["provider"], named).name if named else None


@needs_facts
@pytest.mark.parametrize("fact", facts(), ids=name_of)
def test_the_parameters_agree_with_the_checked_facts(fact: dict[str, Any]) -> None:
    known = ModelRegistry().get_model_config(fact["provider"], fact["id"]).parameters
    checked = fact["param_restrictions"]
    renamed = checked["max_tokens_param"] == "max_completion_tokens"
    assert known.max_tokens_name == ("max_completion_tokens" if renamed else "max_tokens")
    assert known.temperature == (checked["temperature"] is not False)
    while_thinking = "only with" in str(checked["temperature"]) or "while thinking is on" in checked.get("note", "")
    assert known.temperature_needs_effort_none == while_thinking
    assert set(known.efforts) <= set(checked.get("reasoning_effort", known.efforts))


@pytest.mark.parametrize("name", sorted(ROWS))
def test_efforts_and_their_form_come_together(name: str) -> None:
    model = ModelRegistry().resolve(name)
    limits = model.parameters
    assert bool(limits.efforts) == (limits.effort_form is not None)
    assert limits.default_effort in (None, *limits.efforts)
    assert not limits.efforts or "reasoning" in model.capabilities


def test_the_capabilities_that_are_checked_are_those_that_are_offered() -> None:
    assert {capability for row in ROWS.values() for capability in row["capabilities"]} == set(CAPABILITIES)


GPT = {"openai/gpt-4", "openai/gpt-4-turbo", "openai/gpt-3.5-turbo"}
CLAUDE = {"anthropic/claude-3-opus", "anthropic/claude-3-sonnet", "anthropic/claude-3-haiku"}
MISTRAL = {f"mistral/mistral-{size}" for size in ("large", "medium", "small", "tiny")}
LLAMA = {"together/mistral", "together/llama-2", "together/codellama/CodeLlama-34b-Instruct-hf"}
LOCAL = {"ollama/llama2", "ollama/mistral", "ollama/codellama"}
OFFERED = {
    **dict.fromkeys(GPT, frozenset({"code", "reasoning", "analysis", "function_calling"})),
    **dict.fromkeys(CLAUDE, frozenset({"code", "reasoning", "analysis", "long_context"})),
    **dict.fromkeys(MISTRAL, frozenset({"code", "analysis", "multilingual"})),
    **dict.fromkeys(LLAMA | LOCAL, frozenset({"code", "analysis"})),
}


@pytest.mark.parametrize("name", sorted(OFFERED))
def test_a_model_of_2023_and_2024_has_what_it_was_offered_for_and_a_price(name: str) -> None:
    model = ModelRegistry().resolve(name)
    assert model.capabilities >= OFFERED[name]
    assert model.cost_per_1k_prompt is not None
    assert model.cost_per_1k_completion is not None
    assert not model.parameters.efforts, "it has no thinking to turn on"


@needs_facts
def test_the_catalogue_holds_nothing_that_was_not_checked_but_the_embedded_model_and_what_was_added_since() -> None:
    held = {f"{row['provider']}/{row['id']}" for row in map(ours, facts())}
    assert ROWS.keys() - held == {"builtin/smollm2-135m", *ADDED}


ADDED = {
    "anthropic/claude-opus-4-6": {
        "input": 5,
        "output": 25,
        "cache_read": 0.5,
        "cache_write": 6.25,
        "cache_write_1h": 10,
    },
    "anthropic/claude-opus-4-7": {
        "input": 5,
        "output": 25,
        "cache_read": 0.5,
        "cache_write": 6.25,
        "cache_write_1h": 10,
    },
    "openai/gpt-5.2": {"input": 1.75, "output": 14, "cache_read": 0.175},
    "openai/o4-mini": {"input": 1.1, "output": 4.4, "cache_read": 0.275},
}
"""Models that were added after the facts were checked, and their prices in genai-prices 0.2.3."""


@pytest.mark.parametrize("name", ADDED)
def test_a_model_that_was_added_has_its_price_and_quality(name: str) -> None:
    row = ROWS[name]
    assert {kind: row["prices"][-1].get(kind) for kind in ADDED[name]} == ADDED[name]
    assert row["sources"]["prices"].startswith("genai-prices")
    assert row["quality"] > 0
