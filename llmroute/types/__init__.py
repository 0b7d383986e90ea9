"""Shared value types, and the allowed values of options and settings."""

# No postponed annotations in this package and in other modules that define large classes at start: they double the time
# that dataclasses and named tuples take to define.
from typing import Literal, get_args

from llmroute.types.answer_schema import AnswerSchema
from llmroute.types.attachment import PDF, Attachment, AttachmentFacts, AttachmentKind
from llmroute.types.model import (
    CAPABILITIES,
    Capability,
    ModelConfig,
    ModelSize,
    ParameterLimits,
    Price,
    PriceTier,
)
from llmroute.types.money import MOST_USD, PICO_PER_USD, as_picousd
from llmroute.types.request import (
    AUTO,
    BATCH,
    EFFORTS,
    SERVICE_TIERS,
    CacheLife,
    CacheMark,
    Effort,
    HTTPRequest,
    Message,
    Prompt,
    Role,
    ServiceTier,
    Upload,
)
from llmroute.types.response import (
    AttemptRecord,
    Check,
    Chunk,
    Completion,
    LLMResponse,
    PromptCut,
    Service,
    SkippedModel,
    Usage,
    UsageSource,
)
from llmroute.types.values import Answered, Value

DEFAULT_PREFERENCE = 0.9
"""The factor on the scores of the default provider's models, unless configured."""
WARN_AT = 0.8
"""The share of a cap at which a warning is printed, unless configured."""
OnBudget = Literal["cheaper", "refuse"]
FallbackOn = Literal["content"]
Strategy = Literal[
    "balanced", "cost_optimized", "latency_optimized", "quality_optimized", "local_first", "capability_match"
]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
Dimension = Literal["model", "provider", "day", "hour", "workspace", "task", "strategy", "status", "execution", "tier"]
"""The keys by which costs are grouped."""
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
MOST_ATTEMPTS = 100
"""The largest number of attempts that a request may be allowed, and of rejected answers."""

__all__ = [
    "AUTO",
    "BATCH",
    "CAPABILITIES",
    "DEFAULT_PREFERENCE",
    "DIMENSIONS",
    "EFFORTS",
    "MOST_ATTEMPTS",
    "MOST_USD",
    "PDF",
    "PICO_PER_USD",
    "SERVICE_TIERS",
    "STRATEGIES",
    "WARN_AT",
    "AnswerSchema",
    "Answered",
    "Attachment",
    "AttachmentFacts",
    "AttachmentKind",
    "AttemptRecord",
    "CacheLife",
    "CacheMark",
    "Capability",
    "Check",
    "Chunk",
    "Completion",
    "Dimension",
    "Effort",
    "FallbackOn",
    "HTTPRequest",
    "LLMResponse",
    "Message",
    "ModelConfig",
    "ModelSize",
    "OnBudget",
    "ParameterLimits",
    "Price",
    "PriceTier",
    "Prompt",
    "PromptCut",
    "Role",
    "Service",
    "ServiceTier",
    "SkippedModel",
    "Strategy",
    "Upload",
    "Usage",
    "UsageSource",
    "Value",
    "as_picousd",
]
