"""List, correct and export attempts."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.errors import RequestError
from llmroute.files import cannot_write, regular_target, replacing
from llmroute.ledger.opening import attempt_columns
from llmroute.ledger.periods import ends_ms, milliseconds
from llmroute.ledger.reports import Line
from llmroute.service.costs.exports.pruned import pruned_sum
from llmroute.service.costs.exports.tables import FORMATS, PARQUET, ExportedTable, write_parquet, write_text
from llmroute.service.costs.report import require_text
from llmroute.service.ledger_opening import ledger_to_change, now_of, opened, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal
    from pathlib import Path
    from typing import TextIO

    from llmroute.config import Config
    from llmroute.ledger.corrections import Correction
    from llmroute.ledger.port import AttemptFilter, LedgerSnapshot


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions on attempts, None for no condition.

    `since` and `until` are spans back from now (`24h`, `7d`, `2w`) or local dates and times; `model` may name its
    provider.
    """

    since: str | None = None
    until: str | None = None
    model: str | None = None
    status: str | None = None
    workspace: str | None = None
    execution: str | None = None

    def __post_init__(self) -> None:
        """Refuse names that no call can have.

        Raises:
            RequestError: one is not valid text.
        """
        for option in ("model", "workspace", "execution"):
            require_text(option, getattr(self, option))


def last_attempts(config: Config, count: int, selection: Selection | None = None) -> list[dict[str, Any]]:
    """Return the last attempts by column, pending ones included, oldest first.

    Raises:
        RequestError: a time cannot be parsed.
        LedgerError: the ledger cannot be read.
    """
    with selected_from(config, selection) as (reading, wanted):
        return [] if reading is None else list(reading.last_attempts(count, wanted))


@contextmanager
def selected_from(config: Config, selection: Selection | None) -> Iterator[tuple[LedgerSnapshot | None, AttemptFilter]]:
    """Open a snapshot of the ledger, None where there is none, and the filter of a selection by its clock.

    Raises:
        RequestError: a time cannot be parsed.
        LedgerError: the ledger cannot be read.
    """
    now = datetime.now().astimezone()
    # A selection that is not valid is reported whether or not the ledger can be read.
    attempt_filter(selection, now)
    with snapshot(config, now) as reading:
        yield reading, attempt_filter(selection, now_of(reading, now))


def attempt_filter(selection: Selection | None, now: datetime) -> AttemptFilter:
    """Return the filter of a selection, with times in milliseconds.

    Raises:
        RequestError: a time cannot be parsed.
    """
    from llmroute.ledger.port import AttemptFilter

    if selection is None:
        return AttemptFilter()
    since_ms, until_ms = ends_ms(selection.since, selection.until, now)
    return AttemptFilter(
        since_ms, until_ms, selection.model, selection.status, selection.workspace, selection.execution
    )


def correct(config: Config, named: str, cost_usd: Decimal) -> Correction:
    """Replace the cost of an attempt, rounded to a pico-USD.

    Raises:
        RequestError: there is no ledger or no such attempt, or the cost is out of range.
        LedgerError: the ledger cannot be written.
    """
    from llmroute.planning.usage_cost import MOST_PICOUSD
    from llmroute.types import PICO_PER_USD, as_picousd

    if not 0 <= cost_usd <= MOST_PICOUSD // PICO_PER_USD:
        raise RequestError(f"a call costs between $0 and ${MOST_PICOUSD // PICO_PER_USD:,}, not {cost_usd}")
    cost_picousd = as_picousd(cost_usd)
    now = datetime.now().astimezone()
    with opened(config, now, ledger_to_change) as ledger:
        if ledger is None:
            raise RequestError(f"there is no ledger at {config.ledger.name} yet")
        return ledger.correct(named, cost_picousd, milliseconds(now))


def unchanged(table: ExportedTable) -> ExportedTable:
    """Leave attempts as they are in the ledger."""
    return table


class FocusLayout:
    """Makes charges of FOCUS of attempts, and counts those whose cost is not known: they have no charge."""

    def __init__(self) -> None:
        self.unknown_cost_count = 0

    def __call__(self, table: ExportedTable) -> ExportedTable:
        """Return the charges of a table of attempts."""
        from llmroute.service.costs.exports.focus import COLUMNS, VERSION

        return ExportedTable(COLUMNS, self._charges(table.rows), {"FocusVersion": VERSION})

    def _charges(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        from llmroute.service.costs.exports.focus import charges

        for row in rows:
            self.unknown_cost_count += row["status"] != "pending" and row["cost_picousd"] is None
            yield from charges(row)


class Exported(NamedTuple):
    """How many rows were written, and the sum of the attempts that have none, because they were pruned."""

    row_count: int
    pruned: Line


def export(
    config: Config,
    target: Path,
    selection: Selection | None = None,
    layout: Callable[[ExportedTable], ExportedTable] = unchanged,
) -> Exported:
    """Write attempts to a file, in the format of its suffix.

    The file, or what a link names, is replaced atomically.  Without a ledger it has no rows.

    Raises:
        RequestError: the path is no file, the folder does not exist, the suffix is not in FORMATS, a time cannot be
            parsed, or a package is missing.
        LedgerError: the ledger cannot be read.
        OutputError: the file cannot be written.
    """
    form = target.suffix.lower()
    if form not in FORMATS:
        raise RequestError(f"{target}: the suffix must be one of {', '.join(FORMATS)}")
    replaced = regular_target(target)
    try:
        with _selected(config, selection) as (table, pruned), replacing(replaced) as fd:
            if form == PARQUET:
                return Exported(write_parquet(layout(table), fd), pruned)
            with open(fd, "w", encoding="utf-8", newline="", closefd=False) as file:
                return Exported(write_text(layout(table), file, form), pruned)
    except OSError as error:
        raise cannot_write(target, error) from error


def export_to(
    config: Config,
    file: TextIO,
    form: str,
    selection: Selection | None = None,
    layout: Callable[[ExportedTable], ExportedTable] = unchanged,
) -> Exported:
    """As `export`, to an open file; `form` is one of TEXT_FORMATS."""
    with _selected(config, selection) as (table, pruned):
        return Exported(write_text(layout(table), file, form), pruned)


@contextmanager
def _selected(config: Config, selection: Selection | None) -> Iterator[tuple[ExportedTable, Line]]:
    """Yield the selected attempts of one snapshot, and the sum of those that were pruned."""
    with selected_from(config, selection) as (reading, wanted):
        if reading is None:
            yield ExportedTable(_typed(attempt_columns()), iter(())), Line()
        else:
            pruned = pruned_sum(reading, wanted)
            with closing(reading.attempts(wanted)) as rows:
                yield ExportedTable(_typed(reading.attempt_columns()), rows), pruned


def _typed(columns: list[str]) -> dict[str, type]:
    """Return the columns with their types: those of an AttemptRow, and of what the ledger adds."""
    from llmroute.ledger.attempt_row import AttemptRow

    kinds: dict[str, type] = {"id": int, "cost_usd": float}
    for name, hint in AttemptRow.__annotations__.items():
        kinds[name] = next((kind for kind in (bool, int) if hint in (kind, kind | None)), str)
    return {name: kinds.get(name, str) for name in columns}
