"""Response types: usage, completions, chunks, attempts and the response of a request."""

# No postponed annotations: see `llmroute.types`.
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Self, TypeVar

from llmroute.types.attachment import AttachmentFacts
from llmroute.types.values import Answered

if TYPE_CHECKING:
    import typing_extensions

    Parsed = typing_extensions.TypeVar("Parsed", default=Any)
else:
    Parsed = TypeVar("Parsed")

UsageSource = Literal["reported", "estimated", "implausible", "none"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Usage(Answered):
    """Tokens of one attempt.  None is "not told", never zero.

    `input_tokens` is the whole prompt: what was read from a cache and what was written
    to one is part of it.  `output_tokens` includes reasoning.  `cache_write_1h_tokens` is
    the part of `cache_write_tokens` that Anthropic keeps for an hour at its own price.
    `source` says where the counts come from: `reported` by the provider, `estimated` from what was seen of the answer,
    or `implausible`, which is an estimate in place of counts that cannot be.
    """

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    source: UsageSource = "none"


class PromptCut(NamedTuple):
    """A prompt that was truncated: the sign of it in the usage, and the window that would have held it."""

    warning: str
    window: int


class Service(NamedTuple):
    """What an answer tells of how it was made that sets its price, beside its usage.

    `tier` is the tier of service and `geo` where the model ran, in the provider's words; `tools` says how often each
    tool of the provider's own was used.
    """

    tier: str | None = None
    geo: str | None = None
    tools: tuple[tuple[str, int], ...] = ()


class Completion(NamedTuple):
    """A whole answer, or what a stream had told of it when it ended.

    `finish_reason` is the field's common word (`stop`, `length`, `content_filter`, `tool_calls`) where the
    provider's own word means that, else the provider's own word; None means that the provider never said how it ended.
    `thinking` is kept apart and is never part of `text`.
    `prompt_cut` is set where the prompt was not read whole.  `usage_final` says that the usage is the provider's last
    word on the whole answer, rather than a count on the way.
    """

    text: str = ""
    finish_reason: str | None = None
    usage: Usage = Usage()
    model: str | None = None
    request_id: str | None = None
    thinking: str = ""
    refusal: str | None = None
    tool_calls: tuple[str, ...] = ()
    warning: str | None = None
    prompt_cut: PromptCut | None = None
    usage_final: bool = False
    service: Service = Service()


class Chunk(NamedTuple):
    """A piece of a streamed answer: new text, or news about the whole (its last word wins)."""

    text: str = ""
    thinking: str = ""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class AttemptRecord(Answered):
    """One call to one provider as it is told in `gen --json` and kept in the ledger."""

    provider: str
    model: str
    status: str
    error: str | None = None
    http_status: int | None = None
    latency_ms: int | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SkippedModel(Answered):
    """A model that was to come before the one that answered, and why it was not called."""

    provider: str
    model: str
    reason: str


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class LLMResponse(Answered, Generic[Parsed]):
    """A whole answer and what it took; `as_dict()` is JSON-ready.

    Money is USD, all attempts of the request together, None where a price is unknown; time is milliseconds.
    `request_id` is the one under which the ledger keeps the attempts.  `thinking` is what the model told of its
    reasoning, which is no part of `content`; `tool_calls` are the names of the tools that it called beside answering,
    `refusal` is what it said instead of some of the answer.  `prompt_cut` says by what signs the model did not read the
    whole prompt, None where there are none.
    `skipped` are models that were to come before the one
    that answered, and were not called: those that the caller listed, or the strategy's own first choice.
    `attachments` are those of the request, without their content.
    `parsed` is the document of a request with a schema: JSON values, or an instance of its pydantic class.
    """

    content: str
    provider: str
    model: str
    usage: Usage
    cost_usd: float | None
    latency_ms: int
    ttft_ms: int | None
    finish_reason: str | None
    attempts: tuple[AttemptRecord, ...]
    request_id: str
    strategy: str | None = None
    chain: str | None = None
    thinking: str = ""
    tool_calls: tuple[str, ...] = ()
    refusal: str | None = None
    prompt_cut: str | None = None
    skipped: tuple[SkippedModel, ...] = ()
    attachments: tuple[AttachmentFacts, ...] = ()
    parsed: Parsed = None  # type: ignore[assignment]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-compatible data; an instance of a model class as the document that it is of."""
        import json

        fields = Answered.as_dict(self)
        return fields if self.parsed is None else fields | {"parsed": json.loads(self.content)}

    def after(self, before: tuple[AttemptRecord, ...]) -> Self:
        """Return the answer with attempts that were made before its own, and what they cost."""
        if not before:
            return self
        costs = [self.cost_usd, *(attempt.cost_usd for attempt in before)]
        cost_usd = None if None in costs else sum(cost for cost in costs if cost is not None)
        return replace(self, attempts=(*before, *self.attempts), cost_usd=cost_usd)


Check = Callable[[LLMResponse], Awaitable[bool | None] | bool | None]
"""A check of a complete response, synchronous or asynchronous: False or an exception rejects it."""
