"""The words of the house: plain values that every layer passes on and none owns."""

# No postponed annotations, here and wherever a start of the program makes classes of many fields: they take twice the
# time to make.
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Self, get_args

from llmroute.text.redaction import shown
from llmroute.values import Answered

Role = Literal["user", "assistant"]
Effort = Literal["none", "low", "medium", "high"]
ModelSize = Literal["small", "medium", "large"]
OnBudget = Literal["cheaper", "refuse"]
FallbackOn = Literal["content"]
UsageSource = Literal["reported", "estimated", "implausible", "none"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
Strategy = Literal[
    "balanced", "cost_optimized", "latency_optimized", "quality_optimized", "local_first", "capability_match"
]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
Capability = Literal[
    "analysis", "code", "function_calling", "json", "long_context", "multilingual", "reasoning", "vision"
]
CAPABILITIES: tuple[Capability, ...] = get_args(Capability)

PICO_PER_USD = 10**12
MOST_ATTEMPTS = 100
"""As many calls as a request may ever be allowed."""


class Message(NamedTuple):
    """One turn of a conversation; the system prompt is apart, in `Prompt.system`."""

    role: Role
    content: str


class Prompt(NamedTuple):
    """What is asked of a model, before anybody chose the model.

    `None` means "not said": the provider's default holds.  `temperature` is 0 to 2,
    `max_tokens` counts output tokens, reasoning included.
    """

    messages: tuple[Message, ...]
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    effort: Effort | None = None
    streaming: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that a model reads: those of the messages, then the system prompt where there is one."""
        texts = tuple(message.content for message in self.messages)
        return (*texts, self.system) if self.system else texts


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
    """A prompt that a model did not read whole: the signs of it, in words, and the window that would have held it."""

    told: str
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


class HTTPRequest(NamedTuple):
    """A request as a provider renders it.  `body` is JSON text, ready to be sent.

    `window` is what a local server is asked to load the model with, where it has to be asked.
    """

    method: Literal["GET", "POST"]
    url: str
    headers: dict[str, str]
    body: bytes | None = None
    window: int | None = None

    def __repr__(self) -> str:
        """Tell everything but the headers, which hold the key, and a token in the address."""
        return f"HTTPRequest({self.method!r}, {shown(self.url)!r}, body={self.body!r})"


class PriceTier(NamedTuple):
    """Prices that hold for the whole request when its prompt is above `above` tokens."""

    above: int
    input: int | None
    output: int | None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None


class Price(NamedTuple):
    """Pico-USD per token: the same number as millionths of a USD per million tokens.

    None is an unknown price; zero is a real one.  `valid_from` and `valid_until` are ISO dates (until is included).
    `web_search` is pico-USD for each search of the provider's own tool.  `service_tiers` are the prices of other tiers
    of service than the standard one, by the word that an answer has for its tier.  `doubt` is the `CostBasis` of what
    is priced by it, where it has taken the place of a price whose end has passed.
    """

    input: int | None
    output: int | None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    tiers: tuple[PriceTier, ...] = ()
    valid_from: str | None = None
    valid_until: str | None = None
    web_search: int | None = None
    service_tiers: "tuple[tuple[str, Price], ...]" = ()
    doubt: Literal["estimated", "at_least"] | None = None


class ParameterLimits(NamedTuple):
    """What a model takes and refuses.

    `efforts` are the provider's own words for how hard the model may think; empty means that it takes none.
    `effort_form` says how effort goes out: `reasoning_effort` (a top-level word), `output_config` (Anthropic's
    adaptive thinking), `thinking_budget` (Anthropic's older token budget), `reasoning_enabled` (Together's switch),
    `think` (Ollama, true or false), `think_level` (Ollama, a word).
    """

    temperature: bool = True
    temperature_needs_effort_none: bool = False
    max_temperature: float | None = None
    stop: bool = True
    max_tokens_name: str = "max_tokens"
    efforts: tuple[str, ...] = ()
    effort_form: str | None = None
    default_effort: str | None = None


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What the catalogue knows of one model.  Dates are ISO (YYYY-MM-DD); unknown is None.

    `id` is the model's name in llmroute, `api_name` what its vendor calls it on the wire.
    `own_window` is the part of the window that the model's own settings on a local server ask for.
    `quality` is 0 to 100 (preference, not correctness; see the catalogue's attribution).
    `size` is the model's place among its maker's models; `follows` is the `provider/id` of its predecessor.
    `prices` is in order of `valid_from`, oldest first.
    """

    provider: str
    id: str
    api_name: str
    aliases: tuple[str, ...] = ()
    context_window: int | None = None
    max_output: int | None = None
    prices: tuple[Price, ...] = ()
    capabilities: frozenset[str] = frozenset()
    quality: int | None = None
    parameters: ParameterLimits = ParameterLimits()  # noqa: RUF009 (a tuple)
    deprecated_on: str | None = None
    retires_on: str | None = None
    successor: str | None = None
    size: ModelSize = "medium"
    follows: str | None = None
    as_of: str | None = None
    known: bool = True
    own_window: int | None = None
    facts: dict[str, object] = field(default_factory=dict, compare=False, repr=False)
    """The row as the catalogue holds it, for those who show it: sources, notes, the Arena row."""

    @property
    def name(self) -> str:
        """`provider/id`, as people write it."""
        return f"{self.provider}/{self.id}"

    @property
    def cost_per_1k_prompt(self) -> float | None:
        """USD per thousand prompt tokens at the newest list price, None where it is unknown."""
        return _per_1k(self.prices[-1].input) if self.prices else None

    @property
    def cost_per_1k_completion(self) -> float | None:
        """USD per thousand completion tokens at the newest list price, None where it is unknown."""
        return _per_1k(self.prices[-1].output) if self.prices else None

    @property
    def max_tokens(self) -> int | None:
        """The context window in tokens: prompt and answer together."""
        return self.context_window


def _per_1k(picousd_per_token: int | None) -> float | None:
    return None if picousd_per_token is None else picousd_per_token * 1000 / PICO_PER_USD


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
class LLMResponse(Answered):
    """A whole answer and what it took; `as_dict()` is JSON-ready.

    Money is USD, all attempts of the request together, None where a price is unknown; time is milliseconds.
    `request_id` is the one under which the ledger keeps the attempts.  `thinking` is what the model told of its
    reasoning, which is no part of `content`; `tool_calls` are the names of the tools that it called beside answering,
    `refusal` is what it said instead of some of the answer.  `prompt_cut` says by what signs the model did not read the
    whole prompt, None where there are none.
    `skipped` are models that were to come before the one
    that answered, and were not called: those that the caller listed, or the strategy's own first choice.
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

    def after(self, before: tuple[AttemptRecord, ...]) -> Self:
        """Return the answer with attempts that were made before its own, and what they cost."""
        if not before:
            return self
        costs = [self.cost_usd, *(attempt.cost_usd for attempt in before)]
        cost_usd = None if None in costs else sum(cost for cost in costs if cost is not None)
        return replace(self, attempts=(*before, *self.attempts), cost_usd=cost_usd)
