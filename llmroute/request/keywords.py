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
    """How the model is chosen when `model` is not given."""
    chain: str | None
    """Try the models of this chain, in its order: one of `FallbackChain` by its name, or one of the configuration."""
    fallback: str | Sequence[str | tuple[str, str]]
    """The only fallbacks, by name or (provider, model), after `model` or the best of `provider` or `strategy`."""
    fallback_on: FallbackOn | None
    """`"content"`: try another model too when one refuses or filters the content."""
    task_type: Task | None
    """What the prompt is for; implies a capability, and is recorded in the ledger."""
    required_capability: Capability | Iterable[Capability] | None
    """What the model must be able to do: one capability, or several."""
    budget_remaining: float | None
    """USD that the request may cost at most, all attempts together, 0 to 1,000,000."""
    worth_usd: float | None
    """USD that a wrong answer costs, for the balanced strategy, 0 to 1,000,000; 0.20 unless configured."""
    on_budget: OnBudget | None
    """`"cheaper"`, or `"refuse"` (raise BudgetExceededError), the default of a `model` alone in `generate_many`."""
    max_latency_ms: int | None
    """Exclude models that are expected to take longer for the complete answer, in milliseconds."""
    min_quality: int | None
    """Exclude models of a lower quality, 0 to 100."""
    attachments: Sequence[AttachmentSource]
    """Images, PDFs and texts: paths, URLs, bytes, or an `Attachment` with a name and a media type."""
    attachment_type: str | None
    """The media type of the attachments, in place of what their content tells."""
    cache_prompt: bool
    """Mark the system prompt and the attachments for the provider's prompt cache, because other calls share them."""
    temperature: float | None
    """0 (the most likely tokens) to 2."""
    max_tokens: int | None
    """The longest answer in tokens, including reasoning."""
    effort: Effort | None
    """How much the model reasons before it answers."""
    tier: ServiceTier | None
    """standard, flex or priority at OpenAI, batch for `generate_batch`; only models with a price for it are called."""
    stop: str | Sequence[str] | None
    """End the answer before this text, or before any of these."""
    timeout_s: float | None
    """Seconds for the whole request, all attempts and waits together; 300 unless configured."""
    workspace_id: str | None
    """A label for cost reports and budgets."""
    execution_id: str | None
    """A label of the run that the request belongs to, for cost reports."""
    enable_fallback: bool | None
    """Whether another model is tried when one fails; True unless configured."""
    max_attempts: int | None
    """The most calls, 1 to 100; 8 unless configured, or as many as a chain or `fallback` lists."""
    check: Check | None
    """Accepts the response unless it returns False or raises; may be asynchronous.  Else the next model is asked."""
    max_rejections: int | None
    """The most answers that may be rejected, by `check` or a schema, 1 to 100; 7 unless given."""
    prefer_local: bool | None
    """Whether models of this machine rank before all others; False unless configured."""
    local_only: bool
    """Send nothing beyond this machine."""
    strict_params: bool
    """Use only models that take every parameter, instead of omitting those that a model does not take."""
    upgrade: bool | None
    """Whether a fallback may cost over three times as much as the first choice; True unless configured."""
    atomic: bool
    """Yield a streamed answer only when it is complete, so that fallback is possible until its end."""
