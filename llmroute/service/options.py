"""What a caller may ask for, checked before anything is sent."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from llmroute.config import STRATEGIES
from llmroute.errors import RequestError
from llmroute.nearest import nearest
from llmroute.routing.plan import CAPABILITIES, TASK_CAPABILITY
from llmroute.types import EFFORTS, PICO_PER_USD, Effort, Message, Prompt, Role

MAX_TEMPERATURE = 2.0
MOST_USD = 10**6
# How many requests at once, unless told otherwise, and at most.
JOBS = 8
MOST_JOBS = 1024
ON_BUDGET = ("cheaper", "refuse")
FALLBACK_ON = ("content",)


class Choices(TypedDict, total=False):
    """The fields of `Options` but the prompt, as keywords: what `generate` takes, for editors and type checkers."""

    system: str | None
    messages: Sequence[Mapping[str, str]] | None
    provider: str | None
    model: str | None
    strategy: str | None
    chain: str | None
    fallback: Sequence[str]
    fallback_on: str | None
    task_type: str | None
    required_capability: str | Iterable[str] | None
    budget_remaining: float | None
    on_budget: str
    max_latency_ms: int | None
    min_quality: int | None
    temperature: float | None
    max_tokens: int | None
    effort: str | None
    stop: str | Sequence[str] | None
    timeout_s: float | None
    workspace_id: str | None
    execution_id: str | None
    enable_fallback: bool | None
    prefer_local: bool | None
    local_only: bool
    strict_params: bool
    upgrade: bool | None
    atomic: bool


@dataclass(frozen=True, slots=True)
class Options:
    """One request as its caller put it; None is "not said".  Times are in the unit of their names, budgets in USD."""

    prompt: str | None = None
    system: str | None = None
    messages: Sequence[Mapping[str, str]] | None = None
    provider: str | None = None
    model: str | None = None
    strategy: str | None = None
    chain: str | None = None
    fallback: Sequence[str] = ()
    fallback_on: str | None = None
    task_type: str | None = None
    required_capability: str | Iterable[str] | None = None
    budget_remaining: float | None = None
    on_budget: str = "cheaper"
    max_latency_ms: int | None = None
    min_quality: int | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    effort: str | None = None
    stop: str | Sequence[str] | None = None
    timeout_s: float | None = None
    workspace_id: str | None = None
    execution_id: str | None = None
    enable_fallback: bool | None = None
    prefer_local: bool | None = None
    local_only: bool = False
    strict_params: bool = False
    upgrade: bool | None = None
    atomic: bool = False

    def __post_init__(self) -> None:
        """Keep what can be read only once."""
        asked = self.required_capability
        if asked is not None and not isinstance(asked, str):
            object.__setattr__(self, "required_capability", tuple(asked))

    def rendered_prompt(self, *, streaming: bool) -> Prompt:
        """Return the prompt that a model gets.

        Raises:
            RequestError: something in it cannot be; says what, and what was expected.
        """
        self._check_choices()
        self._check_ranges()
        _check_label("workspace", self.workspace_id)
        _check_label("execution", self.execution_id)
        if self.chain and (self.model or self.provider or self.fallback):
            raise RequestError("a chain says itself which models are tried: leave out model, provider and fallback")
        return Prompt(
            messages=self._messages(),
            system=self.system or None,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            stop=_stop(self.stop),
            effort=_effort(self.effort),
            streaming=streaming,
        )

    def capabilities(self) -> frozenset[str]:
        """Return what the model must be able to do: what was asked for, and what the task implies."""
        asked = self.required_capability or ()
        wanted = {asked} if isinstance(asked, str) else set(asked)
        implied = TASK_CAPABILITY[self.task_type] if self.task_type else None
        return frozenset(wanted | {implied} if implied else wanted)

    @property
    def budget_picousd(self) -> int | None:
        """What all attempts together may cost."""
        return None if self.budget_remaining is None else as_picousd(self.budget_remaining)

    def _check_choices(self) -> None:
        require_one_of("on budget", self.on_budget, ON_BUDGET)
        require_one_of("fallback on", self.fallback_on, FALLBACK_ON)
        require_one_of("strategy", self.strategy, STRATEGIES)
        require_one_of("task", self.task_type, tuple(TASK_CAPABILITY))
        require_one_of("effort", self.effort, EFFORTS)
        asked = self.required_capability or ()
        for capability in (asked,) if isinstance(asked, str) else asked:
            require_one_of("capability", capability, CAPABILITIES)

    def _check_ranges(self) -> None:
        check_range("temperature", self.temperature, 0, MAX_TEMPERATURE)
        check_range("max tokens", self.max_tokens, 1, 10**8)
        check_range("budget", self.budget_remaining, 0, MOST_USD, "USD")
        check_range("max latency", self.max_latency_ms, 1, 10**9, "milliseconds")
        check_range("min quality", self.min_quality, 0, 100)
        check_range("timeout", self.timeout_s, 0.001, 86_400, "seconds")

    def _messages(self) -> tuple[Message, ...]:
        if self.messages is not None and self.prompt:
            raise RequestError("prompt and messages were both given: give one")
        if self.messages is not None:
            read = tuple(_message(message) for message in self.messages)
            if not read or not any(message.content.strip() for message in read):
                raise RequestError("the messages are empty", hint="give at least one with text in it")
            return read
        if not self.prompt or not self.prompt.strip():
            raise RequestError("the prompt is empty", hint='give it as an argument or on stdin: llmroute gen "..."')
        return (Message("user", self.prompt),)


def _check_label(what: str, label: str | None) -> None:
    """Refuse what the ledger could not keep."""
    if label is None:
        return
    try:
        label.encode()
    except (AttributeError, UnicodeEncodeError):
        raise RequestError(f"the {what} {label!r} is no text that can be kept") from None


def as_picousd(usd: float) -> int:
    """Return a budget as pico-USD, rounded down."""
    return math.floor(usd * PICO_PER_USD)


def _message(message: Mapping[str, Any]) -> Message:
    said, content = message.get("role"), message.get("content")
    role: Role | None = "user" if said == "user" else "assistant" if said == "assistant" else None
    if role is None or not isinstance(content, str):
        raise RequestError(
            f"a message with role {said!r} cannot be sent",
            hint='messages are {"role": "user" or "assistant", "content": "text"}; the system prompt is apart',
        )
    return Message(role, content)


def _stop(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    sequences = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if "" in sequences:
        raise RequestError("a stop sequence is empty")
    return sequences


def _effort(effort: str | None) -> Effort | None:
    return next((known for known in EFFORTS if known == effort), None)


def require_one_of(what: str, value: str | None, allowed: Iterable[str]) -> None:
    """Let a word pass that is one of those allowed, or none at all.

    Raises:
        RequestError: it is another; the hint says which is called nearly so.
    """
    words = tuple(allowed)
    if value is None or value in words:
        return
    near = nearest(str(value).lower(), words)
    raise RequestError(
        f"{what} {value!r} is none of {', '.join(words)}", hint=f"did you mean {near}?" if near else None
    )


def check_range(what: str, value: float | None, least: float, most: float, unit: str = "") -> None:
    """Refuse a number outside of its range; None is none.

    Raises:
        RequestError: says what was expected.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise RequestError(f"{what} {value!r} is no number")
    if value is not None and not least <= value <= most:
        raise RequestError(f"{what} {value:g} is not between {least:g} and {most:g}{' ' if unit else ''}{unit}")
