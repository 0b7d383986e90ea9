"""The signatures of `gen` and `stream`: every field of a request, and of the arguments of the command, is a flag."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmroute.cli.arguments import CompleteArguments, RequestArguments
from llmroute.cli.completion import candidates
from llmroute.cli.options import first_name
from llmroute.request.options import FIELDS

if TYPE_CHECKING:
    from llmroute.request.fields import RequestField

_COMPLETIONS = {
    "model": candidates.models,
    "fallback": candidates.models,
    "provider": candidates.providers,
    "chain": candidates.chains,
    "workspace_id": candidates.workspaces,
}
_KIND = inspect.Parameter.KEYWORD_ONLY
OfCompleteAnswer = Annotated[
    list[str] | None,
    typer.Option(
        *(declared.long_flag for declared in FIELDS.values() if declared.complete_only),
        *(first_name(hint.__metadata__[0]) for hint in CompleteArguments.__annotations__.values()),
        hidden=True,
    ),
]
"""The flags of `gen` that a stream rejects in words of its own."""


def takes_a_request(*, streaming: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the flags of a request to a command, whose first parameter is a RequestArguments.

    Its other parameters are flags, or NamedTuples whose fields are flags.
    """
    request = {
        name: declared
        for name, declared in FIELDS.items()
        if declared.help and not (declared.complete_only if streaming else declared.streaming_only)
    }

    def with_flags(command: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(command, eval_str=True).parameters.values()
        groups = {parameter.name: parameter.annotation for parameter in own if _is_group(parameter.annotation)}

        def typed(**values: Any) -> None:
            given = {name: _value(declared, values.pop(declared.flag)) for name, declared in request.items()}
            arguments = RequestArguments(given, **_popped(values, RequestArguments))
            command(arguments, **{name: group(**_popped(values, group)) for name, group in groups.items()}, **values)

        prompt, *others = _fields(RequestArguments)
        flags = [_flag(name, declared) for name, declared in request.items()]
        of_command = [flag for parameter in own for flag in _flags_of(parameter)]
        typed.__name__, typed.__doc__ = command.__name__, command.__doc__
        typed.__signature__ = inspect.Signature([prompt, *flags, *others, *of_command])  # type: ignore[attr-defined]
        return typed

    return with_flags


def _value(declared: "RequestField", typed: Any) -> Any:
    """Return the field value for a flag, None where the flag is absent."""
    if typed is None or typed is False or typed == []:
        return None
    return not typed if declared.negates else typed


def _is_group(annotation: Any) -> bool:
    return hasattr(annotation, "_field_defaults")


def _flags_of(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    group = parameter.annotation
    return _fields(group) if _is_group(group) else [parameter.replace(kind=_KIND)]


def _fields(group: Any) -> list[inspect.Parameter]:
    """Return the flags that the fields of a NamedTuple are."""
    return [
        inspect.Parameter(name, _KIND, default=default, annotation=group.__annotations__[name])
        for name, default in group._field_defaults.items()
    ]


def _popped(values: dict[str, Any], group: Any) -> dict[str, Any]:
    return {name: values.pop(name) for name in group._field_defaults}


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
    return inspect.Parameter(declared.flag, _KIND, default=default, annotation=Annotated[hint, option])
