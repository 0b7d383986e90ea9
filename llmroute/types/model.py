"""Model types: prices, parameter limits and the configuration of a model."""

# No postponed annotations: see `llmroute.types`.
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from llmroute.types.money import PICO_PER_USD

ModelSize = Literal["small", "medium", "large"]
Capability = Literal[
    "analysis", "code", "function_calling", "json", "long_context", "multilingual", "pdf", "reasoning", "vision"
]
CAPABILITIES: tuple[Capability, ...] = get_args(Capability)


class PriceTier(NamedTuple):
    """Prices of a request whose prompt is longer than `above` tokens."""

    above: int
    input: int | None
    output: int | None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None


class Price(NamedTuple):
    """Pico-USD per token: the same number as micro-USD per million tokens.

    None is an unknown price, zero is free.  `valid_from` and `valid_until` are ISO dates (both inclusive).
    `web_search` is pico-USD per search of the provider's own tool.  `service_tiers` are the prices of service tiers
    other than the standard one, by their name in responses.  `doubt` is the `CostBasis` of costs at this price, if it
    replaces a price whose `valid_until` has passed.
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
    """Which parameters a model supports.

    `efforts` are the provider's names of reasoning efforts; empty means that it supports none.  `effort_form` is the
    form of the effort in requests: `reasoning_effort` (a top-level word), `output_config` (Anthropic's
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
    """A model of the catalogue.  Dates are ISO (YYYY-MM-DD); unknown is None.

    `id` is the model's name in llmroute, `api_name` its name in requests.
    `cache_min_tokens` is the shortest beginning of a prompt that a marked cache keeps.
    `own_window` is the context window, in tokens, in the model's settings on a local server.
    `batch_queue_tokens` is the most tokens of prompts that may wait at the batch API, by the account of the user.
    `quality` is 0 to 100 (preference, not correctness; see the catalogue's attribution).
    `size` is relative to the provider's other models; `follows` is the `provider/id` of its predecessor.
    `prices` is in order of `valid_from`, oldest first.  `known` is False for a model that is not in the catalogue.
    """

    provider: str
    id: str
    api_name: str
    aliases: tuple[str, ...] = ()
    context_window: int | None = None
    max_output: int | None = None
    cache_min_tokens: int | None = None
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
    batch_queue_tokens: int | None = None
    facts: dict[str, object] = field(default_factory=dict, compare=False, repr=False)
    """The complete catalogue row, for display: sources, notes, the Arena row."""

    @property
    def name(self) -> str:
        """`provider/id`."""
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
