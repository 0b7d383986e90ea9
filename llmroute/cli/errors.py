"""What a person, and a script, is told when something fails."""

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
    """Turn the errors of the house into one line, a hint and an exit code; with `as_json` also into JSON on stdout."""
    try:
        yield
    except LLMRouteError as error:
        fail(error, as_json=as_json)


def fail(error: LLMRouteError, *, as_json: bool = False) -> NoReturn:
    """Tell of an error and exit with its code."""
    say(told_with_hint(error))
    if as_json:
        from llmroute.cli.output.stdout import write_json

        # What has failed is told already, and its code says more than that stdout has failed as well.
        with suppress(OutputFailed):
            write_json(error_as_json(error))
    raise typer.Exit(error.exit_code)


def told_error(error: LLMRouteError) -> str:
    """Return the error in one line: who, which status, what."""
    message = in_flags(error.message)
    if isinstance(error, AllProvidersFailedError) or not isinstance(error, AttemptError) or not error.provider:
        return message
    who = f"{error.provider}/{error.model}" if error.model else error.provider
    return f"{who}: {f'{error.http_status} ' if error.http_status else ''}{message}"


def told_with_hint(error: LLMRouteError) -> str:
    """Return the error in one line, with what to do about it."""
    told, hint = told_error(error), _hint(error)
    return told + (f" ({hint})" if hint and hint not in told else "")


def _hint(error: LLMRouteError) -> str | None:
    return None if error.hint is None else in_flags(error.hint)


def error_as_json(error: LLMRouteError) -> dict[str, Any]:
    """Return the error as DESIGN fixes it for scripts."""
    from llmroute.cli.output.tables import attempt_as_json

    attempts = [attempt_as_json(attempt) for attempt in error.attempts]
    return {"error": {"type": error.kind, "message": told_error(error), "hint": _hint(error), "attempts": attempts}}


def say(text: str) -> None:
    """Print one line about the work on stderr, in the name of the program."""
    tell(f"llmroute: {in_flags(text)}")


def tell(text: str) -> None:
    """Print one line on stderr."""
    clear()
    sys.stderr.write(f"{harmless(text)}\n")
    sys.stderr.flush()


def report_usage(error: Exception) -> int:
    """Tell of a wrong command line in one line and return its exit code; 0 when the error is something else."""
    message = getattr(error, "format_message", None)
    if message is None:
        return 0
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "llmroute")
    text = message().rstrip(".")
    say(f"{text[:1].lower()}{text[1:]} ({_meant(error, text)}see {path} --help)")
    return int(getattr(error, "exit_code", exit_codes.USAGE))


def _meant(error: Exception, text: str) -> str:
    """Return the choice that was nearly written, where a flag takes one of some words."""
    choices = getattr(getattr(getattr(error, "param", None), "type", None), "choices", ())
    written = re.search(r"'([^']*)' is not one of ", text)
    if not (choices and written):
        return ""
    near = nearest(written[1].lower(), choices)
    return f"did you mean {near}? " if near else ""


def report_bug(error: Exception) -> int:
    """Tell of an error that nobody expected; the trace comes with --debug."""
    if "--debug" in sys.argv:
        import traceback

        traceback.print_exception(error)
    else:
        say(f"a bug: {type(error).__name__}: {error} (--debug shows where)")
    return exit_codes.BUG
