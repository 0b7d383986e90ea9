"""Validate a request and render its prompt, which is measured once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.errors import RequestError
from llmroute.request.attached import cache_mark, read_attachments, with_texts
from llmroute.request.fields import printable
from llmroute.request.options import DEFAULTS, FIELDS, VALUES
from llmroute.routing.token_estimate import measure
from llmroute.text.option_text import OptionText, Remedy
from llmroute.types import Message, Prompt
from llmroute.types.labels import label_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmroute.request.options import Options
    from llmroute.routing.token_estimate import PromptSize
    from llmroute.types import AnswerSchema, Role


class RenderedRequest(NamedTuple):
    """The options of a request, the prompt that a model receives, and the size of that prompt."""

    options: Options
    prompt: Prompt
    size: PromptSize


def render(options: Options, *, streaming: bool) -> RenderedRequest:
    """Validate, render and measure a request.

    Raises:
        RequestError: an option is invalid; the message says which one and what is expected.
    """
    prompt = prompt_of(options, streaming=streaming)
    return RenderedRequest(options, prompt, measure(prompt))


def prompt_of(options: Options, *, streaming: bool) -> Prompt:
    """Return the prompt that models get.

    Raises:
        RequestError: a value is invalid; the message names the option and the expected value.
    """
    _check_values(options)
    _check_combinations(options, streaming=streaming)
    messages = _messages(options)
    attachments = read_attachments(options.attachments, options.attachment_type)
    return Prompt(
        messages=with_texts(messages, attachments),
        system=options.system or None,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        stop=_stop(options.stop),
        effort=options.effort,
        streaming=streaming,
        tier=options.tier,
        cache=cache_mark(attachments, certain=True) if options.cache_prompt else None,
        attachments=attachments,
        schema=None if options.schema is None else _read_schema(options.schema),
    )


def _check_combinations(options: Options, *, streaming: bool) -> None:
    for label in ("workspace_id", "execution_id"):
        if (problem := label_problem(getattr(options, label) or "")) is not None:
            raise RequestError(OptionText(Remedy(label), f" {problem}"), option=label)
    for name in ("model", "provider", "chain"):
        if getattr(options, name) == "":
            # As of a variable that is not set in a script.
            raise RequestError(OptionText(Remedy(name), ": the name is empty"), option=name)
    if streaming and options.check is not None:
        raise RequestError("a check needs the complete answer, which a stream does not wait for", option="check")
    if streaming and options.schema is not None:
        raise RequestError("a schema needs the complete answer, which a stream does not wait for", option="schema")
    if options.chain and (options.model or options.provider or options.fallback):
        raise RequestError("a chain cannot be combined with model, provider or fallback", option="chain")
    if options.worth_usd is not None and (reason := _no_use_of_worth(options)) is not None:
        text = OptionText(Remedy("worth_usd"), " is for the balanced strategy, ", reason)
        raise RequestError(text, option="worth_usd")


def _check_values(options: Options) -> None:
    for (option, declared), value, default in zip(FIELDS.items(), VALUES(options), DEFAULTS, strict=True):
        if value is default:
            continue
        if not declared.kind.accepts(value):
            text = f": {printable(value)} is not {declared.kind.expected}"
            raise RequestError(OptionText(Remedy(option), text), option=option)
        declared.check(option, value)


def _no_use_of_worth(options: Options) -> str | None:
    """Return why the balanced score chooses no model; None if it does."""
    if options.strategy in ("cost_optimized", "latency_optimized"):
        return f"and the strategy is {options.strategy}"
    named = next((name for name in ("model", "chain") if getattr(options, name)), None)
    if named is None and options.fallback and not (options.provider or options.strategy):
        named = "fallback"
    return None if named is None else OptionText("and ", Remedy(named), " chooses the model")


def _messages(options: Options) -> tuple[Message, ...]:
    if options.messages is not None and options.prompt:
        raise RequestError("prompt and messages were both given: give one", option="messages")
    if options.messages is not None:
        messages = tuple(map(_message, options.messages))
        if not any(message.content.strip() for message in messages):
            raise RequestError("the messages are empty", hint="give at least one with text", option="messages")
        return messages
    if not options.prompt or not options.prompt.strip():
        raise _no_prompt()
    return (Message("user", options.prompt),)


def _read_schema(given: AnswerSchema | Mapping[str, Any] | type | str) -> AnswerSchema:
    from llmroute.schema.answer_schema import read_schema

    return read_schema(given)


def _no_prompt() -> RequestError:
    remedy = Remedy("prompt", words="prompt, or the turns of a conversation as messages")
    return RequestError("the prompt is empty", hint=OptionText("give it as ", remedy), option="prompt")


def _message(message: Mapping[str, Any] | Message) -> Message:
    given, content = message if isinstance(message, Message) else (message.get("role"), message.get("content"))
    role: Role | None = "user" if given == "user" else "assistant" if given == "assistant" else None
    if role is None or not isinstance(content, str):
        raise RequestError(
            f"a message with role {given!r} cannot be sent",
            hint='use {"role": "user" or "assistant", "content": "text"}; the system prompt is an option of its own',
            option="messages",
        )
    return Message(role, content)


def _stop(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    sequences = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if "" in sequences:
        raise RequestError("a stop sequence is empty", option="stop")
    return sequences
