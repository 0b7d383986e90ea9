"""The schemas of the lines of a job, in a file beside its lines until the job is collected.

A line of the file has a number and a schema, which is that of the lines of the job from this number on.
"""

from __future__ import annotations

import json
import os
from array import array
from bisect import bisect_right
from typing import IO, TYPE_CHECKING, Any

from llmroute.jobs.private_file import new_file

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from pathlib import Path

    from llmroute.types.answer_schema import AnswerSchema


class SchemaWriter:
    """Writes the schemas of lines in the order of their numbers; there is no file until a line has one.

    `classes` gets the pydantic classes of schemas by name.
    """

    def __init__(self, path: Path, classes: MutableMapping[str, type]) -> None:
        self._path = path
        self._classes = classes
        self._file: IO[bytes] | None = None
        self._last: AnswerSchema | None = None

    def add(self, n: int, schema: AnswerSchema | None) -> None:
        """Write the schema of line `n`, unless it is that of the line before.

        Raises:
            OSError: it cannot be written.
        """
        if schema == self._last:
            return
        self._last = schema
        if self._file is None:
            self._file = new_file(self._path)
        record: dict[str, Any] = {"from": n}
        if schema is not None:
            record["schema"] = schema.document
            if schema.model is not None:
                record["class"] = name = class_name(schema.model)
                self._classes[name] = schema.model
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        """Write the file to the disk.

        Raises:
            OSError: it cannot be written.
        """
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


class LineSchemas:
    """The schemas in a file; `classes` are the pydantic classes of this process by name."""

    def __init__(self, path: Path, classes: Mapping[str, type]) -> None:
        """Read where each schema is.

        Raises:
            OSError: the file exists and cannot be read.
        """
        self._path = path
        self._classes = classes
        self._numbers, self._offsets = array("Q"), array("Q")
        try:
            with path.open("rb") as file:
                offset = 0
                for line in file:
                    self._numbers.append(json.loads(line)["from"])
                    self._offsets.append(offset)
                    offset += len(line)
        except FileNotFoundError:
            pass

    def of(self, n: int) -> AnswerSchema | None:
        """Return the schema of line `n`, None if it has none.

        Raises:
            OSError: the file cannot be read.
        """
        index = bisect_right(self._numbers, n) - 1
        if index < 0:
            return None
        with self._path.open("rb") as file:
            file.seek(self._offsets[index])
            record = json.loads(file.readline())
        if "schema" not in record:
            return None
        from llmroute.schema.answer_schema import schema_of_document

        return schema_of_document(record["schema"], self._classes.get(record.get("class", "")))


def class_name(model: type) -> str:
    """Return the name by which a pydantic class is found again in the same program."""
    return f"{model.__module__}.{model.__qualname__}"
