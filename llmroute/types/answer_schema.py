"""The JSON Schema that a request's answer must satisfy."""

# No postponed annotations: see `llmroute.types`.
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmroute.types.values import Value


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class AnswerSchema(Value):
    """A valid JSON Schema, as `llmroute.schema.answer_schema` reads it; equal where the JSON text and the class are.

    `text` is the schema as compact JSON and `document` the same as data, not to be changed.  `words` is the instruction
    for models without a native form.  `model` is the pydantic class that the schema is of, None without one.
    """

    text: str
    words: str
    document: Mapping[str, Any]
    model: type | None = None

    def _fields(self) -> tuple[object, ...]:
        return self.text, self.model
