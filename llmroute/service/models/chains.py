"""Chains with the models that they name today, and changes of the user's own in config.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmroute.errors import LLMRouteError, NoCandidateError, RequestError
from llmroute.planning.local.local_models import LOCAL_SERVER
from llmroute.planning.lookup import all_chains, current_model, find_chain, require_chain
from llmroute.request.options import Options
from llmroute.routing.chains import PREDEFINED
from llmroute.service.models.listing import named_here
from llmroute.types import LLMResponse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from llmroute.planning.local.local_models import LocalModels
    from llmroute.service.client import LLMService
    from llmroute.service.core import ServiceCore

TABLE = ("chains",)
# The smallest question, and room for a model that thinks before it says anything.
TEST_PROMPT = "hi"
TEST_TOKENS = 256
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """An entry as it was written, the model that it names today, and why that cannot be called (None if it can)."""

    written: str
    resolved: str | None
    problem: str | None


def chains_today(core: ServiceCore, only: str | None = None) -> dict[str, list[ChainEntry]]:
    """Return every chain by its name, or `only` one.

    Raises:
        RequestError: there is no such chain.
    """
    here = core.models.local_models
    chains = all_chains(core.config)
    names = chains if only is None else [require_chain(core.config, only)]
    return {name: [_entry(core, here, written) for written in chains[name]] for name in names}


def _entry(core: ServiceCore, here: LocalModels, written: str) -> ChainEntry:
    try:
        listed = named_here(core, written)
        current = current_model(core.registry, listed)
        if current is None:
            return ChainEntry(written, None, core.registry.retired_error(listed).message)
    except RequestError as error:
        return ChainEntry(written, None, error.message)
    problem = core.endpoints.why_unusable(current.provider)
    if problem is None and current.provider == LOCAL_SERVER:
        problem = here.why_unusable(current.api_name)
    return ChainEntry(written, current.name, problem)


def set_chain(core: ServiceCore, name: str, entries: Sequence[str]) -> list[str]:
    """Write a chain of the user's own into config.toml; return a notice about it.

    Raises:
        RequestError: the name cannot be one, or an entry is no model.
        ConfigError: config.toml cannot be changed.
    """
    from llmroute.config.edit import set_value

    if not _NAME.fullmatch(name):
        raise RequestError(f"{name!r} cannot be the name of a chain: letters, digits, - and _, a letter first")
    if not entries:
        raise RequestError("a chain without a model tries nothing", hint=f"llmroute chains set {name} provider/model")
    notes: list[str] = []
    written = [_checked(core, entry, notes) for entry in entries]
    if doubles := [entry for index, entry in enumerate(written) if entry in written[:index]]:
        raise RequestError(f"{doubles[0]} is in the chain twice")
    known = find_chain(core.config, name) or name
    if known in PREDEFINED and known not in core.config.chains:
        notes.append(f"your {known} now stands before the predefined one (llmroute chains remove {known} undoes it)")
    set_value(_config_path(core), TABLE, known, written, wait_s=core.config.timeouts.ledger_s)
    return notes


def remove_chain(core: ServiceCore, name: str) -> list[str]:
    """Remove a chain of the user's own from config.toml; return a notice about it.

    Raises:
        RequestError: there is no such chain, or it is a predefined one.
        ConfigError: config.toml cannot be changed.
    """
    from llmroute.config.edit import remove_key

    known = require_chain(core.config, name)
    if known not in core.config.chains:
        raise RequestError(
            f"{known} is predefined and cannot be removed", hint=f"llmroute chains set {known} puts yours before it"
        )
    remove_key(_config_path(core), TABLE, known, wait_s=core.config.timeouts.ledger_s)
    return [f"{known} is the predefined chain again"] if known in PREDEFINED else []


def _config_path(core: ServiceCore) -> Path:
    return core.config.config_dir / "config.toml"


def _checked(core: ServiceCore, entry: str, notes: list[str]) -> str:
    """Return an entry as it is kept: as it was written, its provider in front."""
    registry = core.registry
    model = named_here(core, entry)
    if re.search(r"\s", model.name):
        raise RequestError(f"{entry!r} cannot be the name of a model: there is a space in it")
    if notice := registry.unlisted_notice(model) or registry.notice(model):
        notes.append(notice)
    return entry if entry.startswith(f"{model.provider}/") else model.name


@dataclass(frozen=True, slots=True)
class ChainTrial:
    """The result of a call of an entry: its answer or its error."""

    entry: ChainEntry
    response: LLMResponse | None
    error: LLMRouteError | None


def expected_test_cost_picousd(core: ServiceCore, entries: Sequence[ChainEntry]) -> tuple[int, int, list[str]]:
    """Return the expected and the highest cost of calling every entry, and the models whose price is unknown."""
    expected = worst = 0
    unknown = []
    for entry in entries:
        if entry.problem is not None or entry.resolved is None:
            continue
        candidate = core.plan(_test_of(entry)).entries[0].candidate
        if candidate.expected_cost_picousd is None or candidate.worst_cost_picousd is None:
            unknown.append(entry.resolved)
            continue
        expected += candidate.expected_cost_picousd
        worst += candidate.worst_cost_picousd
    return expected, worst, unknown


def try_entries(service: LLMService, entries: Sequence[ChainEntry]) -> Iterator[ChainTrial]:
    """Call every entry of a chain that can be called, one after the other."""
    for entry in entries:
        if entry.problem is not None:
            yield ChainTrial(entry, None, NoCandidateError(entry.problem))
            continue
        try:
            pieces = list(service.answer(_test_of(entry), streaming=False))
        except LLMRouteError as error:
            yield ChainTrial(entry, None, error)
            continue
        yield ChainTrial(entry, next(piece for piece in pieces if isinstance(piece, LLMResponse)), None)


def _test_of(entry: ChainEntry) -> Options:
    return Options(prompt=TEST_PROMPT, model=entry.resolved, max_tokens=TEST_TOKENS, enable_fallback=False)
