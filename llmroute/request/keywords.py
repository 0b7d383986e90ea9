"""The options of a request as keywords of the library, with their descriptions, for editors and type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from llmroute.routing.plan import Task
    from llmroute.routing.strategies import RoutingStrategy
    from llmroute.types import Capability, Check, Effort, FallbackOn, Message, OnBudget, ServiceTier, Strategy
    from llmroute.types.attachment import AttachmentSource


class Choices(TypedDict, total=False):
    """The fields of `Options` but the prompt and the schema.  None: the configuration or the provider decides."""

    system: str | None
    """The system prompt."""
    messages: Sequence[Mapping[str, str] | Message] | None
    """A conversation in place of a prompt: `{"role": "user" or "assistant", "content": "text"}`, in order."""
    provider: str | None
    """Use the best model of this provider: openai, anthropic, mistral, together, ollama or builtin."""
    model: str | None
    """Use this model: `provider/model`, its bare name, or an alias.  Other models are fallbacks."""
    strategy: Strategy | RoutingStrategy | None
    """How to choose the model when `model` is not given."""
    chain: str | None
    """Try the models of this chain, in its order: one of `FallbackChain` by its name, or one of the configuration."""
    fallback: str | Sequence[str | tuple[str, str]]
    """The only fallbacks, by name or (provider, model), after `model` or the best of `provider` or `strategy`."""
    fallback_on: FallbackOn | None
    """`"content"`: also fall back when a model refuses or filters the content."""
    task_type: Task | None
    """The kind of task; selects models with its capability, and is recorded in the ledger."""
    required_capability: Capability | Iterable[Capability] | None
    """One or more capabilities that the model must have."""
    budget_remaining: float | None
    """Maximum cost in USD of the request with all attempts, 0 to 1,000,000."""
    worth_usd: float | None
    """Cost of a wrong answer in USD, for the balanced strategy, 0 to 1,000,000; 0.20 unless configured."""
    on_budget: OnBudget | None
    """`"cheaper"`, or `"refuse"` (raise BudgetExceededError), the default of a `model` alone in `generate_many`."""
    max_latency_ms: int | None
    """Exclude models that are expected to take longer for the complete answer, in milliseconds."""
    min_quality: int | None
    """Exclude models of a lower quality, 0 to 100."""
    attachments: Sequence[AttachmentSource]
    """Images, PDFs and texts: paths, URLs, bytes, or an `Attachment` with a name and a media type."""
    attachment_type: str | None
    """The media type of the attachments; detected from their content unless given."""
    cache_prompt: bool
    """Cache the system prompt and the attachments at the provider, for requests that share them."""
    temperature: float | None
    """0 (the most likely tokens) to 2."""
    max_tokens: int | None
    """Maximum tokens of the answer, including reasoning."""
    effort: Effort | None
    """How much the model reasons before it answers."""
    tier: ServiceTier | None
    """standard, flex or priority at OpenAI, batch for `generate_batch`; only models with a price for it are called."""
    stop: str | Sequence[str] | None
    """End the answer before this text, or before any of these."""
    timeout_s: float | None
    """Time limit in seconds of the request with all attempts and waits; 300 unless configured."""
    workspace_id: str | None
    """A label for cost reports and budgets."""
    execution_id: str | None
    """A label of the run that the request belongs to, for cost reports."""
    enable_fallback: bool | None
    """Whether another model is tried when one fails; True unless configured."""
    max_attempts: int | None
    """Maximum number of attempts, 1 to 100; 8 unless configured, or as many as a chain or `fallback` lists."""
    check: Check | None
    """Accepts the response unless it returns False or raises; else the next model is called.  May be asynchronous."""
    max_rejections: int | None
    """Maximum number of answers rejected by `check` or a schema, 1 to 100; 7 unless given."""
    prefer_local: bool | None
    """Whether models on this machine rank before all others; False unless configured."""
    local_only: bool
    """Use only models on this machine."""
    strict_params: bool
    """Use only models that support every parameter, instead of omitting unsupported ones."""
    upgrade: bool | None
    """Whether a fallback may cost over three times as much as the first choice; True unless configured."""
    atomic: bool
    """Yield a streamed answer only when it is complete, so that fallback is possible until its end."""
