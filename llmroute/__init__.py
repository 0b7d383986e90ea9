"""Route prompts over OpenAI, Anthropic, Mistral, Ollama and Together, with fallback, budgets and a cost ledger."""

from __future__ import annotations

from llmroute import defaults
from llmroute.version import __version__

# Not from typing, which takes long to import: an interrupt until `__main__` runs prints a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    # isort: off
    from typing import Any

    from llmroute.config import Config as Config
    from llmroute.config.provider_settings import ProviderSettings as ProviderSettings
    from llmroute.errors import (
        AllProvidersFailedError as AllProvidersFailedError,
        AttemptError as AttemptError,
        AuthenticationError as AuthenticationError,
        BadOutputError as BadOutputError,
        BadRequestError as BadRequestError,
        BudgetExceededError as BudgetExceededError,
        CheckError as CheckError,
        CheckFaultError as CheckFaultError,
        ConfigError as ConfigError,
        ConfigWriteError as ConfigWriteError,
        ContentError as ContentError,
        ContextLengthError as ContextLengthError,
        DeadlineError as DeadlineError,
        EngineUnavailableError as EngineUnavailableError,
        IncompleteAnswerError as IncompleteAnswerError,
        InterruptedRequestError as InterruptedRequestError,
        LedgerError as LedgerError,
        LLMRouteError as LLMRouteError,
        ModelGoneError as ModelGoneError,
        ModelRetiredError as ModelRetiredError,
        NoCandidateError as NoCandidateError,
        OutputError as OutputError,
        ParameterError as ParameterError,
        ProviderTimeoutError as ProviderTimeoutError,
        QuotaError as QuotaError,
        RateLimitError as RateLimitError,
        RejectedError as RejectedError,
        RequestError as RequestError,
        SchemaError as SchemaError,
        CircuitOpenError as CircuitOpenError,
        TransientError as TransientError,
        UnreachableError as UnreachableError,
        VendorReportError as VendorReportError,
    )
    from llmroute.ledger.sqlite.store import Ledger as Ledger
    from llmroute.registry import ModelRegistry as ModelRegistry
    from llmroute.routing.chains import FallbackChain as FallbackChain
    from llmroute.routing.plan import Plan as Plan
    from llmroute.routing.strategies import RoutingStrategy as RoutingStrategy
    from llmroute.service.client import LLMService as LLMService
    from llmroute.service.factory import get_llm_service as get_llm_service
    from llmroute.bulk.batch_result import BatchResult as BatchResult
    from llmroute.request.options import Options as Options
    from llmroute.planning.settings import load_config as load_config
    from llmroute.service.stream import (
        Stream as Stream,
        SyncStream as SyncStream,
    )
    from llmroute.service.costs.tracker import (
        LLMTracker as LLMTracker,
        get_llm_tracker as get_llm_tracker,
    )
    from llmroute.types import (
        Attachment as Attachment,
        AttachmentFacts as AttachmentFacts,
        AttemptRecord as AttemptRecord,
        LLMResponse as LLMResponse,
        Message as Message,
        ModelConfig as ModelConfig,
        Price as Price,
        SkippedModel as SkippedModel,
        Usage as Usage,
    )
    from llmroute.text.option_text import Remedy as Remedy
    # isort: on

# Each public name and where it lives: importing llmroute costs nothing until one is used.
_HOMES = {
    "AllProvidersFailedError": "llmroute.errors",
    "Attachment": "llmroute.types",
    "AttachmentFacts": "llmroute.types",
    "AttemptError": "llmroute.errors",
    "AttemptRecord": "llmroute.types",
    "AuthenticationError": "llmroute.errors",
    "BadOutputError": "llmroute.errors",
    "BadRequestError": "llmroute.errors",
    "BatchResult": "llmroute.bulk.batch_result",
    "BudgetExceededError": "llmroute.errors",
    "CheckError": "llmroute.errors",
    "CheckFaultError": "llmroute.errors",
    "Config": "llmroute.config",
    "ConfigError": "llmroute.errors",
    "ConfigWriteError": "llmroute.errors",
    "ContentError": "llmroute.errors",
    "ContextLengthError": "llmroute.errors",
    "DeadlineError": "llmroute.errors",
    "EngineUnavailableError": "llmroute.errors",
    "FallbackChain": "llmroute.routing.chains",
    "IncompleteAnswerError": "llmroute.errors",
    "LLMResponse": "llmroute.types",
    "LLMRouteError": "llmroute.errors",
    "LLMService": "llmroute.service.client",
    "LLMTracker": "llmroute.service.costs.tracker",
    "Ledger": "llmroute.ledger.sqlite.store",
    "InterruptedRequestError": "llmroute.errors",
    "LedgerError": "llmroute.errors",
    "OutputError": "llmroute.errors",
    "Message": "llmroute.types",
    "ModelConfig": "llmroute.types",
    "ModelGoneError": "llmroute.errors",
    "ModelRegistry": "llmroute.registry",
    "ModelRetiredError": "llmroute.errors",
    "NoCandidateError": "llmroute.errors",
    "Options": "llmroute.request.options",
    "ParameterError": "llmroute.errors",
    "Plan": "llmroute.routing.plan",
    "Price": "llmroute.types",
    "ProviderSettings": "llmroute.config.provider_settings",
    "ProviderTimeoutError": "llmroute.errors",
    "QuotaError": "llmroute.errors",
    "RateLimitError": "llmroute.errors",
    "Remedy": "llmroute.text.option_text",
    "RejectedError": "llmroute.errors",
    "RequestError": "llmroute.errors",
    "SchemaError": "llmroute.errors",
    "CircuitOpenError": "llmroute.errors",
    "RoutingStrategy": "llmroute.routing.strategies",
    "SkippedModel": "llmroute.types",
    "Stream": "llmroute.service.stream",
    "SyncStream": "llmroute.service.stream",
    "TransientError": "llmroute.errors",
    "UnreachableError": "llmroute.errors",
    "VendorReportError": "llmroute.errors",
    "Usage": "llmroute.types",
    "get_llm_service": "llmroute.service.factory",
    "get_llm_tracker": "llmroute.service.costs.tracker",
    "load_config": "llmroute.planning.settings",
}
__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 (the names are literals above)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "RestingError":
        import warnings

        warnings.warn("RestingError is now CircuitOpenError", DeprecationWarning, stacklevel=2)
        name = "CircuitOpenError"
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def _own_registry() -> ModelRegistry:
    from llmroute.planning.default_registry import own_registry

    return own_registry()


defaults.own_registry = _own_registry


def __dir__() -> list[str]:
    return sorted(__all__)
