"""The input and output of the router: constraints, candidates and the plan."""

from collections.abc import Container, Mapping
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from llmroute.routing.check_results import CheckResults
from llmroute.routing.output_length import Answers, OutputLength
from llmroute.routing.token_estimate import PromptSize
from llmroute.types import DEFAULT_PREFERENCE, AttachmentFacts, Capability, ModelConfig, Price
from llmroute.worst_case import WorstCase

if TYPE_CHECKING:
    from llmroute.text.option_text import Remedy

UNRATED = 50
"""The quality of a model of which nothing is known."""
TYPICAL_OUTPUT = OutputLength(500, 0)
SAME_CLASS = 3
"""A model that costs up to so many times as much as another is in the same price class."""

Task = Literal["code_generation", "analysis", "translation", "long_document", "extraction", "chat"]
TASK_CAPABILITY: dict[Task, Capability | None] = {
    "code_generation": "code",
    "analysis": "reasoning",
    "translation": "multilingual",
    "long_document": "long_context",
    "extraction": "json",
    "chat": None,
}


class Balance(NamedTuple):
    """The costs that the balanced strategy adds to the price, in USD: of a wrong answer, and of a second of waiting.

    The defaults were chosen on public results of 18 models with 240 hard prompts, and hold on short answers too.
    """

    wrong_answer_usd: float = 0.20
    second_usd: float = 0.000_05


class ModelStats(NamedTuple):
    """Statistics of a model from earlier requests.

    Attributes:
        ttft_s: expected seconds to the first token, None if unknown.
        s_per_token: expected seconds per output token, None if unknown.
        success: the probability that a request succeeds.
        open_until_ms: when its open circuit half-opens, UTC milliseconds; None if closed.
        open_because: why the circuit is open, as shown to the user.
        ignore_circuit: whether to call it although its circuit is open.
        fails_open: whether to call it in spite of its open circuit when no other model can be called.
        called: whether it was called lately, with whatever outcome.
    """

    ttft_s: float | None = None
    s_per_token: float | None = None
    success: float = 0.95
    open_until_ms: int | None = None
    open_because: str | None = None
    ignore_circuit: bool = False
    fails_open: bool = True
    called: bool = False
    answers: Answers = Answers()
    """Complete answers at the effort of the request, to all tasks."""
    task_answers: Answers = Answers()
    """Those of them to the task of the request."""
    check_results: CheckResults = CheckResults()
    """Verdicts of the caller's checks on answers to the task of the request."""
    cached_share: float = 0.0
    """The expected share of the input that is read from a prompt cache, 0 to 1."""


class Candidate(NamedTuple):
    """A model that could serve the request, with its price today and its statistics.

    Attributes:
        expected_cost_picousd: for this request, integer pico-USD; None if the price is unknown.
        worst_cost_picousd: likewise, at most.
        typical_cost_picousd: likewise, for a completion of typical length: it compares the prices of models.
        typical_s: typical seconds to a complete answer of the provider, used while `stats` has no latency.
        quality: 0 to 100; `quality_basis` says what it is based on (a rating, a predecessor's, the price).
        output: expected output tokens.
        unusable: why it cannot be called (no key, server down, retired); None if it can.
        provider_unusable: whether that reason holds for every model of the provider.
        last_resort: whether it is used only if no other model can be called.
        tiers: service tiers other than the standard one that can be requested and have a known price.
        any_tier: whether a request without a service tier may be served at any tier, as a gateway chooses it.
        worst: its worst case under a budget; None if the price is unknown.
    """

    model: ModelConfig
    price: Price | None
    expected_cost_picousd: int | None
    worst_cost_picousd: int | None
    local: bool
    typical_s: float
    quality: int = UNRATED
    quality_basis: str = "rated"
    output: OutputLength = TYPICAL_OUTPUT
    typical_cost_picousd: int | None = None
    stats: ModelStats = ModelStats()
    unusable: str | None = None
    last_resort: bool = False
    tiers: frozenset[str] = frozenset()
    any_tier: bool = False
    worst: WorstCase | None = None
    provider_unusable: bool = False

    @property
    def least_worst_picousd(self) -> int | None:
        """The worst case of the shortest completion that a budget may limit it to."""
        return self.worst_cost_picousd if self.worst is None else self.worst.least_picousd


class RoutingConstraints(NamedTuple):
    """The constraints of a request on its models.  Money is integer pico-USD."""

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
    """Model name to the parameter it does not accept, if that excludes it (`strict_params`)."""
    tier: str | None = None
    balance: Balance = Balance()
    checked: bool = False
    """Whether a check of the caller accepts or rejects answers."""
    default_preference: float = DEFAULT_PREFERENCE
    upgrade: bool = True
    now_ms: int = 0


class RankedCandidate(NamedTuple):
    """A candidate that can serve the request, with its score; lower is better, in the unit of the strategy.

    The score is None where it depends on an unknown price.
    """

    candidate: Candidate
    expected_latency_ms: int
    score: float | None
    terms: dict[str, float]

    @property
    def model(self) -> ModelConfig:
        """The model to call."""
        return self.candidate.model


class Exclusion(NamedTuple):
    """A model that cannot serve the request, and the reason to show.

    Attributes:
        admitted_by: the options, with their values, that would allow it; empty if none would.
        distance: how far it misses the limits of the caller, as a fraction of them.
        too_long: whether the request does not fit its context window.
        unfit: whether the provider does not take the attachments.
        lacks_tier: whether it has no known price for the service tier, whatever else the reason is.
        lacks_medium: whether it does not take the kind of an attachment, whatever else the reason is.
        over_budget: the candidate, if only the budget of the request excludes it.
        whole_provider: whether the reason holds for every model of the provider, and names the provider.
    """

    model: ModelConfig
    reason: str
    admitted_by: "tuple[Remedy, ...]" = ()
    distance: float = float("inf")
    too_long: bool = False
    over_budget: Candidate | None = None
    whole_provider: bool = False
    unfit: bool = False
    lacks_tier: bool = False
    lacks_medium: bool = False


class Skip(NamedTuple):
    """A model that the caller listed, or the strategy ranked first, and that is not called.

    It counts as skipped when an entry of the plan is called that has `rank` or more entries before it.
    """

    model: ModelConfig
    reason: str
    rank: int = 0


class Plan(NamedTuple):
    """The models to call, in order, and every exclusion with its reason.

    Attributes:
        measure: the candidate that prices are compared with: the first choice, even if it cannot be called; None
            means the first entry.
        named: whether the caller listed the models or the chain.
        attachments: those of the request; only in a plan for display.
    """

    entries: tuple[RankedCandidate, ...]
    excluded: tuple[Exclusion, ...]
    strategy: str | None
    chain: str | None = None
    skipped: tuple[Skip, ...] = ()
    measure: Candidate | None = None
    named: bool = False
    attachments: tuple[AttachmentFacts, ...] = ()

    @property
    def first_choice(self) -> Candidate:
        """The first choice, even if it cannot be called."""
        return self.measure or self.entries[0].candidate

    def after(self, first: Self) -> Self:
        """Return the plan without the models of `first`, its beginning."""
        known = {entry.model.name for entry in first.entries}
        return self._replace(entries=tuple(entry for entry in self.entries if entry.model.name not in known))

    def cheapest(self, *, but: Container[str] = ()) -> Candidate | None:
        """Return the candidate with the lowest worst case, also of those over the budget, except the names in `but`.

        None if no price is known.
        """
        over = [exclusion.over_budget for exclusion in self.excluded if exclusion.over_budget is not None]
        priced = (
            (least, one.model.name, one)
            for one in (*(entry.candidate for entry in self.entries), *over)
            if (least := one.least_worst_picousd) is not None and one.model.name not in but
        )
        return min(priced, key=itemgetter(0, 1), default=(0, "", None))[2]

    def led_by(self, entry: RankedCandidate) -> Self:
        """Return the plan with one of its entries moved to the front."""
        return self._replace(entries=(entry, *(other for other in self.entries if other is not entry)))
