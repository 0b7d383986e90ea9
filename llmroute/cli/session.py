"""The session of `gen` and `stream`: the service, the --meta file, notes and exit codes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import typer

from llmroute import exit_codes
from llmroute.cli.errors import error_as_json, fail, print_line, say, unchecked
from llmroute.cli.flag_names import in_flags
from llmroute.cli.output.meta_file import open_meta, write_meta
from llmroute.cli.output.tables import response_as_json, usage_line
from llmroute.cli.signals import Interrupted
from llmroute.cli.standard_streams import OutputFailed, require_stdout
from llmroute.errors import InterruptedRequestError, LedgerError, LLMRouteError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from llmroute.cli.arguments import RequestArguments
    from llmroute.cli.output.meta_file import NamedFile
    from llmroute.routing.plan import Candidate
    from llmroute.types import LLMResponse


class Session:
    """The service for the requests of one command, and the content of --meta."""

    def __init__(self, arguments: RequestArguments, note: Callable[[str], None]) -> None:
        self.arguments = arguments
        self.meta = ""
        """The JSON lines that are written to --meta at the end."""
        self._unwritten: OutputFailed | None = None
        from llmroute.notices import discard
        from llmroute.service.client import LLMService

        self.service = LLMService(
            note=discard if arguments.quiet else note,
            trace=(lambda text: say(f"debug: {text}")) if arguments.debug else discard,
        )
        if not arguments.quiet:
            from llmroute.planning.default_registry import warn_when_stale

            warn_when_stale(self.service.registry, self.service.config.config_dir, say)

    def record(self, response: LLMResponse) -> None:
        """Record a response for --meta, even if stdout fails."""
        self.record_json(response_as_json(response))

    def record_interruption(self, interruption: Interrupted) -> None:
        """Record for --meta the answer that was neither rejected nor written before a signal, if it was to be checked.

        An answer without a check is written as soon as it is complete.
        """
        check = self.arguments.request.get("check")
        if not self.meta and check is not None and check.unjudged is not None:
            response: LLMResponse = check.unjudged
            message = f"interrupted by {interruption} while the answer was checked"
            error = InterruptedRequestError(message, attempts=response.attempts)
            error.response = response
            self.record_failure(error)

    def record_failure(self, error: LLMRouteError) -> None:
        """Record an error for --meta, with the answer whose check has no result."""
        response = unchecked(error)
        self.record_json(({} if response is None else response_as_json(response)) | error_as_json(error))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write a part of a response to stdout; after a failure, the rest is only read for --meta.

        Raises:
            OutputFailed: there is no --meta.
        """
        try:
            yield
        except OutputFailed as failure:
            self._unwritten = failure
            if self.arguments.meta is None:
                raise

    def write_usage(self, response: LLMResponse) -> None:
        """Write the line of --usage to stderr, and always a warning if the prompt was cut."""
        if response.prompt_cut and self.arguments.quiet:
            # Without --quiet a note was printed.
            say(f"{response.provider}/{response.model}: {response.prompt_cut}")
        if self.arguments.usage:
            print_line(usage_line(response))

    def loss(self) -> str:
        """Return the fate of a response that stdout did not accept, or an empty text."""
        if self._unwritten is None:
            return ""
        meta = self.arguments.meta
        place = "lost (--meta FILE saves a copy)" if meta is None else f"are in {meta}"
        return f"; the tokens received so far are billed and {place}"

    def record_json(self, value: dict[str, Any]) -> None:
        """Record a value for --meta."""
        if self.arguments.meta is not None:
            import json

            self.meta += json.dumps(value, ensure_ascii=False) + "\n"

    def conclude(self, response: LLMResponse) -> None:
        """Exit with 6 if the response stopped at another limit than that of the caller.

        Raises:
            OutputFailed: the response was not written completely.
        """
        if self._unwritten is not None:
            raise self._unwritten
        if response.finish_reason != "length":
            return
        if response.budget_cut is not None:
            say(f"{response.provider}/{response.model}: {in_flags(response.budget_cut)}")
            raise typer.Exit(exit_codes.INCOMPLETE)
        max_tokens = self.arguments.request["max_tokens"]
        if max_tokens is None:
            say("the answer was truncated at the model's default limit (--max-tokens allows more)")
            raise typer.Exit(exit_codes.INCOMPLETE)
        if not self.arguments.quiet:
            say(f"the answer was truncated at --max-tokens {max_tokens}")


@contextmanager
def answering(arguments: RequestArguments) -> Iterator[Session]:
    """Open a session for one request; with --dry-run print its plan and exit."""
    with opened(arguments, note=say) as session:
        if arguments.dry_run:
            from llmroute.cli.output.plan import show_plan

            plan = session.service.plan(arguments.options())
            show_plan(plan, as_json=arguments.as_json, every_candidate=arguments.every_candidate)
            if not arguments.quiet:
                _warn_of_caps(session, plan.entries[0].candidate)
            raise typer.Exit
        if arguments.meta is None:
            require_stdout()
        if arguments.every_candidate:
            fail(RequestError("--all requires --dry-run"), as_json=arguments.as_json)
        try:
            yield session
        except Interrupted as interruption:
            session.record_interruption(interruption)
            raise


def _warn_of_caps(session: Session, first: Candidate) -> None:
    """Print which budget does not admit the first model of a plan now: a call tries the next one, or is refused."""
    config = session.service.config
    if not config.limits and config.ledger.server is None:
        return
    from llmroute.ledger.budgets import describe, dollars
    from llmroute.service.costs.maintenance import standings

    workspace = session.arguments.request["workspace_id"] or config.workspace
    least = first.least_worst_picousd
    try:
        found = standings(config)
    except LedgerError as error:
        say(f"the budgets were not compared with the plan: {error.message}")
        return
    for status in found:
        if status.cap.workspace in ("", workspace) and (least is None or least > status.left_picousd):
            cost = "its price is unknown" if least is None else f"it could cost {dollars(least)}"
            say(f"{first.model.name}: {cost}, and {describe(status)}")
            return


@contextmanager
def opened(
    arguments: RequestArguments, *, note: Callable[[str], None], files: Iterable[NamedFile] = ()
) -> Iterator[Session]:
    """Open a session; an error is printed, recorded for --meta, and exits with its code.

    `files` are those of the command besides its attachments, none of which --meta may replace.
    """
    session: Session | None = None
    meta: TextIO | None = None
    try:
        session = Session(arguments, note)
        if arguments.meta is not None:
            attachments = (("--attach", file) for file in arguments.request["attachments"] or ())
            meta = open_meta(session.service.config, arguments.meta, (*files, *attachments))
        yield session
    except LLMRouteError as error:
        if session is not None:
            session.record_failure(error)
        fail(error, as_json=arguments.as_json)
    except OutputFailed as failure:
        say(f"{failure}{session.loss() if session is not None else ''}")
        raise typer.Exit(exit_codes.SETUP) from None
    finally:
        if session is not None:
            session.service.leave()
        if session is not None and meta is not None and arguments.meta is not None:
            write_meta(arguments.meta, meta, session.meta)
