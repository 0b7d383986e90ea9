"""Schemas of the catalogue and of [models] in config.toml.  Imports pydantic: imported only to validate new data."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from llmroute.errors import ConfigError, RequestError
from llmroute.text.validation import first_invalid
from llmroute.types import Capability, ModelSize  # noqa: TC001 (pydantic reads it)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_USD_PER_MTOK = 1_000_000
MAX_TOKENS = 1_000_000_000


def _day(value: str) -> str:
    try:
        if date.fromisoformat(value).isoformat() == value:
            return value
    except ValueError:
        pass
    raise ValueError("must be a date (YYYY-MM-DD)")


def _check_decimals(value: float) -> float:
    if (Decimal(str(value)) * 10**6) % 1:
        raise ValueError("has more than six decimals")
    return value


Day = Annotated[str, AfterValidator(_day)]
Usd = Annotated[float, Field(ge=0, le=MAX_USD_PER_MTOK), AfterValidator(_check_decimals)]
Tokens = Annotated[int, Field(gt=0, le=MAX_TOKENS)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\s\x00-\x1f]+$")]
Quality = Annotated[int, Field(ge=0, le=100)]
Text = Annotated[str, Field(max_length=2000)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Effort = Literal["none", "low", "medium", "high", "xhigh", "max"]
EffortForm = Literal[
    "reasoning_effort", "output_config", "thinking_budget", "reasoning_enabled", "think", "think_level"
]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Prices(_Table):
    input: Usd | None = None
    output: Usd | None = None
    cache_read: Usd | None = None
    cache_write: Usd | None = None
    cache_write_1h: Usd | None = None


class _Tier(_Prices):
    above: Annotated[int, Field(ge=0, le=MAX_TOKENS)]


class _TieredPrices(_Prices):
    tiers: list[_Tier] = []


class _DatedPrices(_TieredPrices):
    web_search: Usd | None = None
    service_tiers: dict[Name, _TieredPrices] = {}
    valid_from: Day | None = None
    valid_until: Day | None = None


class _Parameters(_Table):
    temperature: bool = True
    temperature_needs_effort_none: bool = False
    max_temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    stop: bool = True
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    efforts: list[Name] = []
    effort_form: EffortForm | None = None
    default_effort: Name | None = None


class _Model(_Table):
    api_name: Name | None = None
    aliases: list[Name] = []
    context_window: Tokens | None = None
    max_output: Tokens | None = None
    cache_min_tokens: Tokens | None = None
    capabilities: list[Capability] = []
    quality: Quality | None = None
    parameters: _Parameters | None = None
    deprecated_on: Day | None = None
    retires_on: Day | None = None
    successor: Name | None = None
    size: ModelSize = "medium"
    follows: Name | None = None


class UserRow(_Model, _TieredPrices):
    """A table `[models."provider/id"]` of config.toml; prices are in USD per million tokens."""

    batch: _TieredPrices | None = None
    batch_queue_tokens: Tokens | None = None


class _Arena(_Table):
    row: Text
    rating: float
    ci: list[float]
    votes: int
    snapshot: Day


class CatalogueRow(_Model):
    """A model of the catalogue."""

    provider: Name
    id: Name
    price_record: Name | None = None
    prices: list[_DatedPrices] = []
    arena: _Arena | None = None
    as_of: Day
    sources: dict[str, Text] = {}

    @model_validator(mode="after")
    def _check_order_of_prices(self) -> CatalogueRow:
        starts = [price.valid_from or "" for price in self.prices]
        if starts != sorted(set(starts)):
            raise ValueError("has prices that are not in order of their dates")
        return self


class _Speeds(_Table):
    first_token_s: dict[Effort, Seconds]
    tokens_per_s: dict[ModelSize, Seconds]
    hidden_reasoning: bool = False
    source: Text


class _Provider(_Table):
    typical_latency_ms: Annotated[int, Field(gt=0)] | None = None
    local: bool = False
    last_resort: bool = False
    speeds: _Speeds | None = None


class Catalogue(_Table):
    """A complete catalogue file."""

    version: Literal[1] = Field(alias="schema")
    as_of: Day
    attribution: Text
    inputs: dict[str, str] = {}
    providers: dict[str, _Provider]
    models: Annotated[list[CatalogueRow], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_names(self) -> Catalogue:
        known = [f"{row.provider}/{row.id}" for row in self.models]
        if len(set(known)) != len(known):
            raise ValueError("a model is listed twice")
        for row in self.models:
            if row.provider not in self.providers:
                raise ValueError(f"{row.provider}/{row.id} has an unknown provider")
            if row.successor is not None and row.successor not in known:
                raise ValueError(f"the successor of {row.provider}/{row.id} is not listed")
            if row.follows is not None and row.follows not in known:
                raise ValueError(f"the predecessor of {row.provider}/{row.id} is not listed")
        return self


def check_catalogue(catalogue: Any) -> None:
    """Validate a catalogue.

    Raises:
        RequestError: it is invalid; the message has the first invalid place and the reason.
    """
    try:
        Catalogue.model_validate(catalogue)
    except ValidationError as error:
        invalid = first_invalid(error, Catalogue)
        raise RequestError(f"not a valid catalogue: {f'{invalid.place} {invalid.reason}'.lstrip()}") from error


def check_user_models(models: Mapping[str, Any], providers: Collection[str]) -> dict[str, dict[str, Any]]:
    """Validate the rows of [models] in config.toml and return them as plain data, dates as text.

    Raises:
        ConfigError: a name has no known provider, or a value is invalid; the message has the key and the reason.
    """
    checked = {}
    for name, row in models.items():
        key = f'models."{name}"'
        provider, _, model = str(name).partition("/")
        if provider not in providers or not model:
            raise ConfigError(f"{key}: a model is named provider/id", hint=f"the providers are {', '.join(providers)}")
        plain = _with_dates_as_text(row)
        try:
            UserRow.model_validate(plain)
        except ValidationError as error:
            invalid = first_invalid(error, UserRow)
            place = f"{key}.{invalid.place}" if invalid.path else key
            raise ConfigError(f"{place} {invalid.reason}", hint=invalid.hint) from error
        checked[name] = {key: value for key, value in plain.items() if value is not None}
    return checked


def _with_dates_as_text(value: Any) -> Any:
    """Convert the dates of TOML to text, as in the catalogue."""
    if isinstance(value, dict):
        return {key: _with_dates_as_text(item) for key, item in value.items()}
    return value.isoformat() if type(value) is date else value
