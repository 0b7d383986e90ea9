"""Schema of config.toml, imported only when the file has changed."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from llmroute.errors import ConfigError
from llmroute.text.validation import first_invalid
from llmroute.types import MOST_ATTEMPTS, MOST_USD
from llmroute.types.labels import label_problem
from llmroute.urls import is_base_url


def _check_url(text: str) -> str:
    if not is_base_url(text):
        raise ValueError("is not a URL like https://host/v1")
    return text


def _check_model(text: str) -> str:
    if not re.fullmatch(r"[^\s/]+/\S+", text):
        raise ValueError("must be provider/model, such as anthropic/claude-haiku-4-5")
    return text


def _check_label(text: str) -> str:
    if (problem := label_problem(text)) is not None:
        raise ValueError(problem)
    return text


ChainName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
ModelName = Annotated[str, AfterValidator(_check_model)]
Label = Annotated[str, AfterValidator(_check_label)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
USD = Annotated[float, Field(ge=0, le=MOST_USD, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ProviderTable(_Table):
    """[providers.NAME]; API keys are read from the environment or a .env file, never from here."""

    base_url: Annotated[str, AfterValidator(_check_url)] | None = None
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
    """Budgets in USD."""

    day: USD | None = None
    week: USD | None = None
    month: USD | None = None
    total: USD | None = None


class BudgetsTable(CapsTable):
    """[budgets], with [budgets.workspaces.NAME] for one workspace."""

    warn_at: Annotated[float, Field(gt=0, le=1)] | None = None
    workspaces: dict[Annotated[Label, Field(min_length=1)], CapsTable] = {}


class BalanceTable(_Table):
    """[balance] of the balanced strategy, in USD."""

    wrong_answer_usd: USD | None = None
    second_usd: USD | None = None


def _no_weights(_value: Any) -> None:
    raise ValueError("is replaced by [balance] with wrong_answer_usd (0.20) and second_usd (0.00005), in USD")


class Document(_Table):
    """A complete config.toml."""

    default_provider: str | None = None
    ledger: Annotated[str, Field(min_length=1)] | None = None
    strategy: str | None = None
    enable_fallback: bool | None = None
    max_attempts: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS)] | None = None
    prefer_local: bool | None = None
    max_latency_ms: Annotated[int, Field(gt=0)] | None = None
    workspace: Label | None = None
    upgrade: bool | None = None
    chains: dict[ChainName, Annotated[list[ModelName], Field(min_length=1)]] = {}
    balance: BalanceTable = BalanceTable()
    default_preference: Annotated[float, Field(gt=0, le=1)] | None = None
    weights: Annotated[Any, BeforeValidator(_no_weights)] = None
    timeouts: TimeoutsTable = TimeoutsTable()
    budgets: BudgetsTable = BudgetsTable()
    providers: dict[str, ProviderTable] = {}
    models: dict[str, Any] = {}  # `registry.schema` validates the rows


def validate(document: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the settings of a document as plain values.

    Raises:
        ConfigError: a setting is unknown or invalid; the message names the file at `path`, the key and the reason.
    """
    try:
        return Document.model_validate(document).model_dump(exclude_none=True, exclude_defaults=True)
    except ValidationError as error:
        invalid = first_invalid(error, Document)
    if variable := _key_variable(invalid.path):
        raise ConfigError(
            f"{path}: {invalid.place}: API keys are not read from this file",
            hint=f"set {variable} in the environment or in a .env file beside it",
        )
    name = str(invalid.path[0])
    if len(invalid.path) == 1 and isinstance(table := document.get(name), dict) and table.keys() & _PROVIDER_SETTINGS:
        raise ConfigError(f"{path}: [{name}] is not a known table", hint=f"did you mean [providers.{name}]?")
    raise ConfigError(f"{path}: {invalid.place} {invalid.reason}", hint=invalid.hint)


_PROVIDER_SETTINGS = {*ProviderTable.model_fields, "api_key"}


def _key_variable(path: tuple[str | int, ...]) -> str | None:
    """Return the environment variable of a misplaced API key; None for another setting."""
    name = str(path[-1])
    if name == "api_key" and path[0] == "providers":
        return f"{str(path[1]).upper()}_API_KEY"
    if name == "api_key":
        return "OPENAI_API_KEY, ANTHROPIC_API_KEY, MISTRAL_API_KEY or TOGETHER_API_KEY"
    return name.upper() if name.lower().endswith("_api_key") else None
