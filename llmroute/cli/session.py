"""What `gen` and `stream` have in common: the service, the side channel, and how an answer ends."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import typer

from llmroute import exit_codes
from llmroute.cli.errors import error_as_json, fail, say, tell
from llmroute.cli.output.tables import response_as_json, usage_line
from llmroute.cli.standard_streams import OutputFailed
from llmroute.errors import LLMRouteError
from llmroute.files import PRIVATE, cannot_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llmroute.cli.arguments import RequestArguments
    from llmroute.types import LLMResponse


class Session:
    """One request under way on the command line."""

    def __init__(self, asked: RequestArguments, note: Callable[[str], None]) -> None:
        self.asked = asked
        # What is written to --meta in the end.
        self.aside = ""
        self._unwritten: OutputFailed | None = None
        from llmroute.notices import discard
        from llmroute.service.client import LLMService

        self.service = LLMService(
            note=discard if asked.quiet else note,
            trace=(lambda text: say(f"debug: {text}")) if asked.debug else discard,
        )
        if not asked.quiet:
            from llmroute.planning.default_registry import warn_when_stale

            warn_when_stale(self.service.registry, self.service.config.config_dir, say)

    def keep(self, response: LLMResponse) -> None:
        """Keep an answer for --meta, whatever becomes of it on stdout."""
        self.tell_aside(response_as_json(response))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write a part of an answer to stdout; where that takes no more, the rest is read for --meta alone.

        Raises:
            OutputFailed: there is no --meta.
        """
        try:
            yield
        except OutputFailed as failure:
            self._unwritten = failure
            if self.asked.meta is None:
                raise

    def tell_usage(self, response: LLMResponse) -> None:
        """Tell on stderr what the answer took, where that is wanted, and always that its prompt was cut."""
        if response.prompt_cut and self.asked.quiet:
            # Else a note has told it.
            say(f"{response.provider}/{response.model}: {response.prompt_cut}")
        if self.asked.usage:
            tell(usage_line(response))

    def told_unwritten(self) -> str:
        """Return what became of an answer that stdout did not take; empty where there was none."""
        if self._unwritten is None:
            return ""
        meta = self.asked.meta
        kept = "it is lost (--meta FILE keeps one)" if meta is None else f"it is in {meta}"
        return f"; the answer was paid for as far as it came, and {kept}"

    def tell_aside(self, value: dict[str, Any]) -> None:
        """Keep what --meta asks for until the end."""
        if self.asked.meta is not None:
            import json

            self.aside += json.dumps(value, ensure_ascii=False) + "\n"

    def conclude(self, response: LLMResponse) -> None:
        """Exit with 6 when the answer was cut short and nobody had asked for that.

        Raises:
            OutputFailed: the answer is not on stdout, or not all of it.
        """
        if self._unwritten is not None:
            raise self._unwritten
        if response.finish_reason != "length":
            return
        if self.asked.max_tokens is None:
            say("the answer was cut short at the model's limit (--max-tokens allows more)")
            raise typer.Exit(exit_codes.INCOMPLETE)
        if not self.asked.quiet:
            say(f"the answer was cut short at --max-tokens {self.asked.max_tokens}")


@contextmanager
def answering(asked: RequestArguments) -> Iterator[Session]:
    """Open what one request needs; with --dry-run its plan is shown instead."""
    with opened(asked, note=say) as under_way:
        if asked.dry_run:
            from llmroute.cli.output.plan import show_plan

            plan = under_way.service.plan(asked.options())
            show_plan(plan, as_json=asked.as_json, every_candidate=asked.every_candidate)
            raise typer.Exit
        yield under_way


@contextmanager
def opened(asked: RequestArguments, *, note: Callable[[str], None]) -> Iterator[Session]:
    """Open what requests need; what fails is told, on the side channel too, and exits with its code."""
    try:
        meta = _open_meta(asked.meta)
    except LLMRouteError as error:
        fail(error, as_json=asked.as_json)
    under_way: Session | None = None
    try:
        under_way = Session(asked, note)
        yield under_way
    except LLMRouteError as error:
        if under_way is not None:
            under_way.tell_aside(error_as_json(error))
        fail(error, as_json=asked.as_json)
    except OutputFailed as failure:
        say(f"{failure}{under_way.told_unwritten() if under_way is not None else ''}")
        raise typer.Exit(exit_codes.SETUP) from None
    finally:
        if under_way is not None:
            under_way.service.leave()
        if meta is not None and asked.meta is not None:
            _write_meta(asked.meta, meta, under_way.aside if under_way is not None else "")


def _open_meta(path: Path | None) -> TextIO | None:
    """Open the side channel before anything is sent, so that a wrong path costs nothing."""
    if path is None:
        return None
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
    except OSError as error:
        raise cannot_write(f"--meta: {path}", error) from error
    # What is not UTF-8 on the command line is half characters here, and in JSON an escape.
    return open(fd, "w", encoding="utf-8", errors="backslashreplace")  # noqa: PTH123 (a descriptor)


def _write_meta(path: Path, meta: TextIO, text: str) -> None:
    """Write the side channel and close it; where that fails, the answer is none the worse for it."""
    try:
        with meta:
            meta.write(text)
    except OSError as error:
        say(f"--meta: {path} could not be written: {error.strerror or error}")
