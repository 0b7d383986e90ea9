"""Checks of a completion: refused, empty, valid by the schema of the request, accepted by the check of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import BadOutputError, CheckError, CheckFaultError, ContentError, RequestError, SchemaError
from llmroute.execution.accounting.answer_limit import OF_MODEL, OF_WINDOW
from llmroute.planning.candidates import sized
from llmroute.routing.actions import Repair
from llmroute.routing.token_estimate import measure
from llmroute.text.option_text import OptionText, Remedy
from llmroute.text.redaction import one_line, shortened
from llmroute.types import Service

if TYPE_CHECKING:
    from llmroute.errors import AttemptError, LLMRouteError
    from llmroute.execution.accounting.answer_limit import AnswerLimit
    from llmroute.routing.plan import RankedCandidate
    from llmroute.schema.document import AnswerDocument
    from llmroute.text.redaction import Redaction
    from llmroute.types import Check, Completion, LLMResponse, ModelConfig, Prompt
    from llmroute.types.answer_schema import AnswerSchema


NEARLY = 0.9
"""The part of a completion limit that an answer that was cut at it has at least; providers count a few tokens less."""
MOST_WORD = 100
MOST_ID = 200
MOST_REFUSAL = 500
MOST_TOOLS = 20
MOST_REASON = 200
"""The longest reason of a check, in characters."""


def sanitized(completion: Completion, redaction: Redaction) -> Completion:
    """Return an answer whose words beside its text are short lines without secrets; the text is the model's own."""

    def line(text: str | None, most: int) -> str | None:
        return None if text is None else redaction.line(text, most)

    return completion._replace(
        finish_reason=line(completion.finish_reason, MOST_WORD),
        model=line(completion.model, MOST_ID),
        request_id=line(completion.request_id, MOST_ID),
        refusal=line(completion.refusal, MOST_REFUSAL),
        service=Service(
            line(completion.service.tier, MOST_WORD),
            line(completion.service.geo, MOST_WORD),
            tuple((redaction.line(name, MOST_WORD), count) for name, count in completion.service.tools[:MOST_TOOLS]),
        ),
        tool_calls=tuple(redaction.line(name, MOST_WORD) for name in completion.tool_calls[:MOST_TOOLS]),
    )


def hide_secrets(error: LLMRouteError, redaction: Redaction) -> None:
    """Hide in an error of any origin what its provider, or the check of the caller, may have echoed of a key."""
    if (message := redaction.hide(error.message)) != error.message:
        error.message = message
        error.args = (message,)


def error_in(completion: Completion, limit: AnswerLimit = OF_MODEL) -> AttemptError | None:
    """Return the fault of a complete answer; None if there is none.  `limit` as for `document_of`."""
    if completion.refusal or completion.finish_reason == "content_filter":
        reason = f": {completion.refusal}" if completion.refusal else ""
        return ContentError(f"the answer was refused or filtered{reason}"[:500])
    if completion.finish_reason == "error":
        return BadOutputError("the provider ended the answer with an error")
    if not completion.text.strip():
        if completion.tool_calls:
            names = shortened(", ".join(completion.tool_calls), MOST_ID)
            return BadOutputError(f"called a tool ({names}) instead of answering")
        if completion.finish_reason == "length":
            return _all_reasoning(limit)
        return BadOutputError("the answer is empty")
    return None


def _all_reasoning(limit: AnswerLimit) -> BadOutputError:
    error = BadOutputError(
        "the answer is empty: all its tokens went into reasoning",
        hint=OptionText(limit.remedy, ", or ask for less with ", Remedy("effort")),
    )
    error.should_retry = False
    return error


def document_of(
    completion: Completion, schema: AnswerSchema, model: ModelConfig, limit: AnswerLimit = OF_MODEL
) -> AnswerDocument:
    """Return the document that an answer is; `limit` is the completion limit that it was requested with.

    Raises:
        SchemaError: it is cut, or not valid against the schema.
    """
    from llmroute.schema.document import SchemaErrors, read_document
    from llmroute.schema.vendor_forms import form_for

    if completion.finish_reason == "length":
        raise _cut_error(completion, limit)
    found = read_document(completion.text, schema, form_for(schema, model))
    if isinstance(found, SchemaErrors):
        raise _schema_error(completion, found.lines)
    return found


def _schema_error(completion: Completion, lines: tuple[str, ...]) -> SchemaError:
    error = SchemaError(f"the answer is not valid against the schema: {'; '.join(lines)}")
    error.answer, error.errors = completion.text, lines
    return error


def _cut_error(completion: Completion, limit: AnswerLimit) -> SchemaError:
    usage = completion.usage
    if (
        limit.origin == "caller"
        and usage.output_tokens is not None
        and usage.output_tokens < NEARLY * (limit.tokens or 0)
    ):
        limit = OF_WINDOW
    error = _schema_error(completion, (limit.words,))
    error.cut_at, error.hint = limit.origin, limit.remedy
    if limit.origin == "caller" and (completion.thinking or usage.reasoning_tokens):
        error.cut_at = "reasoning"
        error.hint = OptionText(limit.remedy, ", or ask for less reasoning with ", Remedy("effort"))
    return error


def repair_of(error: SchemaError, prompt: Prompt, entry: RankedCandidate) -> Repair | None:
    """Return the call that asks a model to correct an answer; None where it cannot help or does not fit the window."""
    from llmroute.schema.repair import repair_prompt

    if error.cut_at is not None:
        return None
    longer = repair_prompt(prompt, error.answer, error.errors)
    size = measure(longer)
    if size.for_model(entry.model).too_long(entry.model.context_window):
        return None
    return Repair(longer, size, entry._replace(candidate=sized(entry.candidate, size)))


def verdict(check: Check, response: LLMResponse) -> CheckError | None:
    """Return why a check rejects a response; None if it accepts it.

    Raises:
        CheckFaultError: the check had no result.
        RequestError: the check is asynchronous, and the call is not.
    """
    from inspect import isawaitable, iscoroutine

    try:
        result = check(response)
    except Exception as error:  # noqa: BLE001 (of the caller's code)
        return _rejection(error)
    if isawaitable(result):
        if iscoroutine(result):
            result.close()
        raise _asynchronous()
    return _judged(result)


def require_synchronous(check: Check) -> None:
    """Reject a check that a blocking call could not await, before anything is sent.

    Raises:
        RequestError: it is an asynchronous function.
    """
    from inspect import iscoroutinefunction

    if iscoroutinefunction(check) or iscoroutinefunction(type(check).__call__):
        raise _asynchronous()


def _asynchronous() -> RequestError:
    return RequestError("an asynchronous check requires an asynchronous call", option="check")


async def verdict_async(check: Check, response: LLMResponse) -> CheckError | None:
    """As `verdict`; a synchronous check runs in a thread of its own, for it may take minutes."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import copy_context
    from inspect import isawaitable

    def run() -> tuple[object, Exception | None]:
        # A future cannot raise StopIteration.
        try:
            return check(response), None
        except Exception as error:  # noqa: BLE001 (of the caller's code)
            return None, error

    thread = ThreadPoolExecutor(1, thread_name_prefix="llmroute-check")
    try:
        result, error = await asyncio.get_running_loop().run_in_executor(thread, copy_context().run, run)
        if error is not None:
            return _rejection(error)
        if isawaitable(result):
            result = await result
    except Exception as error:  # noqa: BLE001 (as above)
        return _rejection(error)
    finally:
        thread.shutdown(wait=False)
    return _judged(result)


def _judged(result: object) -> CheckError | None:
    """Return a rejection for False and other false values, as that of numpy; None has no meaning and accepts."""
    try:
        is_rejected = result is not None and not result
    except Exception as error:  # noqa: BLE001 (an array has no truth value)
        return _rejection(error)
    return CheckError("the check rejects the answer") if is_rejected else None


def _rejection(error: Exception) -> CheckError:
    """Return the rejection that an exception of a check is; a fault of the check is raised again."""
    if isinstance(error, CheckFaultError):
        raise error
    if isinstance(error, CheckError):
        return error
    reason = one_line(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    return CheckError(f"the check rejects the answer: {reason[:MOST_REASON]}")
