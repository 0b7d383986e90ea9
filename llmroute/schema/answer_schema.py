"""Schemas from what callers give: a JSON Schema as data or text, the short form, or a pydantic model class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from llmroute.errors import RequestError
from llmroute.schema.repair import instruction
from llmroute.schema.short_form import schema_of_short_form
from llmroute.schema.strict_json import parse
from llmroute.schema.validity import check_schema, invalid
from llmroute.types.answer_schema import AnswerSchema


def read_schema(given: AnswerSchema | Mapping[str, Any] | type | str) -> AnswerSchema:
    """Return the schema that a JSON Schema, its text, a short form or a pydantic model class describes.

    Raises:
        RequestError: it describes none; the option is `schema`.
    """
    if isinstance(given, AnswerSchema):
        return given
    if isinstance(given, str):
        return schema_of_text(given)
    if isinstance(given, Mapping):
        return schema_of_document(given)
    return _schema_of_model(given)


def schema_of_text(text: str) -> AnswerSchema:
    """Return the schema of JSON text, which begins with `{`, or of the short form.

    Raises:
        RequestError: it is neither.
    """
    plain = text.removeprefix("\ufeff").strip()
    if plain.startswith("{"):
        return schema_of_json(plain)
    return schema_of_document(schema_of_short_form(plain))


def schema_of_json(text: str) -> AnswerSchema:
    """Return the schema of JSON text, as that of a file.

    Raises:
        RequestError: the text is no JSON, or no JSON Schema.
    """
    try:
        document = parse(text.removeprefix("\ufeff").strip())
    except ValueError as error:
        raise RequestError(f"schema: not valid JSON: {error}", option="schema") from None
    if not isinstance(document, dict):
        raise invalid("it must be an object", hint='an example is {"type": "object", "properties": {}}')
    return schema_of_document(document)


def schema_of_document(document: Mapping[str, Any], model: type | None = None) -> AnswerSchema:
    """Return a JSON Schema that is given as data, copied.

    Raises:
        RequestError: it is no JSON Schema.
    """
    try:
        text = json.dumps(_plain(document), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except RecursionError:
        raise invalid("it is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise invalid(f"it holds a value that JSON does not have: {error}") from None
    return _checked(text, model)


@lru_cache(maxsize=64)
def _checked(text: str, model: type | None) -> AnswerSchema:
    """Return the schema of its compact text; the requests of a batch share one."""
    document = json.loads(text)
    check_schema(document)
    return AnswerSchema(text, instruction(text), document, model)


def list_of(schema: AnswerSchema) -> AnswerSchema:
    """Return the schema of an object whose `items` are a list of what a schema describes."""
    from llmroute.schema.subschemas import moved

    dialect = {key: schema.document[key] for key in ("$schema",) if key in schema.document}
    own_name = schema.document.get("$id")
    inner = {key: value for key, value in schema.document.items() if key not in ("$schema", "$id", "$recursiveAnchor")}
    items = {"type": "array", "items": moved(inner, "#/properties/items/items", own_name)}
    return schema_of_document(dialect | {"type": "object", "properties": {"items": items}, "required": ["items"]})


def _schema_of_model(model: object) -> AnswerSchema:
    from pydantic import BaseModel
    from pydantic.errors import PydanticUserError

    if not isinstance(model, type) or not issubclass(model, BaseModel):
        shown = model.__name__ if isinstance(model, type) else type(model).__name__
        raise RequestError(
            f"schema: {shown} is no schema",
            hint="give a JSON Schema as a dict, or a pydantic model class",
            option="schema",
        )
    try:
        document = model.model_json_schema()
    except PydanticUserError as error:
        raise invalid(f"{model.__name__} has none: {error.message}") from error
    return schema_of_document(document, model)


def _plain(value: Any) -> Any:
    """Return data with mappings as dicts, which JSON can be written of."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a key is not text")
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
