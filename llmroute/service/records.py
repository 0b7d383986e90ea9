"""The attempts themselves: the last ones, and all of them in a file."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llmroute.errors import RequestError, cannot_write
from llmroute.private_files import replacing
from llmroute.service.opening import opened
from llmroute.service.spreadsheets import harmless_cell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

    from llmroute.config import Config

FORMATS = (".csv", ".jsonl")


def last_attempts(config: Config, count: int, workspace: str | None = None) -> list[dict[str, Any]]:
    """Return the columns of the last attempts, those under way too, oldest first.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    from llmroute.ledger.reports import attempts

    with opened(config, datetime.now().astimezone()) as ledger:
        return [] if ledger is None else list(attempts(ledger, count, workspace))


def export(config: Config, target: Path) -> int:
    """Write every attempt into a file, in the format of its ending, and return how many there are.

    The file is there whole or not at all, and replaces one of that name.

    Raises:
        RequestError: there is no ledger, no folder for the file, or the ending is none of FORMATS.
        LedgerError: the ledger cannot be read.
        OutputError: the file cannot be written.
    """
    if target.suffix.lower() not in FORMATS:
        raise RequestError(f"{target} ends in neither of {' and '.join(FORMATS)}")
    from llmroute.ledger.reports import attempt_columns, attempts

    with opened(config, datetime.now().astimezone()) as ledger:
        if ledger is None:
            raise RequestError(f"there is no ledger at {config.ledger_path} yet")
        with _whole(target) as file:
            if target.suffix.lower() == ".csv":
                return _write_csv(file, attempt_columns(ledger), attempts(ledger))
            return _write_jsonl(file, attempts(ledger))


@contextmanager
def _whole(target: Path) -> Iterator[TextIO]:
    """Write under another name, and put the file in its place when it is whole."""
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
        # A null is an empty cell.
        writer.writerow({name: harmless_cell(value) for name, value in row.items()})
        count += 1
    return count


def _write_jsonl(file: TextIO, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count
