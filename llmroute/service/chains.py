"""Chains as they stand today: what each entry resolves to, and whether it can be called from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmroute.errors import ModelRetiredError
from llmroute.service.local import LOCAL_SERVER
from llmroute.service.planning import all_chains

if TYPE_CHECKING:
    from llmroute.service.api import LLMService
    from llmroute.service.local import LocalModels


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """An entry as it was written, the model that stands for it today, and why it cannot be called (None: it can)."""

    written: str
    resolved: str | None
    problem: str | None


def chains_today(service: LLMService) -> dict[str, list[ChainEntry]]:
    """Return every chain by its name."""
    here = service.local_models()
    return {
        name: [_entry(service, here, written) for written in entries]
        for name, entries in all_chains(service.config).items()
    }


def _entry(service: LLMService, here: LocalModels, written: str) -> ChainEntry:
    model = service.registry.resolve(written)
    try:
        living = service.registry.living(model)
    except ModelRetiredError as error:
        return ChainEntry(written, None, error.message)
    problem = service.why_unusable(living.provider)
    if problem is None and living.provider == LOCAL_SERVER:
        problem = here.why_unusable(living.api_name)
    return ChainEntry(written, living.name, problem)
