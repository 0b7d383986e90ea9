"""The schema of a JSON line of a batch: its id, its prompt, and any option of `gen`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from llmroute.errors import RequestError
from llmroute.request.option_types import KINDS, shown
from llmroute.text.option_names import OptionText, Remedy
from llmroute.text.suggest import nearest


def _also(*names: str) -> Any:
    """Accept a field by the name of its flag, too."""
    return Field(None, validation_alias=AliasChoices(*names))


class RequestLine(BaseModel):
    """One JSON line; `Options.rendered_prompt` checks its values against each other."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: int | Annotated[str, Field(min_length=1)] | None = None
    prompt: str | None = None
    messages: list[dict[str, str]] | None = None
    system: str | None = None
    model: str | None = None
    provider: str | None = None
    strategy: str | None = None
    chain: str | None = None
    fallback: list[str] | None = None
    fallback_on: str | None = None
    task_type: str | None = _also("task", "task_type")
    required_capability: str | list[str] | None = _also("capability", "required_capability")
    budget_remaining: float | None = _also("budget", "budget_remaining")
    worth_usd: float | None = _also("worth", "worth_usd")
    on_budget: str | None = None
    max_latency_ms: int | None = _also("max_latency", "max_latency_ms")
    min_quality: int | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    effort: str | None = None
    tier: str | None = None
    stop: str | list[str] | None = None
    timeout_s: float | None = _also("timeout", "timeout_s")
    max_attempts: int | None = None
    workspace_id: str | None = _also("workspace", "workspace_id")
    execution_id: str | None = _also("execution", "execution_id")
    enable_fallback: bool | None = None
    no_fallback: bool | None = None
    upgrade: bool | None = None
    no_upgrade: bool | None = None
    prefer_local: bool | None = None
    local_only: bool | None = None
    strict_params: bool | None = None

    def options(self) -> dict[str, Any]:
        """Return the options of the line by the names of `Options`."""
        options = self.model_dump(exclude_none=True, exclude={"id", "no_fallback", "no_upgrade"})
        if self.no_fallback is not None:
            options["enable_fallback"] = not self.no_fallback
        if self.no_upgrade is not None:
            options["upgrade"] = not self.no_upgrade
        return options


def _fields_by_name() -> dict[str, str]:
    """Return the field of every name that a line may use."""
    fields: dict[str, str] = {}
    for field, info in RequestLine.model_fields.items():
        aliases = info.validation_alias.choices if isinstance(info.validation_alias, AliasChoices) else ()
        fields |= {str(name): field for name in (field, *aliases)}
    return fields


FIELDS = _fields_by_name()
_EXPECTED_ID = "text that is not empty, or a whole number"


def parse_line(record: dict[str, Any]) -> RequestLine:
    """Return a line, validated.

    Raises:
        RequestError: names the first invalid field and what was expected.
    """
    try:
        return RequestLine.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0])
        if first["type"] != "extra_forbidden":
            value = shown(record.get(name, first["input"]))
            expected = _EXPECTED_ID if name == "id" else KINDS.get(FIELDS[name], KINDS["upgrade"]).expected
            raise RequestError(f"{name}: {value} is not {expected}") from None
        near = nearest(name, FIELDS)
        raise RequestError(
            f"a request has no option {name!r}" + (f" (did you mean {near}?)" if near else ""),
            hint=OptionText(Remedy("template"), " allows other fields, to put them into the prompt"),
        ) from None
