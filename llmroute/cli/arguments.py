"""The arguments of `gen` and `stream`: the flags that `request.options` declares, and those for input and output."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from llmroute.cli import options as flags
from llmroute.cli.completion import candidates
from llmroute.encoding import decoded_argument, known_encoding
from llmroute.errors import RequestError
from llmroute.request.attached import read_attachments
from llmroute.request.options import FIELDS, Options
from llmroute.types import Attachment

if TYPE_CHECKING:
    from llmroute.request.fields import RequestField

_COMPLETIONS = {
    "model": candidates.models,
    "fallback": candidates.models,
    "provider": candidates.providers,
    "chain": candidates.chains,
    "workspace_id": candidates.workspaces,
}


class RequestArguments(NamedTuple):
    """The arguments of `gen` or `stream`: `request` by the names of `Options`, None where a flag is not given."""

    request: dict[str, Any]
    prompt: flags.PromptArgument = None
    as_json: flags.AsJSON = False
    meta: flags.Meta = None
    dry_run: flags.DryRun = False
    every_candidate: flags.EveryCandidate = False
    extract: flags.Extract = False
    render: flags.Render = False
    color: flags.Color = "auto"
    usage: flags.UsageLine = False
    quiet: flags.Quiet = False
    debug: flags.Debug = False
    no_stdin: flags.NoStdin = False
    encoding: flags.Encoding = None

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


def takes_a_request(*, streaming: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the flags of a request to a command, whose first parameter is a RequestArguments."""
    request = {
        name: declared
        for name, declared in FIELDS.items()
        if declared.help and not (declared.complete_only if streaming else declared.streaming_only)
    }

    def with_flags(command: Callable[..., None]) -> Callable[..., None]:
        def typed(**values: Any) -> None:
            given = {name: _value(declared, values.pop(declared.flag)) for name, declared in request.items()}
            others = {name: values.pop(name) for name in RequestArguments._field_defaults}
            command(RequestArguments(given, **others), **values)

        typed.__name__, typed.__doc__ = command.__name__, command.__doc__
        typed.__signature__ = inspect.Signature(_parameters(request, command))  # type: ignore[attr-defined]
        return typed

    return with_flags


def _value(declared: "RequestField", typed: Any) -> Any:
    """Return the field value for a flag, None where the flag is absent."""
    if typed is None or typed is False or typed == []:
        return None
    return not typed if declared.negates else typed


def _parameters(request: dict[str, "RequestField"], command: Callable[..., None]) -> list[inspect.Parameter]:
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    hints = RequestArguments.__annotations__
    kind = inspect.Parameter.KEYWORD_ONLY
    prompt, *others = (
        inspect.Parameter(name, kind, default=default, annotation=hints[name])
        for name, default in RequestArguments._field_defaults.items()
    )
    declared = [_flag(name, declaration) for name, declaration in request.items()]
    return [prompt, *declared, *others, *(parameter.replace(kind=kind) for parameter in own)]


def _flag(name: str, declared: "RequestField") -> inspect.Parameter:
    flag_type = declared.kind.flag_type
    option = typer.Option(
        *((declared.short,) if declared.short else ()),
        declared.long_flag,
        help=declared.help,
        autocompletion=candidates.choices(declared.choices) if declared.choices else _COMPLETIONS.get(name),
        rich_help_panel=declared.panel,
    )
    default, hint = (False, bool) if flag_type is bool else (None, flag_type | None)
    return inspect.Parameter(
        declared.flag, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, option]
    )
