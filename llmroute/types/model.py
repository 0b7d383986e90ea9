"""Model types: prices, parameter limits and the configuration of a model."""

# No postponed annotations: see `llmroute.types`.
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

ModelSize = Literal["small", "medium", "large"]
Capability = Literal[
    "analysis", "code", "function_calling", "json", "long_context", "multilingual", "reasoning", "vision"
]
CAPABILITIES: tuple[Capability, ...] = get_args(Capability)
PICO_PER_USD = 10**12


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
