"""List, correct and export attempts."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llmroute.errors import RequestError
from llmroute.files import cannot_write, replacing
from llmroute.ledger.opening import attempt_columns
from llmroute.ledger.periods import milliseconds
from llmroute.service.costs.report import ends_ms
from llmroute.service.costs.spreadsheet import harmless_cell
from llmroute.service.ledger_opening import ledger_to_change, opened, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal
    from pathlib import Path
    from typing import TextIO

    from llmroute.config import Config
    from llmroute.ledger.port import AttemptFilter, Correction

FORMATS = (".csv", ".jsonl")


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


def last_attempts(config: Config, count: int, selection: Selection | None = None) -> list[dict[str, Any]]:
    """Return the last attempts by column, pending ones included, oldest first.

    Raises:
        RequestError: a time cannot be parsed.
        LedgerError: the ledger cannot be read.
    """
    now = datetime.now().astimezone()
    wanted = _wanted(selection, now)
    with snapshot(config, now) as reading:
        return [] if reading is None else list(reading.last_attempts(count, wanted))


def _wanted(selection: Selection | None, now: datetime) -> AttemptFilter:
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
    from llmroute.types import PICO_PER_USD

    if not 0 <= cost_usd <= MOST_PICOUSD // PICO_PER_USD:
        raise RequestError(f"a call costs between $0 and ${MOST_PICOUSD // PICO_PER_USD:,}, not {cost_usd}")
    cost_picousd = round(cost_usd * PICO_PER_USD)
    now = datetime.now().astimezone()
    with opened(config, now, ledger_to_change) as ledger:
        if ledger is None:
            raise RequestError(f"there is no ledger at {config.ledger.name} yet")
        return ledger.correct(named, cost_picousd, milliseconds(now))


def export(config: Config, target: Path, selection: Selection | None = None) -> int:
    """Write attempts to a file, in the format of its suffix, and return how many there are.

    The file is replaced atomically.  Without a ledger it has no attempts.

    Raises:
        RequestError: the folder does not exist, the suffix is not in FORMATS, or a time cannot be parsed.
        LedgerError: the ledger cannot be read.
        OutputError: the file cannot be written.
    """
    form = target.suffix.lower()
    if form not in FORMATS:
        raise RequestError(f"{target}: the suffix must be one of {', '.join(FORMATS)}")
    with _selected(config, selection) as (names, rows), _replaced(target) as file:
        return _write(file, form, names, rows)


def export_to(config: Config, file: TextIO, form: str, selection: Selection | None = None) -> int:
    """As `export`, to an open file; `form` is one of FORMATS."""
    with _selected(config, selection) as (names, rows):
        return _write(file, form, names, rows)


@contextmanager
def _selected(config: Config, selection: Selection | None) -> Iterator[tuple[list[str], Iterator[dict[str, Any]]]]:
    """Lend the columns and the rows of the selected attempts, of one snapshot."""
    now = datetime.now().astimezone()
    wanted = _wanted(selection, now)
    with snapshot(config, now) as reading:
        if reading is None:
            yield attempt_columns(), iter(())
        else:
            with closing(reading.attempts(wanted)) as rows:
                yield reading.attempt_columns(), rows


def _write(file: TextIO, form: str, names: list[str], rows: Iterator[dict[str, Any]]) -> int:
    return _write_csv(file, names, rows) if form == ".csv" else _write_jsonl(file, rows)


@contextmanager
def _replaced(target: Path) -> Iterator[TextIO]:
    """Write a temporary file that replaces the target when it is complete."""
    try:
        with replacing(target) as fd, open(fd, "w", encoding="utf-8", newline="", closefd=False) as file:
            yield file
    except OSError as error:
        raise cannot_write(target, error) from error


def _write_csv(file: TextIO, columns: list[str], rows: Iterator[dict[str, Any]]) -> int:
    import csv

    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    count = 0
    for row in rows:
        # NULL is an empty cell.
        writer.writerow({name: harmless_cell(value) for name, value in row.items()})
        count += 1
    return count


def _write_jsonl(file: TextIO, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count
