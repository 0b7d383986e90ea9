"""An attempt as a row of the ledger."""

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Literal

from llmroute.types import Usage
from llmroute.types.response import UsageSource

CostBasis = Literal["reported", "estimated", "at_most", "at_least", "corrected"]
"""The basis of a cost.

* reported: computed from the reported usage, or zero because nothing was sent or the provider rejected the request *
estimated: the usage is unknown, and `reserved_picousd` is the upper bound; or the usage was reported and the price
after a promotion is unknown, so that the highest known price was used * at_most: the complete reservation, because the
usage is unknown and a budget applies; the true cost may be less * at_least: computed, but the price of a part is
unknown or has expired * corrected: set by the user

In a pending row it is the basis of its settlement if the process dies: `estimated` or `at_most`.
"""


@dataclass(slots=True)
class AttemptRow:
    """One call to one provider; the columns of the table `attempts`, whose comments describe each."""

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
        """Set the used tokens and the source of the counts."""
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
