"""What config.toml may hold.  Imported only when the file has changed."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from llmroute.errors import ConfigError
from llmroute.types import MOST_ATTEMPTS
from llmroute.urls import is_base_url


def _checked_address(text: str) -> str:
    if not is_base_url(text):
        raise ValueError("not an address like https://host/v1")
    return text


ChainName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
ModelName = Annotated[str, Field(pattern=r"^[^\s/]+/\S+$")]
Weight = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
USD = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ProviderTable(_Table):
    """[providers.NAME]; keys live in the environment or in a .env file, never here."""

    base_url: Annotated[str, AfterValidator(_checked_address)] | None = None
    organization: Annotated[str, Field(pattern=r"^[ -~]+$")] | None = None


class TimeoutsTable(_Table):
    """[timeouts]."""

    total_s: Seconds | None = None
    connect_s: Seconds | None = None
    first_token_s: Seconds | None = None
    slow_first_token_s: Seconds | None = None
    stall_s: Seconds | None = None
    ledger_s: Seconds | None = None


class CapsTable(_Table):
    """Caps in USD."""

    day: USD | None = None
    week: USD | None = None
    month: USD | None = None
    total: USD | None = None


class BudgetsTable(CapsTable):
    """[budgets]; [budgets.workspaces.NAME] holds those of one workspace."""

    workspaces: dict[Annotated[str, Field(min_length=1)], CapsTable] = {}


class WeightsTable(_Table):
    """[weights] of the balanced score."""

    cost: Weight | None = None
    latency: Weight | None = None
    quality: Weight | None = None
    reliability: Weight | None = None


class Document(_Table):
    """The whole file."""

    default_provider: str | None = None
    strategy: str | None = None
    enable_fallback: bool | None = None
    max_attempts: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS)] | None = None
    prefer_local: bool | None = None
    max_latency_ms: Annotated[int, Field(gt=0)] | None = None
    workspace: str | None = None
    upgrade: bool | None = None
    chains: dict[ChainName, Annotated[list[ModelName], Field(min_length=1)]] = {}
    weights: WeightsTable = WeightsTable()
    timeouts: TimeoutsTable = TimeoutsTable()
    budgets: BudgetsTable = BudgetsTable()
    providers: dict[str, ProviderTable] = {}
    models: dict[str, Any] = {}  # each row is checked by who knows what a model is


def validate(document: dict[str, Any], place: str) -> dict[str, Any]:
    """Return the settings that the document sets, as plain values.

    Raises:
        ConfigError: names the first key that is wrong, the file, and what was expected.
    """
    try:
        return Document.model_validate(document).model_dump(exclude_none=True, exclude_defaults=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raised = first.get("ctx", {}).get("error")
        told = {"extra_forbidden": "no such setting", "value_error": str(raised)}
        reason = told.get(first["type"], first["msg"])
        raise ConfigError(f"{key}: in {place}: {reason[:1].lower()}{reason[1:]}") from None
