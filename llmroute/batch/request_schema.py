"""The schema of a JSON line of a batch: an id and the fields that `request.options` declares."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, create_model

from llmroute.errors import RequestError
from llmroute.request.fields import BOOL, printable
from llmroute.request.options import FIELDS as REQUEST_FIELDS
from llmroute.text.option_text import OptionText, Remedy
from llmroute.text.suggest import nearest

_DECLARED = {name: declared for name, declared in REQUEST_FIELDS.items() if declared.in_lines}
_NEGATED = {declared.flag: name for name, declared in _DECLARED.items() if declared.negates}
_EXPECTED_ID = "text that is not empty, or an integer"


class RequestLine(BaseModel):
    """One JSON line; `request.rendered.prompt_of` checks its values against each other."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: int | Annotated[str, Field(min_length=1)] | None = None

    def options(self) -> dict[str, Any]:
        """Return the options of the line by the names of `Options`."""
        options = self.model_dump(exclude_none=True, exclude={"id", *_NEGATED}, by_alias=True)
        for flag, name in _NEGATED.items():
            if (negated := getattr(self, flag)) is not None:
                options[name] = not negated
        return options


def _line_fields() -> dict[str, Any]:
    """Return the fields of a line for pydantic: each may be called by its flag as well."""
    fields: dict[str, Any] = dict.fromkeys(_NEGATED, (bool | None, None))
    for name, declared in _DECLARED.items():
        names = [name] if declared.negates or declared.flag == name else [declared.flag, name]
        # An attribute of pydantic's own is not shadowed.
        attribute = f"{name}_" if hasattr(BaseModel, name) else name
        described = Field(None, validation_alias=AliasChoices(*names), serialization_alias=name)
        fields[attribute] = (declared.kind.json_type | None, described)
    return fields


_LINE = create_model("_LINE", __base__=RequestLine, **_line_fields())
FIELDS = {
    "id": "id",
    **{name: name for name in _NEGATED},
    **{alias: name for name, declared in _DECLARED.items() for alias in (name, declared.flag) if alias not in _NEGATED},
}
"""The field that each name of a line stands for."""


def parse_line(record: dict[str, Any]) -> RequestLine:
    """Return a line, validated.

    Raises:
        RequestError: names the first invalid field and the expected value.
    """
    try:
        return _LINE.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0])
        if first["type"] != "extra_forbidden":
            value = printable(record.get(name, first["input"]))
            declared = _DECLARED.get(FIELDS[name])
            expected = _EXPECTED_ID if name == "id" else (declared.kind if declared else BOOL).expected
            raise RequestError(f"{name}: {value} is not {expected}") from None
        near = nearest(name, FIELDS)
        raise RequestError(
            f"a request has no option {name!r}" + (f" (did you mean {near}?)" if near else ""),
            hint=OptionText(Remedy("template"), " allows other fields, to put them into the prompt"),
        ) from None
