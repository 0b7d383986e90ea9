"""Write tables of attempts or charges as CSV, JSON lines or Parquet."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO

from llmroute.errors import OutputError
from llmroute.service.costs.exports.focus import plain
from llmroute.service.costs.spreadsheet import harmless_cell

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS_A_GROUP: Final = 50_000
PARQUET: Final = ".parquet"
TEXT_FORMATS: Final = (".csv", ".jsonl")
FORMATS: Final = (*TEXT_FORMATS, PARQUET)
# Enough for a pico-USD and for a million USD.
_DIGITS, _DECIMALS = 38, 18


class ExportedTable(NamedTuple):
    """Rows by column, the types of the columns, and what a file may say of itself."""

    columns: dict[str, type]
    rows: Iterator[dict[str, Any]]
    metadata: dict[str, str] = {}  # noqa: RUF012 (never changed)


def write_csv(table: ExportedTable, file: TextIO) -> int:
    """Write a table as CSV and return its number of rows.  None is an empty cell."""
    import csv

    writer = csv.DictWriter(file, list(table.columns), lineterminator="\n")
    writer.writeheader()
    count = 0
    for row in table.rows:
        writer.writerow({name: harmless_cell(_as_text(value)) for name, value in row.items()})
        count += 1
    return count


def write_jsonl(table: ExportedTable, file: TextIO) -> int:
    """Write a table as JSON lines and return its number of rows."""
    count = 0
    for row in table.rows:
        file.write(json.dumps(row, ensure_ascii=False, default=_as_json) + "\n")
        count += 1
    return count


def write_text(table: ExportedTable, file: TextIO, form: str) -> int:
    """Write a table in one of TEXT_FORMATS and return its number of rows."""
    return write_csv(table, file) if form == ".csv" else write_jsonl(table, file)


def write_parquet(table: ExportedTable, fd: int) -> int:
    """Write a table as Parquet and return its number of rows.

    Raises:
        OutputError: pyarrow is not installed.
    """
    pa, parquet = _pyarrow()
    kinds = {
        str: pa.string(),
        int: pa.int64(),
        bool: pa.bool_(),
        float: pa.float64(),
        Decimal: pa.decimal128(_DIGITS, _DECIMALS),
        datetime: pa.timestamp("ms", tz="UTC"),
    }
    schema = pa.schema([(name, kinds[kind]) for name, kind in table.columns.items()], metadata=table.metadata)
    count = 0
    with open(fd, "wb", closefd=False) as file, parquet.ParquetWriter(file, schema) as writer:
        while group := [row for row, _ in zip(table.rows, range(_ROWS_A_GROUP), strict=False)]:
            writer.write_table(pa.Table.from_pylist([_typed(row, table.columns) for row in group], schema=schema))
            count += len(group)
    return count


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise OutputError(
            "Parquet needs pyarrow, which is not installed", hint="pip install 'llmroute[parquet]'"
        ) from None
    return pa, parquet


def _typed(row: dict[str, Any], columns: dict[str, type]) -> dict[str, Any]:
    """Return a row of SQLite, where booleans are numbers, with the types of its columns."""
    return {name: None if value is None else _cast(value, columns[name]) for name, value in row.items()}


def _cast(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) else kind(value)


def _as_text(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value


def _as_json(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else _as_text(value)
