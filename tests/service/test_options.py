"""What cannot be asked for is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from llmroute.errors import RequestError
from llmroute.service.options import Options
from llmroute.types import Message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the prompt is empty"),
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": " \n"}, "the prompt is empty"),
        ({"messages": []}, "the messages are empty"),
        ({"messages": [{"role": "user", "content": " "}]}, "the messages are empty"),
        ({"prompt": "x", "messages": [{"role": "user", "content": "y"}]}, "both given"),
        ({"messages": [{"role": "system", "content": "y"}]}, "role 'system' cannot be sent"),
        ({"messages": [{"role": "user"}]}, "role 'user' cannot be sent"),
        ({"prompt": "x", "strategy": "cheapest"}, "strategy 'cheapest' is none of balanced"),
        ({"prompt": "x", "task_type": "poetry"}, "task 'poetry' is none of code_generation"),
        ({"prompt": "x", "effort": "max"}, "effort 'max' is none of none"),
        ({"prompt": "x", "required_capability": "cod"}, "capability 'cod' is none of"),
        ({"prompt": "x", "required_capability": ["code", "fly"]}, "capability 'fly' is none of"),
        ({"prompt": "x", "temperature": -0.1}, "temperature -0.1 is not between 0 and 2"),
        ({"prompt": "x", "temperature": float("nan")}, "temperature nan is not between"),
        ({"prompt": "x", "max_tokens": 0}, "max tokens 0 is not between 1"),
        ({"prompt": "x", "max_latency_ms": 0}, "max latency 0 is not between"),
        ({"prompt": "x", "min_quality": 101}, "min quality 101 is not between 0 and 100"),
        ({"prompt": "x", "timeout_s": 0}, "timeout 0 is not between"),
        ({"prompt": "x", "timeout_s": float("inf")}, "timeout inf is not between"),
        ({"prompt": "x", "stop": ["a", ""]}, "a stop sequence is empty"),
        ({"prompt": "x", "stop": ""}, "a stop sequence is empty"),
    ],
)
def test_what_cannot_be_is_refused_in_words(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        Options(**options).rendered_prompt(streaming=False)
    assert message in caught.value.message
    assert caught.value.exit_code == 2


def test_a_near_miss_is_offered() -> None:
    with pytest.raises(RequestError) as caught:
        Options(prompt="x", strategy="cost-optimized").rendered_prompt(streaming=False)
    assert caught.value.hint == "did you mean cost_optimized?"


def test_a_prompt_is_rendered_word_for_word() -> None:
    options = Options(prompt=" as typed\n", system="be brief", temperature=0.0, max_tokens=7, stop="END", effort="none")
    prompt = options.rendered_prompt(streaming=True)
    assert prompt.messages == (Message("user", " as typed\n"),)
    assert (prompt.system, prompt.temperature, prompt.max_tokens) == ("be brief", 0.0, 7)
    assert (prompt.stop, prompt.effort, prompt.streaming) == (("END",), "none", True)
    assert Options(prompt="x", system="").rendered_prompt(streaming=False).system is None


def test_messages_are_taken_as_they_are() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}, {"role": "user", "content": "b"}]
    prompt = Options(messages=turns).rendered_prompt(streaming=False)
    assert [(message.role, message.content) for message in prompt.messages] == [
        ("user", "a"),
        ("assistant", ""),
        ("user", "b"),
    ]


@pytest.mark.parametrize(
    ("task", "capability"),
    [
        ("code_generation", {"code"}),
        ("analysis", {"reasoning"}),
        ("translation", {"multilingual"}),
        ("long_document", {"long_context"}),
        ("extraction", {"json"}),
        ("chat", set()),
        (None, set()),
    ],
)
def test_a_task_implies_a_capability(task: str | None, capability: set[str]) -> None:
    assert Options(prompt="x", task_type=task).capabilities() == capability
    assert Options(prompt="x", task_type=task, required_capability="vision").capabilities() == {"vision"} | capability


def test_capabilities_that_can_be_read_only_once_are_kept() -> None:
    options = Options(prompt="x", required_capability=iter(["code", "json"]))
    options.rendered_prompt(streaming=False)
    assert options.capabilities() == {"code", "json"}
