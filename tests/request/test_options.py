"""What cannot be asked for is refused before anything is sent."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from llmroute.batch.request_schema import FIELDS as LINE_FIELDS
from llmroute.cli.app import called
from llmroute.errors import RequestError
from llmroute.request.options import FIELDS, Options
from llmroute.request.rendered import prompt_of
from llmroute.routing.chains import FallbackChain
from llmroute.routing.plan import TASK_CAPABILITY, Task
from llmroute.routing.strategies import RoutingStrategy
from llmroute.types import (
    STRATEGIES,
    Capability,
    Message,
)


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
        ({"prompt": "x", "strategy": "cheapest"}, "strategy: 'cheapest' is not one of balanced"),
        ({"prompt": "x", "task_type": "poetry"}, "task_type: 'poetry' is not one of code_generation"),
        ({"prompt": "x", "effort": "max"}, "effort: 'max' is not one of none"),
        ({"prompt": "x", "required_capability": "cod"}, "required_capability: 'cod' is not one of"),
        ({"prompt": "x", "required_capability": ["code", "fly"]}, "required_capability: 'fly' is not one of"),
        ({"prompt": "x", "temperature": -0.1}, "temperature: -0.1 is not between 0 and 2"),
        ({"prompt": "x", "temperature": float("nan")}, "temperature: nan is not between"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens: 0 is not between 1"),
        ({"prompt": "x", "max_latency_ms": 0}, "max_latency_ms: 0 is not between"),
        ({"prompt": "x", "min_quality": 101}, "min_quality: 101 is not between 0 and 100"),
        ({"prompt": "x", "timeout_s": 0}, "timeout_s: 0 is not between"),
        ({"prompt": "x", "timeout_s": float("inf")}, "timeout_s: inf is not between"),
        ({"prompt": "x", "stop": ["a", ""]}, "a stop sequence is empty"),
        ({"prompt": "x", "stop": ""}, "a stop sequence is empty"),
    ],
)
def test_what_cannot_be_is_refused_in_words(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        prompt_of(Options(**options), streaming=False)
    assert message in caught.value.message
    assert caught.value.exit_code == 2


def test_a_near_miss_is_offered() -> None:
    asked: dict[str, Any] = {"prompt": "x", "strategy": "cost-optimized"}
    with pytest.raises(RequestError) as caught:
        prompt_of(Options(**asked), streaming=False)
    assert caught.value.hint == "did you mean cost_optimized?"


def test_a_prompt_is_rendered_word_for_word() -> None:
    options = Options(prompt=" as typed\n", system="be brief", temperature=0.0, max_tokens=7, stop="END", effort="none")
    prompt = prompt_of(options, streaming=True)
    assert prompt.messages == (Message("user", " as typed\n"),)
    assert (prompt.system, prompt.temperature, prompt.max_tokens) == ("be brief", 0.0, 7)
    assert (prompt.stop, prompt.effort, prompt.streaming) == (("END",), "none", True)
    assert prompt_of(Options(prompt="x", system=""), streaming=False).system is None


def test_messages_are_taken_as_they_are() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}, {"role": "user", "content": "b"}]
    prompt = prompt_of(Options(messages=turns), streaming=False)
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
def test_a_task_implies_a_capability(task: Task | None, capability: set[str]) -> None:
    assert Options(prompt="x", task_type=task).capabilities() == capability
    assert Options(prompt="x", task_type=task, required_capability="vision").capabilities() == {"vision"} | capability


def test_capabilities_that_can_be_read_only_once_are_kept() -> None:
    asked: list[Capability] = ["code", "json"]
    options = Options(prompt="x", required_capability=iter(asked))
    prompt_of(options, streaming=False)
    assert options.capabilities() == {"code", "json"}


TEXT, WHOLE, NUMBER = "is not text", "is not an integer", "is not a number"
TEXTS, FLAG, TURNS = "is not text or a list of texts", "is not True or False", "is not a list of messages like"
WRONG: list[tuple[str, Any, str]] = [
    ("prompt", 123, f"prompt: 123 {TEXT}"),
    ("prompt", b"x", f"prompt: b'x' {TEXT}"),
    ("prompt", ["x"], f"prompt: ['x'] {TEXT}"),
    ("prompt", 10**5000, f"prompt: a number with over 300 digits {TEXT}"),
    ("system", 1, f"system: 1 {TEXT}"),
    ("messages", "text", f"messages: 'text' {TURNS}"),
    ("messages", [1], f"messages: [1] {TURNS}"),
    ("messages", 5, f"messages: 5 {TURNS}"),
    ("messages", {"role": "user", "content": "x"}, TURNS),
    ("messages", [{"role": "user", "content": 5}], "role 'user' cannot be sent"),
    ("messages", [{"role": ["user"], "content": "x"}], "role ['user'] cannot be sent"),
    ("model", 5, f"model: 5 {TEXT}"),
    ("provider", True, f"provider: True {TEXT}"),
    ("chain", [], f"chain: [] {TEXT}"),
    ("strategy", 3, f"strategy: 3 {TEXT}"),
    ("effort", 1, f"effort: 1 {TEXT}"),
    ("task_type", [], f"task_type: [] {TEXT}"),
    ("task_type", {}, f"task_type: {{}} {TEXT}"),
    ("on_budget", 5, f"on_budget: 5 {TEXT}"),
    ("fallback_on", True, f"fallback_on: True {TEXT}"),
    ("fallback", 5, f"fallback: 5 {TEXTS}"),
    ("fallback", b"openai/x", f"fallback: b'openai/x' {TEXTS}"),
    ("fallback", ["openai/x", 5], f"fallback: ('openai/x', 5) {TEXTS}"),
    ("fallback", [("openai", 5)], f"fallback: (('openai', 5),) {TEXTS}"),
    ("stop", 5, f"stop: 5 {TEXTS}"),
    ("stop", b"x", f"stop: b'x' {TEXTS}"),
    ("stop", {"a": 1}, f"stop: {{'a': 1}} {TEXTS}"),
    ("stop", ["a", 1], f"stop: ['a', 1] {TEXTS}"),
    ("required_capability", 3, f"required_capability: 3 {TEXTS}"),
    ("required_capability", [3], f"required_capability: (3,) {TEXTS}"),
    ("max_tokens", "10", f"max_tokens: '10' {WHOLE}"),
    ("max_tokens", 10.0, f"max_tokens: 10.0 {WHOLE}"),
    ("max_tokens", True, f"max_tokens: True {WHOLE}"),
    ("max_tokens", 10**5000, "max_tokens: a number with over 300 digits is not between 1 and 100,000,000"),
    ("min_quality", 70.5, f"min_quality: 70.5 {WHOLE}"),
    ("max_latency_ms", "fast", f"max_latency_ms: 'fast' {WHOLE}"),
    ("temperature", "a", f"temperature: 'a' {NUMBER}"),
    ("temperature", 1j, f"temperature: 1j {NUMBER}"),
    ("temperature", float("nan"), "temperature: nan is not between 0 and 2"),
    ("timeout_s", True, f"timeout_s: True {NUMBER}"),
    ("timeout_s", float("nan"), "timeout_s: nan is not between"),
    ("timeout_s", 10**400, "timeout_s: a number with over 300 digits is not between"),
    ("budget_remaining", "1", f"budget_remaining: '1' {NUMBER}"),
    ("budget_remaining", float("nan"), "budget_remaining: nan is not between"),
    ("workspace_id", 7, f"workspace_id: 7 {TEXT}"),
    ("execution_id", b"e", f"execution_id: b'e' {TEXT}"),
    ("workspace_id", "w" * 257, "workspace_id has 257 characters; the longest label has 256"),
    ("execution_id", "\ud800", "execution_id is '\\ud800', which is not valid text"),
    ("enable_fallback", "yes", f"enable_fallback: 'yes' {FLAG}"),
    ("prefer_local", 1, f"prefer_local: 1 {FLAG}"),
    ("local_only", None, f"local_only: None {FLAG}"),
    ("strict_params", "no", f"strict_params: 'no' {FLAG}"),
    ("upgrade", 0, f"upgrade: 0 {FLAG}"),
    ("atomic", [], f"atomic: [] {FLAG}"),
]


@pytest.mark.parametrize(("option", "value", "message"), WRONG, ids=[option for option, *_ in WRONG])
def test_a_value_of_the_wrong_kind_is_refused_in_words(option: str, value: Any, message: str) -> None:
    asked: dict[str, Any] = {"prompt": "x"} if option != "messages" else {}
    with pytest.raises(RequestError) as caught:
        prompt_of(Options(**(asked | {option: value})), streaming=False)
    assert message in caught.value.message
    assert caught.value.option == option


def test_a_request_of_defaults_alone_is_valid() -> None:
    prompt_of(Options(prompt="x"), streaming=False)


def test_every_option_is_a_flag_except_the_prompt_and_the_turns_of_a_conversation() -> None:
    shown = [parameter for parameter in called("stream").params if not getattr(parameter, "hidden", False)]
    flags = {flag for parameter in shown for flag in parameter.opts}
    declared = {name: one.long_flag for name, one in FIELDS.items() if one.help}
    assert set(FIELDS) - set(declared) == {"prompt", "messages"}
    assert {name for name, flag in declared.items() if flag not in flags} == {"check", "max_rejections", "schema"}


def test_gen_and_a_batch_have_every_option_but_those_of_streams() -> None:
    flags = {flag for parameter in called("gen").params for flag in parameter.opts}
    assert {name for name, one in FIELDS.items() if one.help and one.long_flag not in flags} == {"atomic"}
    assert set(FIELDS) - set(LINE_FIELDS) == {"atomic", "check"}


@pytest.mark.parametrize(
    ("fallback", "names"),
    [
        ("openai/x", ("openai/x",)),
        (None, ()),
        (["openai/x", "mistral/y"], ("openai/x", "mistral/y")),
        (("openai/x", "mistral/y"), ("openai/x", "mistral/y")),
        (iter(["openai/x"]), ("openai/x",)),
        ([("openai", "x"), ("together", "a/b")], ("openai/x", "together/a/b")),
        (FallbackChain.LOCAL_ONLY, ("ollama/mistral", "ollama/llama2", "ollama/codellama")),
    ],
)
def test_fallbacks_are_named_in_any_of_their_forms(fallback: Any, names: tuple[str, ...]) -> None:
    options = Options(prompt="x", fallback=fallback)
    prompt_of(options, streaming=False)
    assert options.fallbacks == names


def test_what_can_be_read_only_once_is_kept() -> None:
    turns = ({"role": "user", "content": text} for text in ("a", "b"))
    asked: dict[str, Any] = {"messages": turns, "stop": iter(["END"])}
    options = Options(**asked)
    for _ in range(2):
        prompt = prompt_of(options, streaming=False)
        assert [message.content for message in prompt.messages] == ["a", "b"]
        assert prompt.stop == ("END",)


def test_messages_may_be_written_as_such() -> None:
    turns: list[Message | dict[str, str]] = [
        Message("user", "a"),
        {"role": "assistant", "content": "b"},
        Message("user", "c"),
    ]
    assert [turn.content for turn in prompt_of(Options(messages=turns), streaming=False).messages] == [*"abc"]
    with pytest.raises(RequestError, match="role 'system' cannot be sent"):
        prompt_of(Options(messages=[Message("system", "x")]), streaming=False)  # type: ignore[arg-type]


def test_a_strategy_is_a_word_or_a_member() -> None:
    asked = Options(prompt="x", strategy=RoutingStrategy.COST_OPTIMIZED)
    prompt_of(asked, streaming=False)
    assert (asked.strategy, type(asked.strategy)) == ("cost_optimized", str)
    assert asked == Options(prompt="x", strategy="cost_optimized")


def test_the_words_that_type_checkers_know_are_those_that_are_taken() -> None:
    assert tuple(RoutingStrategy) == STRATEGIES
    assert get_args(Task) == tuple(TASK_CAPABILITY)
    assert (FIELDS["on_budget"].choices, FIELDS["fallback_on"].choices) == (("cheaper", "refuse"), ("content",))


def test_a_budget_that_is_told_in_millionths_is_exactly_as_much() -> None:
    for millionths in range(1, 100_000):
        assert Options(budget_remaining=millionths / 10**6).budget_picousd == millionths * 10**6


@pytest.mark.parametrize("name", ["model", "provider", "chain"])
def test_an_empty_name_is_rejected_and_not_taken_for_none(name: str) -> None:
    with pytest.raises(RequestError, match=f"{name}: the name is empty"):
        prompt_of(Options(prompt="hi", **{name: ""}), streaming=False)  # type: ignore[arg-type]
