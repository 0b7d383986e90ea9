"""The formats of strings that are checked: those of jsonschema, and those whose packages are slow to import.

`rfc3987-syntax` builds a grammar of all IRIs for seconds, and `isoduration` loads a package of calendars and languages.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import FormatChecker


@lru_cache(maxsize=16)
def format_checker(kind: Any) -> FormatChecker:
    """Return the formats of the draft that a validator class of jsonschema is for."""
    from jsonschema import Draft7Validator, Draft201909Validator, Draft202012Validator, FormatChecker

    checker = FormatChecker(formats=())
    checker.checkers = dict(kind.FORMAT_CHECKER.checkers)
    if kind in (Draft7Validator, Draft201909Validator, Draft202012Validator):
        checker.checks("iri")(_is_iri)
        checker.checks("iri-reference")(_is_iri_reference)
    if kind in (Draft201909Validator, Draft202012Validator):
        checker.checks("duration")(_is_duration)
    return checker


def _is_iri(value: object) -> bool:
    return not isinstance(value, str) or _is_uri(value, "URI")


def _is_iri_reference(value: object) -> bool:
    return not isinstance(value, str) or _is_uri(value, "URI_reference")


def _is_uri(iri: str, rule: str) -> bool:
    """Whether an IRI is a URI once its characters beyond ASCII are escapes, which a URI may have at the same places.

    RFC 3987 allows characters of private use in the query only.
    """
    from rfc3986_validator import validate_rfc3986

    rest, hash_, fragment = iri.partition("#")
    path, mark, query = rest.partition("?")
    beyond, private = _beyond_ascii()
    escaped = beyond.sub("%20", path + mark) + private.sub("%20", beyond.sub("%20", query))
    escaped += hash_ + beyond.sub("%20", fragment)
    return "\n" not in iri and validate_rfc3986(escaped, rule=rule) is not None


@lru_cache(maxsize=1)
def _beyond_ascii() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return `ucschar` and `iprivate` of RFC 3987."""
    planes = [(plane << 16, (plane << 16) + 0xFFFD) for plane in range(0x1, 0xE)]
    beyond = [(0xA0, 0xD7FF), (0xF900, 0xFDCF), (0xFDF0, 0xFFEF), *planes, (0xE1000, 0xEFFFD)]
    private = [(0xE000, 0xF8FF), (0xF0000, 0xFFFFD), (0x100000, 0x10FFFD)]
    return _one_of(beyond), _one_of(private)


def _one_of(ranges: list[tuple[int, int]]) -> re.Pattern[str]:
    return re.compile("[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges) + "]")


def _is_duration(value: object) -> bool:
    return not isinstance(value, str) or _duration().fullmatch(value) is not None


@lru_cache(maxsize=1)
def _duration() -> re.Pattern[str]:
    """Return a duration of ISO 8601, with the sign and the fractions that RFC 3339 leaves out and models write."""
    number = "[0-9]+(?:[.,][0-9]+)?"
    date = f"(?:{number}W|(?:{number}Y)?(?:{number}M)?(?:{number}D)?)"
    time = f"(?:T(?=[0-9])(?:{number}H)?(?:{number}M)?(?:{number}S)?)?"
    return re.compile(f"[+-]?P(?=[0-9T]){date}{time}")
