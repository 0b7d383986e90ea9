"""The options of a request, declared once and checked before anything is sent."""

# ruff: noqa: RUF009 (declare returns a dataclass field)

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Self, cast, get_args

from llmroute.request.fields import (
    ATTACHMENTS,
    BOOL,
    CHECK,
    INTEGER,
    MESSAGES,
    NUMBER,
    SCHEMA,
    TEXT,
    TEXTS,
    RequestField,
    declare,
    is_text,
)
from llmroute.routing.plan import TASK_CAPABILITY, Task
from llmroute.text.suggest import nearest
from llmroute.types import (
    CAPABILITIES,
    EFFORTS,
    MOST_ATTEMPTS,
    MOST_USD,
    SERVICE_TIERS,
    STRATEGIES,
    AnswerSchema,
    Capability,
    Check,
    Effort,
    FallbackOn,
    Message,
    OnBudget,
    ServiceTier,
    Strategy,
    as_picousd,
)
from llmroute.types.attachment import AttachmentSource
from llmroute.types.values import Value

if TYPE_CHECKING:
    from llmroute.routing.strategies import RoutingStrategy

MAX_TEMPERATURE = 2
# Types that need no copy: they can be read again, or are rejected.
_RE_READABLE: Final = (type(None), tuple, list, str, bytes, bytearray, Mapping)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Options(Value):
    """One request; None means "not given".  Times are in the unit of their names, budgets in USD.

    To add an option, declare it here: its flag of `gen` and `stream`, its help and completion, the field of a line of a
    batch and all checks derive from the declaration.  Its type for callers of the library stands in `Choices` as well,
    which type checkers read; a test compares the two.  That of `schema` decides on the type of the response.
    """

    prompt: str | None = declare(TEXT)
    messages: Sequence[Mapping[str, str] | Message] | None = declare(MESSAGES)
    model: str | None = declare(
        TEXT, "provider/model, a bare model, an alias, or a family (its newest).", short="-m", panel="Model"
    )
    provider: str | None = declare(TEXT, "Use the best model of this provider.", short="-p", panel="Model")
    strategy: "Strategy | RoutingStrategy | None" = declare(
        TEXT, "How to choose the model; default balanced.", panel="Model", choices=STRATEGIES
    )
    chain: str | None = declare(TEXT, "Try the models of this chain, in its order.", panel="Model")
    fallback: str | Sequence[str | tuple[str, str]] = declare(
        TEXTS,
        "Try this model if the first one fails; repeatable, in order.",
        default=(),
        panel="Model",
    )
    fallback_on: FallbackOn | None = declare(
        TEXT,
        "content: also fall back when a model refuses or filters the content.",
        panel="Model",
        choices=get_args(FallbackOn),
    )
    enable_fallback: bool | None = declare(
        BOOL, "Try the first model only.", flag="no_fallback", negates=True, panel="Model"
    )
    upgrade: bool | None = declare(
        BOOL,
        "Never fall back to a model that costs over 3 times as much.",
        flag="no_upgrade",
        negates=True,
        panel="Model",
    )
    required_capability: Capability | Iterable[Capability] | None = declare(
        TEXTS,
        "A capability that the model must have, such as vision; repeatable.",
        flag="capability",
        panel="Model",
        choices=CAPABILITIES,
    )
    task_type: Task | None = declare(
        TEXT,
        "The kind of task, such as code_generation; selects models with its capability.",
        flag="task",
        panel="Model",
        choices=tuple(TASK_CAPABILITY),
    )
    worth_usd: float | None = declare(
        NUMBER,
        "Cost of a wrong answer in USD, for the balanced strategy; default 0.20.",
        flag="worth",
        panel="Model",
        between=(0, MOST_USD),
        unit="USD",
    )
    tier: ServiceTier | None = declare(
        TEXT,
        "standard, flex or priority at OpenAI; in a batch also batch (half price) and auto.",
        panel="Model",
        choices=SERVICE_TIERS,
    )
    strict_params: bool = declare(
        BOOL, "Use only models that support every parameter, instead of omitting some.", default=False, panel="Model"
    )
    prefer_local: bool | None = declare(BOOL, "Rank models on this machine before all others.", panel="Model")
    local_only: bool = declare(BOOL, "Use only models on this machine.", default=False, panel="Model")
    system: str | None = declare(TEXT, "The system prompt.", short="-s", panel="Answer", is_prompt_text=True)
    attachments: Sequence[AttachmentSource] = declare(
        ATTACHMENTS,
        "Attach an image, a PDF or text: a path, a URL, or - for stdin; repeatable.",
        default=(),
        flag="attach",
        short="-a",
        panel="Answer",
    )
    attachment_type: str | None = declare(
        TEXT, "Media type of the attachments; default: detected from their content.", flag="attach_type", panel="Answer"
    )
    cache_prompt: bool = declare(
        BOOL,
        "Cache the system prompt and attachments at the provider, for requests that share them.",
        default=False,
        panel="Answer",
    )
    temperature: float | None = declare(
        NUMBER, "Sampling temperature, 0 to 2.", short="-t", panel="Answer", between=(0, MAX_TEMPERATURE)
    )
    max_tokens: int | None = declare(
        INTEGER, "Maximum tokens of the answer, reasoning included.", panel="Answer", between=(1, 10**8)
    )
    effort: Effort | None = declare(
        TEXT, "Reasoning effort: none, low, medium or high.", panel="Answer", choices=EFFORTS
    )
    stop: str | Sequence[str] | None = declare(
        TEXTS, "End the answer before this text; repeatable.", panel="Answer", is_prompt_text=True
    )
    schema: AnswerSchema | Mapping[str, Any] | type | str | None = declare(
        SCHEMA,
        "Answer with JSON valid against this JSON Schema: a file, {...}, or 'name, age int'.",
        panel="Answer",
        complete_only=True,
    )
    check: Check | None = declare(
        CHECK,
        "Accept the answer only if this command, which gets it on stdin, exits with 0.",
        panel="Answer",
        complete_only=True,
    )
    atomic: bool = declare(
        BOOL,
        "Print the answer only when complete; a failure before its end can fall back.",
        default=False,
        panel="Answer",
        streaming_only=True,
    )
    budget_remaining: float | None = declare(
        NUMBER,
        "Maximum cost of the request in USD, fallbacks included.",
        flag="budget",
        panel="Limits",
        between=(0, MOST_USD),
        unit="USD",
    )
    on_budget: OnBudget | None = declare(
        TEXT,
        "cheaper: use a model that fits the budgets; refuse: exit with 5, the default of a batch with a model.",
        panel="Limits",
        choices=get_args(OnBudget),
    )
    max_latency_ms: int | None = declare(
        INTEGER,
        "Maximum expected time of the answer in milliseconds.",
        flag="max_latency",
        panel="Limits",
        between=(1, 10**9),
        unit="milliseconds",
    )
    min_quality: int | None = declare(
        INTEGER, "Minimum quality of the model, 0 to 100.", panel="Limits", between=(0, 100)
    )
    timeout_s: float | None = declare(
        NUMBER,
        "Time limit of the whole request in seconds; default 300.",
        flag="timeout",
        panel="Limits",
        between=(0.001, 86_400),
        unit="seconds",
    )
    max_attempts: int | None = declare(
        INTEGER,
        "Maximum number of attempts; default 8, or one per model of a list.",
        panel="Limits",
        between=(1, MOST_ATTEMPTS),
    )
    max_rejections: int | None = declare(
        INTEGER,
        "Maximum number of rejected answers; default 7.",
        panel="Limits",
        between=(1, MOST_ATTEMPTS),
        complete_only=True,
    )
    workspace_id: str | None = declare(TEXT, "Label for cost reports and budgets.", flag="workspace", panel="Bill")
    execution_id: str | None = declare(
        TEXT, "Label of the run or job, for cost reports.", flag="execution", panel="Bill"
    )

    def __post_init__(self) -> None:
        """Store iterators as tuples, and bring values that have several forms to one."""
        for name in ("messages", "fallback", "required_capability", "attachments", "stop"):
            value = getattr(self, name)
            if not isinstance(value, _RE_READABLE) and isinstance(value, Iterable):
                object.__setattr__(self, name, tuple(value))
        if isinstance(self.required_capability, list):
            object.__setattr__(self, "required_capability", tuple(self.required_capability))
        if self.fallback != ():
            object.__setattr__(self, "fallback", _model_names(self.fallback))
        if isinstance(self.strategy, str) and type(self.strategy) is not str:
            object.__setattr__(self, "strategy", str.__str__(self.strategy))

    @classmethod
    def of_call(cls, method: str, prompt: str | None, choices: Mapping[str, Any]) -> Self:
        """Return the options that a method was called with.

        Raises:
            TypeError: there is no such option; the message names the method.
        """
        for name in choices:
            if name not in cls.__match_args__:
                near = nearest(name, cls.__match_args__)
                hint = f"; did you mean {near}?" if near else ""
                raise TypeError(f"{method}() got an unexpected keyword argument {name!r}{hint}")
        return cls(prompt=prompt, **choices)

    def capabilities(self) -> frozenset[str]:
        """Return the required capabilities, those that the task and a schema imply included."""
        implied = {TASK_CAPABILITY[self.task_type] if self.task_type else None, "json" if self.schema else None}
        return self.given_capabilities() | {capability for capability in implied if capability is not None}

    def given_capabilities(self) -> frozenset[str]:
        """Return the required capabilities, without those that are implied."""
        given = self.required_capability or ()
        return frozenset((given,) if isinstance(given, str) else given)

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """The names of the models to try, each when the one before fails."""
        return cast("tuple[str, ...]", self.fallback)

    @property
    def is_listed(self) -> bool:
        """Whether the caller lists the models to call, in a chain or as fallbacks."""
        return bool(self.chain or self.fallback)

    @property
    def budget_picousd(self) -> int | None:
        """The most that all attempts together may cost."""
        return None if self.budget_remaining is None else as_picousd(self.budget_remaining)


def _declared(name: str, declared: RequestField) -> RequestField:
    return declared if declared.flag else declared._replace(flag=name)


FIELDS: Final = {each.name: _declared(each.name, each.metadata["request"]) for each in fields(Options)}
"""The declaration of each field of a request, by the name of the field."""
VALUES = attrgetter(*FIELDS)
DEFAULTS = [each.default for each in fields(Options)]


def _model_names(fallback: Any) -> Any:
    """Return models as a tuple of names, from one name, or names and (provider, model) pairs."""
    if isinstance(fallback, str):
        return (fallback,)
    if not isinstance(fallback, tuple | list):
        return () if fallback is None else fallback
    return tuple("/".join(each) if isinstance(each, tuple) and all(map(is_text, each)) else each for each in fallback)
