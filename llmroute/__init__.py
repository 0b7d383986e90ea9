"""Route prompts over OpenAI, Anthropic, Mistral, Ollama and Together, with fallback, budgets and an honest ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.version import __version__

if TYPE_CHECKING:
    from llmroute.errors import (
        AllProvidersFailedError as AllProvidersFailedError,
    )
    from llmroute.errors import (
        AttemptError as AttemptError,
    )
    from llmroute.errors import (
        AuthenticationError as AuthenticationError,
    )
    from llmroute.errors import (
        BadOutputError as BadOutputError,
    )
    from llmroute.errors import (
        BadRequestError as BadRequestError,
    )
    from llmroute.errors import (
        BudgetExceededError as BudgetExceededError,
    )
    from llmroute.errors import (
        ConfigError as ConfigError,
    )
    from llmroute.errors import (
        ContentError as ContentError,
    )
    from llmroute.errors import (
        ContextLengthError as ContextLengthError,
    )
    from llmroute.errors import (
        DeadlineError as DeadlineError,
    )
    from llmroute.errors import (
        EngineUnavailableError as EngineUnavailableError,
    )
    from llmroute.errors import (
        IncompleteAnswerError as IncompleteAnswerError,
    )
    from llmroute.errors import (
        LedgerError as LedgerError,
    )
    from llmroute.errors import (
        LLMRouteError as LLMRouteError,
    )
    from llmroute.errors import (
        ModelGoneError as ModelGoneError,
    )
    from llmroute.errors import (
        ModelRetiredError as ModelRetiredError,
    )
    from llmroute.errors import (
        NoCandidateError as NoCandidateError,
    )
    from llmroute.errors import (
        ParameterError as ParameterError,
    )
    from llmroute.errors import (
        ProviderTimeoutError as ProviderTimeoutError,
    )
    from llmroute.errors import (
        QuotaError as QuotaError,
    )
    from llmroute.errors import (
        RateLimitError as RateLimitError,
    )
    from llmroute.errors import (
        RequestError as RequestError,
    )
    from llmroute.errors import (
        RestingError as RestingError,
    )
    from llmroute.errors import (
        TransientError as TransientError,
    )
    from llmroute.errors import (
        UnreachableError as UnreachableError,
    )
    from llmroute.ledger.store import Ledger as Ledger
    from llmroute.registry import ModelRegistry as ModelRegistry
    from llmroute.routing.chains import FallbackChain as FallbackChain
    from llmroute.routing.plan import Plan as Plan
    from llmroute.routing.strategies import RoutingStrategy as RoutingStrategy
    from llmroute.service.api import LLMService as LLMService
    from llmroute.service.factory import get_llm_service as get_llm_service
    from llmroute.service.many import BatchResult as BatchResult
    from llmroute.service.options import Options as Options
    from llmroute.service.stream import Stream as Stream
    from llmroute.service.stream import SyncStream as SyncStream
    from llmroute.service.tracker import LLMTracker as LLMTracker
    from llmroute.service.tracker import get_llm_tracker as get_llm_tracker
    from llmroute.types import (
        AttemptRecord as AttemptRecord,
    )
    from llmroute.types import (
        LLMResponse as LLMResponse,
    )
    from llmroute.types import (
        ModelConfig as ModelConfig,
    )
    from llmroute.types import (
        Usage as Usage,
    )

# Each public name and where it lives: importing llmroute costs nothing until one is used.
_HOMES = {
    "AllProvidersFailedError": "llmroute.errors",
    "AttemptError": "llmroute.errors",
    "AttemptRecord": "llmroute.types",
    "AuthenticationError": "llmroute.errors",
    "BadOutputError": "llmroute.errors",
    "BadRequestError": "llmroute.errors",
    "BatchResult": "llmroute.service.many",
    "BudgetExceededError": "llmroute.errors",
    "ConfigError": "llmroute.errors",
    "ContentError": "llmroute.errors",
    "ContextLengthError": "llmroute.errors",
    "DeadlineError": "llmroute.errors",
    "EngineUnavailableError": "llmroute.errors",
    "FallbackChain": "llmroute.routing.chains",
    "IncompleteAnswerError": "llmroute.errors",
    "LLMResponse": "llmroute.types",
    "LLMRouteError": "llmroute.errors",
    "LLMService": "llmroute.service.api",
    "LLMTracker": "llmroute.service.tracker",
    "Ledger": "llmroute.ledger.store",
    "LedgerError": "llmroute.errors",
    "ModelConfig": "llmroute.types",
    "ModelGoneError": "llmroute.errors",
    "ModelRegistry": "llmroute.registry",
    "ModelRetiredError": "llmroute.errors",
    "NoCandidateError": "llmroute.errors",
    "Options": "llmroute.service.options",
    "ParameterError": "llmroute.errors",
    "Plan": "llmroute.routing.plan",
    "ProviderTimeoutError": "llmroute.errors",
    "QuotaError": "llmroute.errors",
    "RateLimitError": "llmroute.errors",
    "RequestError": "llmroute.errors",
    "RestingError": "llmroute.errors",
    "RoutingStrategy": "llmroute.routing.strategies",
    "Stream": "llmroute.service.stream",
    "SyncStream": "llmroute.service.stream",
    "TransientError": "llmroute.errors",
    "UnreachableError": "llmroute.errors",
    "Usage": "llmroute.types",
    "get_llm_service": "llmroute.service.factory",
    "get_llm_tracker": "llmroute.service.tracker",
}
__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 (the names are literals above)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
