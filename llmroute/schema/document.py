"""An answer read as a document, and checked against the caller's schema."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.schema.bounded_validator import ValidationTimeoutError, explaining, within
from llmroute.schema.restore import DroppedNulls, Restoration, RestoredCase
from llmroute.schema.strict_json import parse_answer, written
from llmroute.schema.subschemas import pointer
from llmroute.schema.validity import validator_of
from llmroute.schema.vendor_forms import NAME
from llmroute.text.redaction import one_line, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from llmroute.schema.restore import ValueChange
    from llmroute.schema.vendor_forms import AnswerForm
    from llmroute.types.answer_schema import AnswerSchema

MOST_ERRORS = 8
MOST_CHARACTERS = 200
"""The longest line about one error."""
VALIDATION_S = 5.0
"""The CPU time that the check of an answer may take; every answer of a usual size is checked within it."""
SEARCH_S = 1.0
"""The CPU time in which the errors of an invalid answer, or its corrections, are looked for."""


class AnswerDocument(NamedTuple):
    """A document that is valid: its value, its text on one line, and an instance of the model class.

    The text has the numbers of the answer as they were written.

    Without a model class, `parsed` is the value.
    """

    value: Any
    text: str
    parsed: Any


class SchemaErrors(NamedTuple):
    """Why an answer is not valid: a few short lines, each with the JSON pointer of the place where there is one."""

    lines: tuple[str, ...]


def read_document(text: str, schema: AnswerSchema, form: AnswerForm) -> AnswerDocument | SchemaErrors:
    """Return the document that an answer in a provider's form is, or what is wrong with it."""
    try:
        value = parse_answer(text)
    except ValueError as error:
        return SchemaErrors((_line(f"not one JSON document: {error}"),))
    try:
        with within(VALIDATION_S):
            return _valid_document(value, schema, form)
    except RecursionError:
        return SchemaErrors(("nested too deeply",))
    except ValidationTimeoutError:
        return SchemaErrors((f"it could not be checked within {VALIDATION_S:g} s",))


def _valid_document(value: Any, schema: AnswerSchema, form: AnswerForm) -> AnswerDocument | SchemaErrors:
    """Return the valid document of a value: the value itself, or the one that a provider's form has wrapped."""
    is_wrapped = form.wrapped and isinstance(value, dict) and value.keys() == {NAME}
    # A model that is asked in words may leave the wrapping out, also where the schema has a property of that name; and
    # so may a gateway that does not keep to the form.
    if is_wrapped and not (form.in_words and validator_of(schema).is_valid(value)):
        value = value[NAME]
    value, is_valid = _restored(value, schema, form)
    if not is_valid:
        return SchemaErrors(_lines(schema, value))
    text = written(value)
    value = json.loads(text)
    return AnswerDocument(value, text, value) if schema.model is None else _of_model(value, text, schema.model)


def _restored(value: Any, schema: AnswerSchema, form: AnswerForm) -> tuple[Any, bool]:
    """Return the value without nulls that stand for nothing, or else with the right capitals; and if it is valid."""

    def accepts(place: str, part: Any) -> bool:
        return bool(validator_of(schema, place).is_valid(part))

    def changed(value: Any, correction: ValueChange) -> Any:
        try:
            with within(SEARCH_S):
                return Restoration(schema.document, correction, accepts).at(value)
        except ValidationTimeoutError:
            return value

    if form.null_is_absent:
        value = changed(value, DroppedNulls())
    if validator_of(schema).is_valid(value):
        return value, True
    value = changed(value, RestoredCase())
    return value, bool(validator_of(schema).is_valid(value))


def _lines(schema: AnswerSchema, value: Any) -> tuple[str, ...]:
    """Return the errors of an invalid value, at least one line."""
    from jsonschema.exceptions import best_match

    try:
        with within(SEARCH_S), explaining():
            errors = list(islice(validator_of(schema).iter_errors(value), MOST_ERRORS))
    except ValidationTimeoutError:
        return ("it is not valid, and its errors are too many to look for",)
    # The best match of one error is the part of its alternatives that says most.
    deepest = filter(None, (best_match([error]) for error in errors))
    return tuple(_lines_of((error.absolute_path, error.message) for error in deepest))


def _of_model(value: Any, text: str, model: Any) -> AnswerDocument | SchemaErrors:
    """Return the document with an instance of a pydantic class, or what its own validators say."""
    from pydantic import ValidationError

    try:
        return AnswerDocument(value, text, model.model_validate_json(text))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return SchemaErrors(tuple(_lines_of((each["loc"], each["msg"]) for each in found[:MOST_ERRORS])))
    except Exception as error:  # noqa: BLE001 (of the caller's validators)
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return SchemaErrors((_line(f"{model.__name__} does not take it: {reason}"),))


def _lines_of(errors: Iterable[tuple[Iterable[str | int], str]]) -> Iterator[str]:
    for path, message in errors:
        place = pointer(list(path))
        shown = place if len(place) <= MOST_CHARACTERS // 2 else f"{place[: MOST_CHARACTERS // 2]}…"
        yield _line(f"{shown}: {message}" if shown else message)


def _line(text: str) -> str:
    return shortened(one_line(text[: 10 * MOST_CHARACTERS]), MOST_CHARACTERS)
