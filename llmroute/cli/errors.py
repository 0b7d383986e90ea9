"""Errors on stderr and as JSON, and their exit codes."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from llmroute import exit_codes
from llmroute.cli.option_names import in_flags
from llmroute.cli.output.status_line import clear
from llmroute.cli.output.terminal import harmless
from llmroute.cli.standard_streams import OutputFailed
from llmroute.errors import AllProvidersFailedError, AttemptError, LLMRouteError
from llmroute.text.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator


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

        # The error is printed already, and its exit code says more than that of a failed stdout.
        with suppress(OutputFailed):
            write_json(error_as_json(error))
    raise typer.Exit(error.exit_code)


def error_text(error: LLMRouteError) -> str:
    """Return an error in one line: provider and model, HTTP status, message."""
    message = in_flags(error.message)
    if isinstance(error, AllProvidersFailedError) or not isinstance(error, AttemptError) or not error.provider:
        return message
    source = f"{error.provider}/{error.model}" if error.model else error.provider
    return f"{source}: {f'{error.http_status} ' if error.http_status else ''}{message}"


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


def say(text: str) -> None:
    """Print one line on stderr, after `llmroute: `."""
    tell(f"llmroute: {in_flags(text)}")


def tell(text: str) -> None:
    """Print one line on stderr."""
    clear()
    sys.stderr.write(f"{harmless(text)}\n")
    sys.stderr.flush()


def report_usage(error: Exception) -> int:
    """Print an error of the command line in one line and return its exit code; 0 for any other error."""
    message = getattr(error, "format_message", None)
    if message is None:
        return 0
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "llmroute")
    text = message().rstrip(".")
    say(f"{text[:1].lower()}{text[1:]} ({_suggestion(error, text)}see {path} --help)")
    return int(getattr(error, "exit_code", exit_codes.USAGE))


def _suggestion(error: Exception, text: str) -> str:
    """Return the most similar choice, for a flag with choices."""
    choices = getattr(getattr(getattr(error, "param", None), "type", None), "choices", ())
    written = re.search(r"'([^']*)' is not one of ", text)
    if not (choices and written):
        return ""
    near = nearest(written[1].lower(), choices)
    return f"did you mean {near}? " if near else ""


def report_bug(error: Exception) -> int:
    """Print an unexpected error; --debug prints its traceback."""
    if "--debug" in sys.argv:
        import traceback

        traceback.print_exception(error)
    else:
        say(f"a bug: {type(error).__name__}: {error} (--debug prints a traceback)")
    return exit_codes.BUG
