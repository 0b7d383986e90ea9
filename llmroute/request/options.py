"""What a caller may ask for, checked before anything is sent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Self, cast

from llmroute.errors import RequestError
from llmroute.request.option_types import KINDS, READ_AT_WILL, is_number, is_text, shown
from llmroute.routing.plan import TASK_CAPABILITY, Task
from llmroute.text.suggest import nearest
from llmroute.types import (
    CAPABILITIES,
    EFFORTS,
    MOST_ATTEMPTS,
    PICO_PER_USD,
    SERVICE_TIERS,
    STRATEGIES,
    Capability,
    Effort,
    FallbackOn,
    Message,
    OnBudget,
    Prompt,
    Role,
    ServiceTier,
    Strategy,
)
from llmroute.types.values import Value

if TYPE_CHECKING:
    from llmroute.routing.strategies import RoutingStrategy

MAX_TEMPERATURE = 2.0
MOST_USD = 10**6
# How many requests at once, unless told otherwise, and at most.
JOBS = 8
MOST_JOBS = 1024
ON_BUDGET: Final[tuple[OnBudget, ...]] = ("cheaper", "refuse")
FALLBACK_ON: Final[tuple[FallbackOn, ...]] = ("content",)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Options(Value):
    """One request as its caller put it; None is "not said".  Times are in the unit of their names, budgets in USD.

    `Choices` says of each what it means.
    """

    prompt: str | None = None
    system: str | None = None
    messages: Sequence[Mapping[str, str] | Message] | None = None
    provider: str | None = None
    model: str | None = None
    strategy: "Strategy | RoutingStrategy | None" = None
    chain: str | None = None
    fallback: str | Sequence[str | tuple[str, str]] = ()
    fallback_on: FallbackOn | None = None
    task_type: Task | None = None
    required_capability: Capability | Iterable[Capability] | None = None
    budget_remaining: float | None = None
    worth_usd: float | None = None
    on_budget: OnBudget | None = None
    max_latency_ms: int | None = None
    min_quality: int | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    effort: Effort | None = None
    tier: ServiceTier | None = None
    stop: str | Sequence[str] | None = None
    timeout_s: float | None = None
    workspace_id: str | None = None
    execution_id: str | None = None
    enable_fallback: bool | None = None
    max_attempts: int | None = None
    prefer_local: bool | None = None
    local_only: bool = False
    strict_params: bool = False
    upgrade: bool | None = None
    atomic: bool = False

    def __post_init__(self) -> None:
        """Keep what can be read only once, and bring to one form what may be written in several."""
        for name in ("messages", "fallback", "required_capability", "stop"):
            value = getattr(self, name)
            if not isinstance(value, READ_AT_WILL) and isinstance(value, Iterable):
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

    def rendered_prompt(self, *, streaming: bool) -> Prompt:
        """Return the prompt that a model gets.

        Raises:
            RequestError: something in it cannot be; says what, and what was expected.
        """
        _check_label("workspace", self.workspace_id, "workspace_id")
        _check_label("execution", self.execution_id, "execution_id")
        self._check_kinds()
        self._check_choices()
        self._check_ranges()
        if self.chain and (self.model or self.provider or self.fallback):
            raise RequestError(
                "a chain says itself which models are tried: leave out model, provider and fallback", option="chain"
            )
        return Prompt(
            messages=self._messages(),
            system=self.system or None,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            stop=_stop(self.stop),
            effort=self.effort,
            streaming=streaming,
            tier=self.tier,
        )

    def capabilities(self) -> frozenset[str]:
        """Return what the model must be able to do: what was asked for, and what the task implies."""
        implied = TASK_CAPABILITY[self.task_type] if self.task_type else None
        return self.asked_capabilities() | ({implied} if implied else set())

    def asked_capabilities(self) -> frozenset[str]:
        """Return what the model must be able to do, without what the task implies."""
        asked = self.required_capability or ()
        return frozenset((asked,) if isinstance(asked, str) else asked)

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """The models to try when the one before fails, by name."""
        return cast("tuple[str, ...]", self.fallback)

    @property
    def is_listed(self) -> bool:
        """Whether the models are listed one by one, in a chain or as fallbacks: each of them is to be called."""
        return bool(self.chain or self.fallback)

    @property
    def budget_picousd(self) -> int | None:
        """What all attempts together may cost."""
        return None if self.budget_remaining is None else as_picousd(self.budget_remaining)

    def _check_kinds(self) -> None:
        for name, value, default in zip(KINDS, _VALUES(self), _DEFAULTS, strict=True):
            if value is not default and not KINDS[name].fits(value):
                raise RequestError(f"{name}: {shown(value)} is not {KINDS[name].expected}", option=name)

    def _check_choices(self) -> None:
        require_one_of("on budget", self.on_budget, ON_BUDGET, option="on_budget")
        require_one_of("fallback on", self.fallback_on, FALLBACK_ON, option="fallback_on")
        require_one_of("strategy", self.strategy, STRATEGIES, option="strategy")
        require_one_of("task", self.task_type, TASK_CAPABILITY, option="task_type")
        require_one_of("tier", self.tier, SERVICE_TIERS, option="tier")
        require_one_of("effort", self.effort, EFFORTS, option="effort")
        asked = self.required_capability or ()
        for capability in (asked,) if isinstance(asked, str) else asked:
            require_one_of("capability", capability, CAPABILITIES, option="required_capability")

    def _check_ranges(self) -> None:
        check_range("temperature", self.temperature, 0, MAX_TEMPERATURE, option="temperature")
        check_range("max tokens", self.max_tokens, 1, 10**8, option="max_tokens")
        check_range("budget", self.budget_remaining, 0, MOST_USD, "USD", option="budget_remaining")
        check_range("worth", self.worth_usd, 0, MOST_USD, "USD", option="worth_usd")
        check_range("max latency", self.max_latency_ms, 1, 10**9, "milliseconds", option="max_latency_ms")
        check_range("min quality", self.min_quality, 0, 100, option="min_quality")
        check_range("max attempts", self.max_attempts, 1, MOST_ATTEMPTS, option="max_attempts")
        check_range("timeout", self.timeout_s, 0.001, 86_400, "seconds", option="timeout_s")

    def _messages(self) -> tuple[Message, ...]:
        if self.messages is not None and self.prompt:
            raise RequestError("prompt and messages were both given: give one", option="messages")
        if self.messages is not None:
            read = tuple(_message(message) for message in self.messages)
            if not read or not any(message.content.strip() for message in read):
                raise RequestError(
                    "the messages are empty", hint="give at least one with text in it", option="messages"
                )
            return read
        if not self.prompt or not self.prompt.strip():
            raise _no_prompt()
        return (Message("user", self.prompt),)


_VALUES = attrgetter(*KINDS)
_DEFAULTS = [Options.__dataclass_fields__[name].default for name in KINDS]


def _model_names(fallback: Any) -> Any:
    """Return models in a tuple by their names: one alone, and pairs as chains have them, are names too."""
    if isinstance(fallback, str):
        return (fallback,)
    if not isinstance(fallback, tuple | list):
        return () if fallback is None else fallback
    return tuple("/".join(each) if isinstance(each, tuple) and all(map(is_text, each)) else each for each in fallback)


def _no_prompt() -> RequestError:
    from llmroute.text.option_names import OptionText, Remedy

    return RequestError(
        "the prompt is empty",
        hint=OptionText("give it as ", Remedy("prompt", words="prompt, or the turns of a conversation as messages")),
        option="prompt",
    )


def _check_label(what: str, label: str | None, option: str) -> None:
    """Refuse what the ledger could not keep."""
    if label is None:
        return
    try:
        label.encode()
    except (AttributeError, UnicodeEncodeError):
        raise RequestError(f"the {what} {shown(label)} is no text that can be kept", option=option) from None


def as_picousd(usd: float) -> int:
    """Return a budget as pico-USD."""
    return round(usd * PICO_PER_USD)


def _message(message: Mapping[str, Any] | Message) -> Message:
    said, content = message if isinstance(message, Message) else (message.get("role"), message.get("content"))
    role: Role | None = "user" if said == "user" else "assistant" if said == "assistant" else None
    if role is None or not isinstance(content, str):
        raise RequestError(
            f"a message with role {said!r} cannot be sent",
            hint='messages are {"role": "user" or "assistant", "content": "text"}; the system prompt is apart',
            option="messages",
        )
    return Message(role, content)


def _stop(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    sequences = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if "" in sequences:
        raise RequestError("a stop sequence is empty", option="stop")
    return sequences


def require_one_of(what: str, value: str | None, allowed: Iterable[str], *, option: str | None = None) -> None:
    """Let a word pass that is one of those allowed, or none at all.

    Raises:
        RequestError: it is another; the hint says which is called nearly so.
    """
    words = tuple(allowed)
    if value is None or value in words:
        return
    near = nearest(str(value).lower(), words)
    raise RequestError(
        f"{what} {value!r} is none of {', '.join(words)}",
        hint=f"did you mean {near}?" if near else None,
        option=option,
    )


def check_range(  # noqa: PLR0913 (what is said of a number)
    what: str, value: float | None, least: float, most: float, unit: str = "", *, option: str | None = None
) -> None:
    """Refuse a number outside of its range; None is none.

    Raises:
        RequestError: says what was expected.
    """
    if value is None:
        return
    if not is_number(value):
        raise RequestError(f"{what} {shown(value)} is no number", option=option)
    if not least <= value <= most:
        figure = f"{value:g}" if isinstance(value, float) or abs(value) < 10**300 else "so large a number"
        expected = f"between {least:g} and {most:g}{' ' if unit else ''}{unit}"
        raise RequestError(f"{what} {figure} is not {expected}", option=option)
