"""Requests with everything at once fit the publishers' descriptions."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.attachments.reading import read_all
from llmroute.request.attached import cache_mark, with_texts
from llmroute.schema.answer_schema import read_schema
from llmroute.types import Attachment, Message, Prompt
from tests.providers import corpus
from tests.providers.descriptions import faults
from tests.providers.samples import model, sent

if TYPE_CHECKING:
    from llmroute.types import ServiceTier

PIXEL = Attachment(data=b"GIF89a\x01\x00\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x00;")
NOTES = Attachment(data=b"notes", name="notes.txt")
SCHEMA = read_schema({"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}})
PLAIN: dict[str, Any] = {}
LIMITED = {"temperature": 0.5, "max_tokens": 900, "stop": ("END",)}


@corpus.needs_specs
@pytest.mark.parametrize("name", ["openai", "anthropic", "mistral", "together", "ollama"])
def test_every_combination_of_schema_attachments_cache_tier_and_parameters_fits(name: str) -> None:
    able = replace(model(name), capabilities=frozenset({"json", "vision"}))
    tiers: tuple[ServiceTier | None, ...] = (None, "standard", "flex", "priority")
    for schema, attached, life, tier, parameters, system in product(
        (None, SCHEMA), ((), (NOTES,), (PIXEL, NOTES)), (None, "5m", "1h"), tiers, (PLAIN, LIMITED), (None, "be brief")
    ):
        read = read_all(attached, None)
        prompt = Prompt(
            with_texts((Message("user", "what?"), Message("assistant", "this"), Message("user", "why?")), read),
            system=system,
            schema=schema,
            tier=tier,
            attachments=read,
            cache=cache_mark(read, life, certain=True) if life else None,
            **parameters,
        )
        streamed = prompt._replace(streaming=schema is None)
        assert faults(name, sent(name, streamed, able)) == [], prompt
