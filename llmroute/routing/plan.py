"""What the router is asked, what it weighs, and what it answers."""

from collections.abc import Container, Mapping
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from llmroute.routing.token_estimate import PromptSize
from llmroute.types import Capability, ModelConfig, Price
from llmroute.worst_case import WorstCase

if TYPE_CHECKING:
    from llmroute.text.option_names import Remedy

SAME_CLASS = 3
"""A model that costs no more than so many times what another does is of its price class."""

Task = Literal["code_generation", "analysis", "translation", "long_document", "extraction", "chat"]
TASK_CAPABILITY: dict[Task, Capability | None] = {
    "code_generation": "code",
    "analysis": "reasoning",
    "translation": "multilingual",
    "long_document": "long_context",
    "extraction": "json",
    "chat": None,
}


class Weights(NamedTuple):
    """The weights of the balanced score; each term is weighted and summed."""

    cost: float = 0.35
    latency: float = 0.20
    quality: float = 0.35
    reliability: float = 0.10


class ModelStats(NamedTuple):
    """What this machine has learned of a model.

    `ttft_s` seconds to the first token and `s_per_token` seconds per output token, both already estimated from the
    past; None where nothing is known.  `success` is the probability that a call succeeds.
    `open_until_ms` is when a breaker that keeps the model out lets it in again, UTC milliseconds; one that fails open
    is tried all the same when everything else is out too.
    """

    ttft_s: float | None = None
    s_per_token: float | None = None
    success: float = 0.95
    open_until_ms: int | None = None
    open_because: str | None = None
    awake: bool = False
    """Whether it is called although it is left alone still."""
    fails_open: bool = True


class Candidate(NamedTuple):
    """A model that might be called: its facts, its price today, and whether it can be called from here at all.

    Costs are integer pico-USD for this request, None where the price is unknown.
    `typical_s` is the provider's documented typical answer, which counts while nothing was learned.
    `unusable` says why it cannot be called: no key, server down, retired.  None means that it can.
    """

    model: ModelConfig
    price: Price | None
    expected_cost_picousd: int | None
    worst_cost_picousd: int | None
    local: bool
    typical_s: float
    learned: ModelStats = ModelStats()
    unusable: str | None = None
    last_resort: bool = False
    worst: WorstCase | None = None
    """What it may cost while a budget binds, None where the price is unknown."""

    @property
    def least_worst_picousd(self) -> int | None:
        """The worst case of the shortest answer that a budget may cut it down to."""
        return self.worst_cost_picousd if self.worst is None else self.worst.least_picousd


class RoutingConstraints(NamedTuple):
    """What the request asks of the router.  Money is integer pico-USD."""

    strategy: str
    size: PromptSize
    capabilities: frozenset[str] = frozenset()
    local_only: bool = False
    prefer_local: bool = False
    max_latency_ms: int | None = None
    min_quality: int = 0
    budget_picousd: int | None = None
    default_provider: str | None = None
    unsupported: Mapping[str, str] = MappingProxyType({})
    """Model name to the parameter it refuses, where that must keep it out (`strict_params`)."""
    weights: Weights = Weights()
    upgrade: bool = True
    now_ms: int = 0


class RankedCandidate(NamedTuple):
    """A model in its place in the plan; the lower `score`, the better, by the strategy's own measure."""

    candidate: Candidate
    expected_latency_ms: int
    score: float
    terms: dict[str, float]

    @property
    def model(self) -> ModelConfig:
        """The model that is called."""
        return self.candidate.model


class Exclusion(NamedTuple):
    """A model that is out, and why, in words for a person.

    `admitted_by` are the options that would admit it, with the values that do, and none where no option would;
    `distance` is by what part of the caller's limits it misses them.
    `too_long` says that the request does not fit its window; `over_budget` is the candidate, where nothing but the
    request's budget keeps it out.
    """

    model: ModelConfig
    reason: str
    admitted_by: "tuple[Remedy, ...]" = ()
    distance: float = float("inf")
    too_long: bool = False
    over_budget: Candidate | None = None


class Skip(NamedTuple):
    """A model that is passed over when an entry of the plan is tried of which `rank`, or more, others come before.

    What the caller listed, or the strategy would have chosen, and why it is not tried in its turn.
    """

    model: ModelConfig
    reason: str
    rank: int = 0


class Plan(NamedTuple):
    """Models in the order in which they are tried, and every exclusion with its reason.

    `measure` is what a price jump is measured against, the first choice whether or not it can be called; None is the
    first entry.  `named` says that the caller listed the models, or the chain.
    """

    entries: tuple[RankedCandidate, ...]
    excluded: tuple[Exclusion, ...]
    strategy: str | None
    chain: str | None = None
    skipped: tuple[Skip, ...] = ()
    measure: Candidate | None = None
    named: bool = False

    @property
    def first_choice(self) -> Candidate:
        """The model that was wanted first, whether or not it can be called."""
        return self.measure or self.entries[0].candidate

    def after(self, first: Self) -> Self:
        """Return the plan without the models that `first`, the beginning of it, has."""
        known = {entry.model.name for entry in first.entries}
        return self._replace(entries=tuple(entry for entry in self.entries if entry.model.name not in known))

    def cheapest(self, *, but: Container[str] = ()) -> Candidate | None:
        """Return what could cost the least, of the entries and of what is over the budget, `but` some by name.

        None where no price is known.
        """
        over = [exclusion.over_budget for exclusion in self.excluded if exclusion.over_budget is not None]
        priced = (
            (least, one.model.name, one)
            for one in (*(entry.candidate for entry in self.entries), *over)
            if (least := one.least_worst_picousd) is not None and one.model.name not in but
        )
        return min(priced, key=itemgetter(0, 1), default=(0, "", None))[2]

    def led_by(self, entry: RankedCandidate) -> Self:
        """Return the plan with one of its entries before all others."""
        return self._replace(entries=(entry, *(other for other in self.entries if other is not entry)))
