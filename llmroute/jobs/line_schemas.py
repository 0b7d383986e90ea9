"""The schemas of the lines of a job, which the journal keeps until the job is collected."""

from __future__ import annotations

import json
from bisect import bisect_right
from typing import TYPE_CHECKING

from llmroute.ledger.jobs import SchemaOfLines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping, Sequence
    from pathlib import Path

    from llmroute.ledger.jobs import JobJournal
    from llmroute.types.answer_schema import AnswerSchema


class SchemaChanges:
    """Finds where the schema of lines changes; `classes` gets the pydantic classes of schemas by name."""

    def __init__(self, classes: MutableMapping[str, type]) -> None:
        self._classes = classes
        self._last: AnswerSchema | None = None

    def of(self, lines: Iterable[tuple[int, AnswerSchema | None]]) -> list[SchemaOfLines]:
        """Return the schemas of lines, in the order of their numbers, that are not those of the lines before."""
        changes = []
        for n, schema in lines:
            if schema != self._last:
                self._last = schema
                changes.append(self._change(n, schema))
        return changes

    def _change(self, n: int, schema: AnswerSchema | None) -> SchemaOfLines:
        if schema is None:
            return SchemaOfLines(n, None)
        name = None
        if schema.model is not None:
            name = class_name(schema.model)
            self._classes[name] = schema.model
        return SchemaOfLines(n, json.dumps(schema.document, ensure_ascii=False), name)


class LineSchemas:
    """The schemas of a job; `classes` are the pydantic classes of this process by name.  Its methods may block.

    Jobs of older versions have them in a file.
    """

    def __init__(self, journal: JobJournal, job: str, classes: Mapping[str, type], older: Path) -> None:
        """Read where each schema begins.

        Raises:
            LedgerError: the journal cannot be read.
            OSError: the file of an older version exists and cannot be read.
        """
        self._journal = journal
        self._job = job
        self._classes = classes
        self._starts = journal.schema_starts(job)
        if not self._starts and older.exists():
            journal.add_schemas(job, _read(older))
            self._starts = journal.schema_starts(job)

    def of_lines(self, numbers: Sequence[int]) -> dict[int, AnswerSchema]:
        """Return the schemas of lines by number, without lines that have none.

        Raises:
            LedgerError: the journal cannot be read.
        """
        if not self._starts:
            return {}
        starts = {n: self._starts[index] for n in numbers if (index := bisect_right(self._starts, n) - 1) >= 0}
        from llmroute.schema.answer_schema import schema_of_document

        found = {
            one.n: schema_of_document(json.loads(one.document), self._classes.get(one.class_name or ""))
            for one in self._journal.schemas(self._job, sorted({*starts.values()}))
            if one.document is not None
        }
        return {n: found[start] for n, start in starts.items() if start in found}


def _read(path: Path) -> list[SchemaOfLines]:
    with path.open("rb") as file:
        records = [json.loads(line) for line in file]
    return [
        SchemaOfLines(
            record["from"],
            json.dumps(record["schema"], ensure_ascii=False) if "schema" in record else None,
            record.get("class"),
        )
        for record in records
    ]


def class_name(model: type) -> str:
    """Return the name by which a pydantic class is found again in the same program."""
    return f"{model.__module__}.{model.__qualname__}"
