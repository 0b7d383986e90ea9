"""A template is filled with the fields of a line, and evaluates nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.batch.template import Template
from llmroute.errors import RequestError


@pytest.mark.parametrize(
    ("template", "fields", "filled"),
    [
        ("Translate: {text}", {"text": "Hallo"}, "Translate: Hallo"),
        ("{a}{b}", {"a": "1", "b": 2}, "12"),
        ("Is {{this}} {text}?", {"text": "json"}, "Is {this} json?"),
        ("{tags}", {"tags": ["a", "ö"]}, '["a", "ö"]'),
        ("{text}", {"text": "{text} {0.__class__}"}, "{text} {0.__class__}"),
    ],
)
def test_names_are_replaced_by_fields_of_the_line(template: str, fields: dict[str, Any], filled: str) -> None:
    assert Template(template).fill(fields) == filled


@pytest.mark.parametrize(
    "template", ["no name", "{", "{text!r}", "{text:>9}", "{text.upper}", "{text[0]}", "{0}", "{}", "{{text}}"]
)
def test_an_invalid_template_is_rejected(template: str) -> None:
    with pytest.raises(RequestError, match="template"):
        Template(template)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(RequestError, match=r"uses \{name\}"):
        Template("{name}").fill({"text": "x"})


@given(st.text(), st.text())
def test_text_around_a_name_is_unchanged(before: str, text: str) -> None:
    doubled = before.replace("{", "{{").replace("}", "}}")
    assert Template(doubled + "{text}").fill({"text": text}) == before + text
