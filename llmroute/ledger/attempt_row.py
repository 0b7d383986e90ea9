"""An attempt as a row of the ledger."""

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Literal

from llmroute.types import Usage
from llmroute.types.response import UsageSource

CostBasis = Literal["reported", "estimated", "at_most", "at_least", "corrected"]
"""Where a cost comes from.

* reported: computed from the usage that the provider told, or nothing was sent, or the provider refused: a fact
* estimated: a guess, as the usage is not known, and `reserved_picousd` is the most; or, where the usage was reported,
  as the price after a promotion is not known, and the dearest known was taken
* at_most: the whole reservation, as no usage is known and a budget binds; the true cost may be less
* at_least: computed, and something has a price that is not known, or the end of its price has passed
* corrected: set by the user

Of a pending row it says how the row is settled if its process dies: `estimated` or `at_most`.
"""


@dataclass(slots=True)
class AttemptRow:
    """One call to one provider; the columns of the table `attempts`, whose comments say what each means."""

    request_id: str
    attempt: int
    started_ms: int
    provider: str
    model: str
    streaming: bool
    status: str = "pending"
    error: str | None = None
    http_status: int | None = None
    settled_ms: int | None = None
    served_model: str | None = None
    provider_request_id: str | None = None
    strategy: str | None = None
    chain: str | None = None
    task: str | None = None
    workspace: str | None = None
    execution: str | None = None
    effort: str | None = None
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_source: UsageSource = "none"
    price: str | None = None
    price_as_of: str | None = None
    reserved_picousd: int | None = None
    cost_picousd: int | None = None
    latency_ms: int | None = None
    ttft_ms: int | None = None
    finish_reason: str | None = None
    pid: int | None = None
    host: str | None = None
    process: str | None = None
    deadline_ms: int | None = None
    cache_write_1h_tokens: int | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    server_tools: str | None = None
    cost_basis: CostBasis | None = None
    expected_picousd: int | None = None
    corrected_ms: int | None = None
    computed_picousd: int | None = None
    prompt_cut: str | None = None

    def count(self, usage: Usage) -> None:
        """Take in the tokens that were used, and where the counts come from."""
        for name in _COUNTS:
            setattr(self, name, getattr(usage, name))
        self.usage_source = usage.source

    def usage(self) -> Usage:
        """Return the tokens that were used."""
        return Usage(**{name: getattr(self, name) for name in _COUNTS}, source=self.usage_source)

    def values(self) -> tuple[Any, ...]:
        """Return the values in the order of COLUMNS."""
        row_values: tuple[Any, ...] = _values(self)
        return row_values


_COUNTS = tuple(field.name for field in fields(Usage) if field.name != "source")
COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(AttemptRow))
_values = attrgetter(*COLUMNS)
