"""The arguments of `gen` and `stream`: the flags that `request.options` declares, and those for input and output."""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from llmroute.cli import options as flags
from llmroute.encoding import decoded_argument, known_encoding
from llmroute.errors import RequestError
from llmroute.request.attached import read_attachments
from llmroute.request.options import FIELDS, Options
from llmroute.types import Attachment


class RequestArguments(NamedTuple):
    """The arguments of `gen` or `stream`: `request` by the names of `Options`, None where a flag is not given."""

    request: dict[str, Any]
    prompt: Annotated[
        str | None, typer.Argument(help="The prompt, in quotes. Text from stdin is put before it; - is stdin alone.")
    ] = None
    as_json: flags.AsJSON = False
    meta: Annotated[
        Path | None,
        typer.Option(
            "--meta",
            metavar="FILE",
            parser=flags.output_file,
            help="Also write the JSON of the response to this file.",
            rich_help_panel="Output",
        ),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the models that would be tried, and why; send nothing.", rich_help_panel="Model"
        ),
    ] = False
    every_candidate: Annotated[
        bool,
        typer.Option("--all", help="With --dry-run: print all candidates, not only ten.", rich_help_panel="Model"),
    ] = False
    extract: Annotated[
        bool,
        typer.Option(
            "-x",
            "--extract",
            help="Print only the first fenced code block, if there is one.",
            rich_help_panel="Output",
        ),
    ] = False
    render: Annotated[
        bool, typer.Option("--render", help="Render Markdown on a terminal.", rich_help_panel="Output")
    ] = False
    color: flags.Color = "auto"
    usage: Annotated[
        bool,
        typer.Option("-u", "--usage", help="Print tokens, cost and time on stderr.", rich_help_panel="Output"),
    ] = False
    quiet: flags.Quiet = False
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Print each step on stderr, and a traceback for a bug.", rich_help_panel="Output"),
    ] = False
    no_stdin: Annotated[
        bool, typer.Option("--no-stdin", help="Do not read stdin; for shell loops.", rich_help_panel="Answer")
    ] = False
    encoding: Annotated[
        str | None,
        typer.Option(
            "--encoding",
            metavar="NAME",
            help="The encoding of stdin and --batch FILE; default UTF-8.",
            rich_help_panel="Answer",
        ),
    ] = None

    @property
    def budget_usd(self) -> float | None:
        """The value of --budget: of one request, or of a batch."""
        budget: float | None = self.request["budget_remaining"]
        return budget

    def options(self) -> Options:
        """Read the prompt and return the request.

        Raises:
            RequestError: stdin cannot be read or decoded.
        """
        from llmroute.cli.stdin import read_prompt

        encoding = known_encoding(self.encoding)
        given = self._given()
        if self.attaches_stdin and self.prompt == "-":
            raise _stdin_twice("the prompt")
        no_stdin = self.no_stdin or self.attaches_stdin
        prompt = read_prompt(self.prompt, no_stdin=no_stdin, quiet=self.quiet, encoding=encoding)
        return Options(prompt=prompt, **given)

    def defaults(self) -> Options:
        """Return the common options of the requests of a batch, without a prompt and without the budget of the batch.

        Raises:
            RequestError: a common attachment cannot be read.
        """
        given = self._given() | {"budget_remaining": None}
        given["attachments"] = read_attachments(given.get("attachments", ()), given.get("attachment_type"))
        return Options(**given)

    @property
    def attaches_stdin(self) -> bool:
        """Whether stdin is an attachment, and so neither the prompt nor the input of a batch."""
        return "-" in (self.request["attachments"] or ())

    def _attachments(self, names: list[str]) -> list[str | Attachment]:
        """Return the attachments of the command line, with the content of stdin."""
        from llmroute.cli.stdin import read_attachment

        if names.count("-") > 1:
            raise _stdin_twice("an attachment")
        if "-" in names and self.no_stdin:
            raise RequestError("--attach - is stdin, and --no-stdin forbids it", option="attachments")
        return [read_attachment(quiet=self.quiet) if name == "-" else name for name in names]

    def _given(self) -> dict[str, Any]:
        encoding = known_encoding(self.encoding)
        given: dict[str, Any] = {}
        for name, value in self.request.items():
            declared = FIELDS[name]
            if value is None:
                continue
            if declared.is_prompt_text:
                flag = declared.short or declared.long_flag
                texts = [
                    decoded_argument(text, encoding, flag) for text in ([value] if isinstance(value, str) else value)
                ]
                given[name] = texts[0] if isinstance(value, str) else texts
            elif name == "attachments":
                given[name] = self._attachments(value)
            else:
                given[name] = value
        return given


def _stdin_twice(other: str) -> RequestError:
    return RequestError(f"--attach - is stdin, which is already {other}", option="attachments")


class CompleteArguments(NamedTuple):
    """The arguments of `gen` that `stream` has not, because they need the complete answer."""

    schema_multi: Annotated[
        str | None,
        typer.Option(
            "--schema-multi",
            help='As --schema, for a list of such values: {"items": [...]}.',
            rich_help_panel="Answer",
        ),
    ] = None
    check_timeout: Annotated[
        float | None,
        typer.Option(
            "--check-timeout",
            metavar="SECONDS",
            help="Time limit of --check in seconds; default 60.",
            rich_help_panel="Limits",
        ),
    ] = None
