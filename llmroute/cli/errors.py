"""Errors on stderr and as JSON, and their exit codes."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from llmroute import exit_codes
from llmroute.cli.flag_names import in_flags
from llmroute.cli.output.status_line import clear
from llmroute.cli.output.terminal import harmless
from llmroute.cli.standard_streams import OutputFailed
from llmroute.errors import (
    AllProvidersFailedError,
    AttemptError,
    CheckFaultError,
    InterruptedRequestError,
    LLMRouteError,
    RequestError,
)
from llmroute.text.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.types import LLMResponse

FIRST_ERROR_STATUS = 300


@contextmanager
def failures(*, as_json: bool = False) -> Iterator[None]:
    """Turn errors of llmroute into one line with a hint and an exit code; with `as_json` also into JSON on stdout."""
    try:
        yield
    except LLMRouteError as error:
        fail(error, as_json=as_json)


def fail(error: LLMRouteError, *, as_json: bool = False) -> NoReturn:
    """Print an error and exit with its code."""
    say(error_with_hint(error))
    if as_json:
        from llmroute.cli.output.stdout import write_json

        # The error is already printed, and its exit code is more specific than that of a failed stdout.
        with suppress(OutputFailed):
            write_json(error_as_json(error))
    raise typer.Exit(error.exit_code)


def error_text(error: LLMRouteError) -> str:
    """Return an error in one line: provider and model, HTTP status, message."""
    message = in_flags(error.message)
    if isinstance(error, AllProvidersFailedError) or not isinstance(error, AttemptError) or not error.provider:
        return message
    source = f"{error.provider}/{error.model}" if error.model else error.provider
    # An answer that is not accepted came with a status of success, which says nothing of the reason.
    status = error.http_status if error.http_status is not None and error.http_status >= FIRST_ERROR_STATUS else None
    return f"{source}: {message if status is None else f'{status} {message}'}"


def error_of(provider: str, error: LLMRouteError) -> str:
    """Return an error in one line that begins with its provider."""
    text = error_text(error)
    return text if text.startswith((f"{provider}: ", f"{provider}/")) else f"{provider}: {text}"


def error_with_hint(error: LLMRouteError) -> str:
    """Return an error in one line, with its hint."""
    text, hint = error_text(error), _hint(error)
    return text + (f" ({hint})" if hint and hint not in text else "")


def _hint(error: LLMRouteError) -> str | None:
    return None if error.hint is None else in_flags(error.hint)


def error_as_json(error: LLMRouteError) -> dict[str, Any]:
    """Return an error as JSON for scripts."""
    from llmroute.cli.output.tables import attempt_as_json

    attempts = [attempt_as_json(attempt) for attempt in error.attempts]
    return {"error": {"type": error.kind, "message": error_text(error), "hint": _hint(error), "attempts": attempts}}


def unchecked(error: LLMRouteError) -> LLMResponse | None:
    """Return the paid answer that an error comes with because its check had no result."""
    return error.response if isinstance(error, CheckFaultError | InterruptedRequestError) else None


def say(text: str) -> None:
    """Print one line on stderr, after `llmroute: `."""
    print_line(f"llmroute: {in_flags(text)}")


def print_line(text: str) -> None:
    """Print one line on stderr."""
    clear()
    sys.stderr.write(f"{harmless(text)}\n")
    sys.stderr.flush()


def report_usage(error: Exception) -> int:
    """Print an error of the command line and return its exit code; 0 for any other error.

    With --json the error is printed as JSON on stdout too.
    """
    message = getattr(error, "format_message", None)
    if message is None:
        return 0
    text = _plain(message().rstrip("."))
    path = getattr(getattr(error, "ctx", None), "command_path", "llmroute")
    failure = RequestError(text, hint=f"{_suggestion(error, text)}see {path} --help")
    say(error_with_hint(failure))
    if "--json" in sys.argv:
        from llmroute.cli.output.stdout import write_json

        with suppress(OutputFailed):
            write_json(error_as_json(failure))
    return int(getattr(error, "exit_code", exit_codes.USAGE))


# Messages of click, and the plain text that replaces each.
_PLAIN = (
    (r"^Invalid value for (?:'-\w' / )?'(--[\w-]+)': ", r"\1: "),
    (r"^No such option: (\S+).*", r"no such option: \1"),
    (r"is not a valid float(?: range)?$", "is not a number"),
    (r"is not a valid int(?:eger)?(?: range)?$", "is not an integer"),
    (r"is not in the range ([\d.]+)<=x<=([\d.]+)$", r"is not from \1 to \2"),
    (r"is not in the range x>=([\d.]+)$", r"is below \1"),
)


def _plain(text: str) -> str:
    """Return a message of click in plain terms."""
    for pattern, replacement in _PLAIN:
        text = re.sub(pattern, replacement, text)
    return f"{text[:1].lower()}{text[1:]}"


def _suggestion(error: Exception, text: str) -> str:
    """Return the most similar option for a mistyped one, or the most similar choice of an option with choices."""
    choices = getattr(getattr(getattr(error, "param", None), "type", None), "choices", ())
    written = re.search(r"'([^']*)' is not one of ", text)
    near = nearest(written[1].lower(), choices) if choices and written else None
    if options := getattr(error, "possibilities", None):
        near = nearest(str(getattr(error, "option_name", "")), options)
    return f"did you mean {near}? " if near else ""


def report_bug(error: Exception) -> int:
    """Print an unexpected error; --debug prints its traceback."""
    if "--debug" in sys.argv:
        import traceback

        traceback.print_exception(error)
    else:
        say(f"a bug: {type(error).__name__}: {error} (--debug prints a traceback)")
    return exit_codes.BUG
