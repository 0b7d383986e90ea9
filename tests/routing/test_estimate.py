"""Estimates are near, and the worst case is never below what can be."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llmroute.routing.token_estimate import (
    MESSAGE_OVERHEAD_TOKENS,
    estimated_tokens,
    measure,
)
from llmroute.schema.answer_schema import read_schema
from llmroute.types import Message, Prompt

texts = st.text(st.characters(codec=None), max_size=200)
prompts = st.builds(
    Prompt,
    messages=st.lists(st.builds(Message, role=st.just("user"), content=texts), min_size=1, max_size=5).map(tuple),
    system=st.none() | texts,
    schema=st.none() | st.sampled_from((read_schema("name, age int"), read_schema({"type": "object"}))),
    attachments=st.just(()),
)


@settings(deadline=None)
@given(prompt=prompts)
def test_the_worst_case_is_above_one_token_for_each_byte_and_the_marks_round_each_message(prompt: Prompt) -> None:
    said = [message.content for message in prompt.messages] + ([prompt.system] if prompt.system else [])
    sent = sum(len(text.encode("utf-8", "replace")) for text in said)
    assert measure(prompt).worst_input >= sent + MESSAGE_OVERHEAD_TOKENS * len(said)
    assert measure(prompt).worst_input >= measure(prompt).expected_input > 0


@settings(deadline=None)
@given(prompt=prompts, more=texts)
def test_a_longer_prompt_is_never_estimated_as_less(prompt: Prompt, more: str) -> None:
    longer = prompt._replace(messages=(*prompt.messages, Message("user", more)))
    assert measure(longer).worst_input > measure(prompt).worst_input
    assert measure(longer).expected_input >= measure(prompt).expected_input


def test_english_is_about_four_bytes_a_token() -> None:
    assert measure(Prompt((Message("user", "x" * 4000),))).expected_input == 1000 + MESSAGE_OVERHEAD_TOKENS
    assert estimated_tokens("x" * 4001) == 1001
    assert estimated_tokens("") == 0


def test_an_answer_is_taken_to_be_typical_unless_it_is_limited_to_less() -> None:
    prompt = Prompt((Message("user", "x"),))
    assert measure(prompt).answer_room == 500
    assert measure(Prompt(prompt.messages, max_tokens=50)).answer_room == 50
    assert measure(Prompt(prompt.messages, max_tokens=50_000)).answer_room == 500
