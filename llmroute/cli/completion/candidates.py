"""Completion candidates for the values of flags: from local data only, never from the network."""

from collections.abc import Callable, Iterable
from typing import Any


def models(incomplete: str) -> list[str]:
    """Offer the models that are not retired, as provider/id."""
    from llmroute.registry import ModelRegistry

    registry = ModelRegistry()
    names = (name for name in registry.list_models() if registry.status(registry.resolve(name)) != "retired")
    return _starting(names, incomplete)


def searched_models(ctx: Any, incomplete: str) -> list[str]:
    """Offer the commands of `models`, and the models once a letter is typed."""
    return _starting(ctx.command.fitting_commands(ctx), incomplete) + (models(incomplete) if incomplete else [])


def providers(incomplete: str) -> list[str]:
    """Offer the providers."""
    from llmroute.providers import PROVIDERS

    return _starting(PROVIDERS, incomplete)


def periods(incomplete: str) -> list[str]:
    """Offer the periods of cost reports."""
    from llmroute.service.costs.report import REPORTED_PERIODS

    return _starting(REPORTED_PERIODS, incomplete)


def pulled(incomplete: str) -> list[str]:
    """Offer the models of the catalogue that Ollama can pull, and the embedded one."""
    return [name for name in models(incomplete) if name.startswith(("ollama/", "builtin/"))]


def chains(incomplete: str) -> list[str]:
    """Offer the chains, the user's own too."""
    from llmroute.errors import LLMRouteError
    from llmroute.planning.lookup import all_chains
    from llmroute.planning.settings import load

    try:
        return _starting(all_chains(load()), incomplete)
    except LLMRouteError:
        return []


def jobs(incomplete: str) -> list[str]:
    """Offer the batch jobs of the ledger, the newest first."""
    from llmroute.errors import LLMRouteError
    from llmroute.planning.settings import load
    from llmroute.service.batch_jobs import jobs_of

    try:
        return _starting((one.job.id for one in reversed(jobs_of(load()))), incomplete)
    except LLMRouteError:
        return []


def workspaces(incomplete: str) -> list[str]:
    """Offer the workspaces of the ledger."""
    from llmroute.errors import LLMRouteError
    from llmroute.planning.settings import load
    from llmroute.service.costs.report import known_workspaces

    try:
        return _starting(known_workspaces(load()), incomplete)
    except LLMRouteError:
        return []


def choices(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a function that offers fixed words."""

    def offered(incomplete: str) -> list[str]:
        return _starting(words, incomplete)

    return offered


def _starting(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.lower().startswith(incomplete.lower())]
