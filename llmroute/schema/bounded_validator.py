"""Validators of JSON Schemas that end: answers of models are checked against patterns of any origin.

Python's `re` and the keywords of jsonschema may take exponential time, and divide decimal fractions as binary ones.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from contextvars import ContextVar
from fractions import Fraction
from functools import lru_cache
from math import inf
from time import thread_time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jsonschema.exceptions import ValidationError

    Keyword = Callable[[Any, Any, Any, Mapping[str, Any]], Iterator[ValidationError] | None]

_until_s: ContextVar[float] = ContextVar("until_s", default=inf)
# Whether the errors of alternatives are wanted; otherwise one error says that none holds.
_explaining: ContextVar[bool] = ContextVar("explaining", default=False)


class ValidationTimeoutError(Exception):
    """A value could not be checked within its time."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Bound the CPU time of all checks in the block together, which a busy machine and other threads do not use up.

    Raises:
        ValidationTimeoutError: it is over.
    """
    token = _until_s.set(min(_until_s.get(), thread_time() + seconds))
    try:
        yield
    finally:
        _until_s.reset(token)


@contextmanager
def explaining(*, wanted: bool = True) -> Iterator[None]:
    """Include the errors of each alternative in those of `anyOf`: this may take exponential time."""
    token = _explaining.set(wanted)
    try:
        yield
    finally:
        _explaining.reset(token)


@lru_cache(maxsize=16)
def bounded(kind: Any) -> Any:
    """Return a validator class of jsonschema whose keywords keep to the time of `within`."""
    from jsonschema.validators import extend

    own: dict[str, Keyword] = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "unevaluatedProperties": _unevaluated_properties,
        "uniqueItems": _unique_items,
        "multipleOf": _multiple_of,
    }
    keywords = {name: own.get(name, keyword) for name, keyword in kind.VALIDATORS.items()}
    for name, check in (("anyOf", _any_of), ("oneOf", _one_of)):
        if name in keywords:
            keywords[name] = check(keywords[name])
    return extend(kind, {name: _timed(keyword) for name, keyword in keywords.items()})


def compiled(pattern: str) -> Any:
    """Return a pattern that can be searched for within a time.

    Raises:
        ValueError: it is none.
    """
    import regex

    try:
        return regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _timed(keyword: Keyword) -> Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]) -> Any:
        if thread_time() > _until_s.get():
            raise ValidationTimeoutError
        return keyword(validator, value, instance, schema)

    return check


def _any_of(keyword: Keyword) -> Keyword:
    def check(validator: Any, parts: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
        if not any(_holds(validator, part, instance) for part in parts):
            yield from _errors(keyword, validator, parts, instance, schema)

    return check


def _one_of(keyword: Keyword) -> Keyword:
    def check(validator: Any, parts: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
        if sum(_holds(validator, part, instance) for part in parts) != 1:
            yield from _errors(keyword, validator, parts, instance, schema)

    return check


def _holds(validator: Any, part: Any, instance: Any) -> bool:
    with explaining(wanted=False):
        return bool(validator.evolve(schema=part).is_valid(instance))


def _errors(
    keyword: Keyword, validator: Any, parts: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if _explaining.get():
        yield from keyword(validator, parts, instance, schema) or ()
    else:
        yield _error("no alternative holds, or too many do")


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text.

    Raises:
        ValidationTimeoutError: the time of `within` is over.
    """
    searched = compiled(pattern)
    if _until_s.get() == inf:
        return searched.search(text, concurrent=True) is not None
    timeout_s = _until_s.get() - thread_time()
    while thread_time() < _until_s.get():
        # The timeout of `regex` counts the time of other threads too.
        with suppress(TimeoutError):
            return searched.search(text, timeout=timeout_s, concurrent=True) is not None
        timeout_s *= 2
    raise ValidationTimeoutError


def _pattern(validator: Any, pattern: str, instance: Any, _schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not matches(pattern, instance):
        yield _error(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, _schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, part in patterns.items():
        for name, value in instance.items():
            if matches(pattern, name):
                yield from validator.descend(value, part, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, part: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extra = [name for name in instance if name not in named and not any(matches(one, name) for one in patterns)]
    if part is False and extra:
        names = ", ".join(map(repr, extra))
        yield _error(f"additional properties are not allowed: {names}")
    elif part is not False:
        for name in extra:
            yield from validator.descend(instance[name], part, path=name)


def _unevaluated_properties(
    validator: Any, _part: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object") and (extra := instance.keys() - _evaluated(validator, instance, schema)):
        names = ", ".join(repr(name) for name in instance if name in extra)
        yield _error(f"properties that no part of the schema allows: {names}")


def _evaluated(validator: Any, instance: Mapping[str, Any], schema: Any) -> set[str]:
    """Return the properties of an object that a schema describes, by itself or by its parts for the same object."""
    if not isinstance(schema, dict):
        return set()
    patterns = schema.get("patternProperties", {})
    found = {name for name in instance if any(matches(pattern, name) for pattern in patterns)}
    found |= schema.get("properties", {}).keys() & instance.keys()
    for keyword in {"additionalProperties", "unevaluatedProperties"} & schema.keys():
        of_others = validator.evolve(schema=schema[keyword])
        found |= {name for name in instance.keys() - found if of_others.is_valid(instance[name])}
    for part in _parts_in_force(validator, instance, schema):
        found |= _evaluated(part, instance, part.schema)
    return found


def _parts_in_force(validator: Any, instance: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Any]:
    """Yield validators of the parts of a schema that apply to the same object and hold."""
    resolver = validator._resolver  # noqa: SLF001 (jsonschema has no other way to the target of a reference)
    targets = [resolver.lookup(schema[keyword]) for keyword in ("$ref", "$dynamicRef") if keyword in schema]
    if "$recursiveRef" in schema:
        from referencing.jsonschema import lookup_recursive_ref

        targets.append(lookup_recursive_ref(resolver))
    yield from (validator.evolve(schema=target.contents, _resolver=target.resolver) for target in targets)
    parts = [part for name, part in schema.get("dependentSchemas", {}).items() if name in instance]
    parts += [part for keyword in ("allOf", "anyOf", "oneOf") for part in schema.get(keyword, ())]
    if "if" in schema:
        holds = _holds(validator, schema["if"], instance)
        parts += [schema[keyword] for keyword in (("if", "then") if holds else ("else",)) if keyword in schema]
    yield from (validator.evolve(schema=part) for part in parts if _holds(validator, part, instance))


def _unique_items(validator: Any, wanted: bool, instance: Any, _schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if wanted and validator.is_type(instance, "array") and len(set(map(_key, instance))) < len(instance):
        yield _error(f"{instance!r} has non-unique elements")


def _key(value: Any) -> Any:
    """Return a hashable value that is equal where two JSON values are: 1 is 1.0, and true is not 1."""
    if isinstance(value, dict):
        return "object", frozenset((name, _key(part)) for name, part in value.items())
    if isinstance(value, list):
        return "array", tuple(map(_key, value))
    return type(value) is bool, value


def _multiple_of(validator: Any, factor: Any, instance: Any, _schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if validator.is_type(instance, "number") and (_exact(instance) / _exact(factor)).denominator != 1:
        yield _error(f"{instance!r} is not a multiple of {factor}")


def _exact(number: float) -> Fraction:
    """Return a number as JSON writes it, not as the nearest binary fraction."""
    return Fraction(repr(number)) if isinstance(number, float) else Fraction(number)


def _error(message: str) -> ValidationError:
    from jsonschema.exceptions import ValidationError

    return ValidationError(message)
