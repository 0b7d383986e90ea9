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
    """Tokens of one attempt.

    None is "not reported", never zero. `input_tokens` is the whole prompt, including tokens that were read from a cache
    or written to one.  `output_tokens` includes reasoning.  `cache_write_1h_tokens` is the part of `cache_write_tokens`
    that Anthropic keeps for an hour at its own price. `source` is the origin of the counts: `reported` by the provider,
    `estimated` from the received answer, or `implausible`, an estimate instead of impossible counts.
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
    """The fields of an answer that set its price, beside its usage.

    `tier` is the service tier and `geo` the region, as named by the provider; `tools` are the numbers of uses of the
    provider's own tools.
    """

    tier: str | None = None
    geo: str | None = None
    tools: tuple[tuple[str, int], ...] = ()


class Completion(NamedTuple):
    """A complete answer, or the received part of an interrupted stream.

    `finish_reason` is a common one (`stop`, `length`, `content_filter`, `tool_calls`) where the provider's own has an
    equivalent, else the provider's own; None means that the provider reported none. `thinking` is separate and never
    part of `text`. `prompt_cut` is set if the prompt was truncated. `usage_final` is True for the final usage of the
    complete answer, False for an intermediate count.
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
    """A chunk of a streamed answer: new text, or facts about the answer, of which the last one counts."""

    text: str = ""
    thinking: str = ""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class AttemptRecord(Answered):
    """One call to one provider, as in `gen --json` and in the ledger."""

    provider: str
    model: str
    status: str
    error: str | None = None
    http_status: int | None = None
    latency_ms: int | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SkippedModel(Answered):
    """A model that ranked before the one that answered, and the reason why it was not called."""

    provider: str
    model: str
    reason: str


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class LLMResponse(Answered, Generic[Parsed]):
    """A complete answer with its cost and attempts; `as_dict()` is JSON-ready.

    Money is USD, all attempts of the request together, None where a price is unknown; time is milliseconds.
    `request_id` identifies the attempts in the ledger. `thinking` is the model's reasoning, if it is returned, and no
    part of `content`; `tool_calls` are the names of the tools that it called, `refusal` is the text of a refusal.
    `prompt_cut` describes the signs of a truncated prompt, None where there are none. `skipped` are models that ranked
    before the one that answered and were not called: those that the caller listed, or the strategy's first choice.
    `budget_cut` says how a budget shortened the answer, None where none did.
    `attachments` are those of the request, without their content. `parsed` is the document of a request with a schema:
    JSON values, or an instance of its pydantic class.
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
    budget_cut: str | None = None
    skipped: tuple[SkippedModel, ...] = ()
    attachments: tuple[AttachmentFacts, ...] = ()
    parsed: Parsed = None  # type: ignore[assignment]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-compatible data; an instance of a pydantic class becomes its document."""
        import json

        fields = Answered.as_dict(self)
        return fields if self.parsed is None else fields | {"parsed": json.loads(self.content)}

    def after(self, before: tuple[AttemptRecord, ...]) -> Self:
        """Return the answer with earlier attempts and their cost."""
        if not before:
            return self
        costs = [self.cost_usd, *(attempt.cost_usd for attempt in before)]
        cost_usd = None if None in costs else sum(cost for cost in costs if cost is not None)
        return replace(self, attempts=(*before, *self.attempts), cost_usd=cost_usd)


Check = Callable[[LLMResponse], Awaitable[bool | None] | bool | None]
"""A check of a complete response, synchronous or asynchronous: False or an exception rejects it."""
