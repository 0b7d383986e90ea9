"""What a line of a batch may say: its id, its prompt, and any option of `gen`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from llmroute.errors import RequestError
from llmroute.text.option_names import OptionText, Remedy
from llmroute.text.suggest import nearest


def _also(*names: str) -> Any:
    """Take a field by the name of its flag as well as by that of the library."""
    return Field(None, validation_alias=AliasChoices(*names))


class RequestLine(BaseModel):
    """One JSON line; values are checked against each other when the request is made, as those of `gen` are."""

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
    on_budget: str | None = None
    max_latency_ms: int | None = _also("max_latency", "max_latency_ms")
    min_quality: int | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    effort: str | None = None
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
        """Return what the line says, by the names of `Options`."""
        said = self.model_dump(exclude_none=True, exclude={"id", "no_fallback", "no_upgrade"})
        if self.no_fallback is not None:
            said["enable_fallback"] = not self.no_fallback
        if self.no_upgrade is not None:
            said["upgrade"] = not self.no_upgrade
        return said


def names() -> frozenset[str]:
    """Return every name that a line may use."""
    aliases = [field.validation_alias for field in RequestLine.model_fields.values()]
    choices = [str(name) for alias in aliases if isinstance(alias, AliasChoices) for name in alias.choices]
    return frozenset([*RequestLine.model_fields, *choices])


NAMES = names()


def read(said: dict[str, Any]) -> RequestLine:
    """Return a line, checked.

    Raises:
        RequestError: names the first field that is wrong, and what was expected.
    """
    try:
        return RequestLine.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0])
        if first["type"] != "extra_forbidden":
            raise RequestError(f"{name}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None
        near = nearest(name, NAMES)
        raise RequestError(
            f"{name!r} is no option of a request" + (f" (did you mean {near}?)" if near else ""),
            hint=OptionText("a line may hold other fields where ", Remedy("template"), " puts them into the prompt"),
        ) from None
