"""Error messages for values that pydantic rejects, in plain terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from llmroute.text.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel, ValidationError

# The expected value, by pydantic's type of error; the names in braces are the constraints that it reports.
_EXPECTED = {
    "bool_type": "true or false",
    "date_type": "a date",
    "dict_type": "a table",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "an integer",
    "int_type": "an integer",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_type": "a table",
    "string_type": "text",
}
_REASONS = {
    "missing": "is missing",
    "string_pattern_mismatch": "has characters that are not allowed here",
    "string_too_long": "is longer than {max_length} characters",
    "string_too_short": "is empty",
    "too_long": "has more than {max_length} items",
    "too_short": "is empty",
}


class Invalid(NamedTuple):
    """The first invalid value of a document: its path, the reason, and the nearest valid name where it is a typo."""

    path: tuple[str | int, ...]
    reason: str
    suggestion: str | None = None

    @property
    def place(self) -> str:
        """The path as text, such as `tiers[0].above`."""
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path).removeprefix(".")

    @property
    def hint(self) -> str | None:
        """The suggestion as a hint of an error."""
        return f"did you mean {self.suggestion}?" if self.suggestion else None


def first_invalid(error: ValidationError, model: type[BaseModel]) -> Invalid:
    """Describe the first error of a validation by `model`; the value itself is not repeated."""
    first = error.errors(include_url=False, include_input=False)[0]
    kind, path = first["type"], first["loc"]
    context = {name: _short(bound) for name, bound in first.get("ctx", {}).items()}
    if kind == "extra_forbidden":
        return Invalid(path, "is not a known name", nearest(str(path[-1]), _names_at(model, path[:-1])))
    if kind == "value_error":
        return Invalid(path, str(context["error"]))
    if kind in _REASONS:
        return Invalid(path, _REASONS[kind].format(**context))
    return Invalid(path, f"must be {_EXPECTED.get(kind, 'valid').format(**context)}")


def _short(bound: Any) -> Any:
    # 0 rather than 0.0.
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _names_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Return the names that the table at a path of a document may have."""
    here: Any = model
    for part in path:
        if hasattr(here, "model_fields"):
            here = here.model_fields[part].annotation
            # `Table | None` is the table.
            here = get_args(here)[0] if type(None) in get_args(here) else here
        else:
            # The values of a `dict` or the items of a `list`.
            here = get_args(here)[-1]
    return list(here.model_fields)
