"""`gen --schema`: stdout is one JSON document that is valid, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.scripted_server import ScriptedServer
from tests.support.shell import Ran, rows, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHEAP, DEAR = "openai/gpt-5.4-mini", "openai/gpt-5.4"
BOTH = ("-m", CHEAP, "--fallback", DEAR)
PERSON = "name, age int"
VALID = '{"name": "Ada", "age": 36}'


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def gen(server: ScriptedServer, tmp_path: Path) -> Callable[..., Ran]:
    return lambda *arguments, **settings: run("gen", "hi", *arguments, home=tmp_path, **server.settings, **settings)


def statuses(home: Path) -> list[tuple[Any, ...]]:
    return [(row["model"], row["status"], row["error"]) for row in rows(home)]


@pytest.mark.parametrize("answer", [VALID, f"```json\n{VALID}\n```", f"Here it is:\n```\n{VALID}\n```\nEnjoy!"])
def test_the_document_alone_is_printed(answer: str, gen: Callable[..., Ran], server: ScriptedServer) -> None:
    server.answers = [answer]
    ran = gen("-m", CHEAP, "--schema", PERSON)
    assert (ran.code, ran.out, ran.err) == (0, '{"name":"Ada","age":36}\n', "")
    (sent,) = server.requests
    wanted = sent["response_format"]["json_schema"]
    assert wanted["strict"] is True
    assert wanted["schema"]["required"] == ["name", "age"]


def test_text_beyond_ascii_is_printed_as_utf_8(gen: Callable[..., Ran], server: ScriptedServer) -> None:
    server.answers = ['{"name": "Gr\\u00fc\\u00dfe \U0001f642", "age": 1}']
    assert gen("-m", CHEAP, "--schema", PERSON).out == '{"name":"Grüße \U0001f642","age":1}\n'


def test_an_invalid_answer_is_paid_and_repaired_by_the_same_model(
    gen: Callable[..., Ran], server: ScriptedServer, tmp_path: Path
) -> None:
    server.answers = ['{"name": "Ada", "age": "old"}', VALID]
    ran = gen(*BOTH, "--schema", PERSON)
    assert (ran.code, ran.out) == (0, '{"name":"Ada","age":36}\n')
    assert statuses(tmp_path) == [("gpt-5.4-mini", "rejected", "schema"), ("gpt-5.4-mini", "ok", None)]
    assert all(row["cost_picousd"] > 0 for row in rows(tmp_path))
    first, repair = server.requests
    assert repair["response_format"] == first["response_format"]
    assert [message["role"] for message in repair["messages"]] == ["user", "assistant", "user"]
    assert repair["messages"][1]["content"] == '{"name": "Ada", "age": "old"}'
    assert "/age: 'old' is not of type 'integer'" in repair["messages"][2]["content"]


def test_a_repair_is_told_only_where_the_model_is_called_again(gen: Callable[..., Ran], server: ScriptedServer) -> None:
    server.answers = ["nope"]
    only = ("-m", CHEAP, "--no-fallback", "--schema", PERSON)
    limited = gen(*only, "--max-rejections", "1")
    assert (limited.code, len(server.requests), limited.err.count("asking it to correct")) == (6, 1, 0)
    repaired = gen(*only)
    assert (repaired.code, len(server.requests), repaired.err.count("asking it to correct")) == (6, 3, 1)
    assert f"{CHEAP}: the answer is not valid" in limited.err, "a status of success is no part of the reason"


def test_the_next_model_is_asked_after_one_repair(
    gen: Callable[..., Ran], server: ScriptedServer, tmp_path: Path
) -> None:
    server.answers = ["no", "still no", VALID]
    ran = gen(*BOTH, "--schema", PERSON)
    assert (ran.code, ran.out) == (0, '{"name":"Ada","age":36}\n')
    assert [model for model, _, _ in statuses(tmp_path)] == ["gpt-5.4-mini", "gpt-5.4-mini", "gpt-5.4"]
    assert [message["role"] for message in server.requests[2]["messages"]] == ["user"]


def test_with_no_model_left_the_errors_are_told_and_stdout_is_empty(
    gen: Callable[..., Ran], server: ScriptedServer, tmp_path: Path
) -> None:
    server.answers = ['{"name": "\\u001b[2J"}']
    ran = gen("-m", CHEAP, "--no-fallback", "--schema", PERSON)
    assert (ran.code, ran.out) == (6, "")
    assert "'age' is a required property" in ran.err
    assert "\x1b" not in ran.err
    assert [status for _, status, _ in statuses(tmp_path)] == ["rejected", "rejected"]


def test_a_cut_answer_is_never_printed(gen: Callable[..., Ran], server: ScriptedServer) -> None:
    server.answers, server.finish_reason = [VALID], "length"
    ran = gen("-m", CHEAP, "--no-fallback", "--schema", PERSON)
    assert (ran.code, ran.out) == (6, "")
    assert "allow more with --max-tokens" in ran.err
    assert len(server.requests) == 1


def test_an_answer_cut_at_the_callers_limit_is_not_paid_for_at_the_next_model_too(
    gen: Callable[..., Ran], server: ScriptedServer, tmp_path: Path
) -> None:
    server.answers, server.finish_reason = ['{"name": "A'], "length"
    ran = gen(*BOTH, "--schema", PERSON, "--max-tokens", "3")
    assert (ran.code, ran.out, len(server.requests)) == (6, "", 1)
    assert "it ended at its limit of 3 tokens (allow more with --max-tokens)" in ran.err
    assert statuses(tmp_path) == [("gpt-5.4-mini", "rejected", "schema")]


def test_an_answer_far_below_the_callers_limit_was_cut_by_its_server(
    gen: Callable[..., Ran], server: ScriptedServer
) -> None:
    server.answers, server.finish_reason = ['{"name": "A'], "length"
    ran = gen(*BOTH, "--schema", PERSON, "--max-tokens", "300")
    assert (ran.code, len(server.requests)) == (6, 2), "its context window may be full"
    assert "use a model with a larger context window" in ran.err


def test_the_next_model_may_end_an_answer_that_another_limit_or_reasoning_has_cut(
    gen: Callable[..., Ran], server: ScriptedServer
) -> None:
    server.answers, server.finish_reason = ['{"name": "A'], "length"
    assert gen(*BOTH, "--schema", PERSON).code == 6
    assert len(server.requests) == 2, "the limit of a model is its own"
    server.usage = {**server.usage, "completion_tokens_details": {"reasoning_tokens": 2}}  # type: ignore[dict-item]
    ran = gen(*BOTH, "--schema", PERSON, "--max-tokens", "3")
    assert (ran.code, len(server.requests)) == (6, 4), "another model may reason less"
    assert "ask for less reasoning with --effort" in ran.err


def test_a_refusal_ends_the_request_without_a_repair(
    gen: Callable[..., Ran], server: ScriptedServer, tmp_path: Path
) -> None:
    server.answers, server.finish_reason = ["I cannot do that."], "content_filter"
    ran = gen(*BOTH, "--schema", PERSON)
    assert (ran.code, ran.out) == (6, "")
    assert len(server.requests) == 1
    assert statuses(tmp_path) == [("gpt-5.4-mini", "failed", "content")]


def test_a_schema_may_be_a_file_or_json_text(gen: Callable[..., Ran], server: ScriptedServer, tmp_path: Path) -> None:
    server.answers = ['{"answer": ["a"]}']
    schema = '{"type": "array", "items": {"type": "string"}}'
    (tmp_path / "a list.json").write_text(f"\ufeff{schema}")
    for given in (schema, "a list.json", str(tmp_path / "a list.json")):
        assert gen("-m", CHEAP, "--schema", given).out == '["a"]\n'


def test_schema_multi_prints_an_object_with_items(gen: Callable[..., Ran], server: ScriptedServer) -> None:
    server.answers = [f'{{"items": [{VALID}, {VALID}]}}']
    ran = gen("-m", CHEAP, "--schema-multi", PERSON)
    assert json.loads(ran.out) == {"items": [json.loads(VALID)] * 2}


def test_json_has_the_document_as_text_and_parsed(
    gen: Callable[..., Ran], server: ScriptedServer, tmp_path: Path
) -> None:
    server.answers = [VALID]
    for told in (
        json.loads(gen("-m", CHEAP, "--schema", PERSON, "--json").out),
        (gen("-m", CHEAP, "--schema", PERSON, "--meta", "m"), json.loads((tmp_path / "m").read_text()))[1],
    ):
        assert told["parsed"] == json.loads(VALID)
        assert json.loads(told["content"]) == told["parsed"]
    assert "parsed" not in json.loads(gen("-m", CHEAP, "--json").out)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{broken, x", "not valid JSON"),
        ('{"type": "objekt"}', "not a valid JSON Schema: /type"),
        ("age integer", "did you mean int?"),
        ("name", "there is no file name"),
        ("missing.json", "there is no file missing.json"),
        ("", "no fields"),
        ("folder", "cannot be read: Is a directory"),
        ("latin.json", "latin.json is not UTF-8"),
        ("/dev/zero", "schema: "),
        ('{"$ref": "http://127.0.0.1:9/x"}', "is not fetched"),
        ("x" * 5000, "there is no file xxx"),
    ],
)
def test_a_schema_that_is_none_is_one_line_and_nothing_is_sent(
    given: str, says: str, gen: Callable[..., Ran], server: ScriptedServer, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.json").write_bytes('{"title": "ü"}'.encode("latin-1"))
    ran = gen("-m", CHEAP, "--schema", given)
    assert (ran.code, ran.out, server.requests) == (2, "", [])
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) <= 2
    assert len(ran.err) < 600


@pytest.mark.parametrize("more", [("--schema-multi", "a, b"), ("--render",)])
def test_what_does_not_go_with_a_schema_exits_with_2(
    more: tuple[str, ...], gen: Callable[..., Ran], server: ScriptedServer
) -> None:
    ran = gen("-m", CHEAP, "--schema", PERSON, *more)
    assert (ran.code, ran.out, server.requests) == (2, "", [])


@pytest.mark.parametrize("flag", ["--schema", "--schema-multi", "--check", "--check-timeout", "--max-rejections"])
def test_stream_says_to_use_gen_with_a_schema_or_a_check(flag: str, server: ScriptedServer, tmp_path: Path) -> None:
    ran = run("stream", "hi", "-m", CHEAP, flag, "1", home=tmp_path, **server.settings)
    assert (ran.code, ran.out, server.requests) == (2, "", [])
    assert ran.err.endswith("use llmroute gen\n")
    assert ran.err.count("\n") == 1


def test_a_schema_implies_the_capability_json(gen: Callable[..., Ran], server: ScriptedServer) -> None:
    plan = json.loads(gen("--schema", PERSON, "--dry-run", "--json", TOGETHER_API_KEY="k-0123456789").out)
    assert {"provider": "together", "model": "Qwen/Qwen3.6-Plus", "reason": "lacks json"} in plan["excluded"]
    assert server.requests == []


def test_a_named_model_without_the_capability_is_asked_in_words(
    gen: Callable[..., Ran], server: ScriptedServer
) -> None:
    server.answers = [VALID]
    assert gen("-m", "openai/gpt-4-turbo", "--schema", PERSON).out == '{"name":"Ada","age":36}\n'
    (sent,) = server.requests
    assert "response_format" not in sent
    assert "JSON Schema" in sent["messages"][0]["content"]


def test_a_check_reads_the_document(gen: Callable[..., Ran], server: ScriptedServer) -> None:
    server.answers = [f"```\n{VALID}\n```"]
    ran = gen("-m", CHEAP, "--schema", PERSON, "--check", """grep -qx '{"name":"Ada","age":36}'""")
    assert (ran.code, ran.out) == (0, '{"name":"Ada","age":36}\n')


def test_each_line_of_a_batch_may_have_a_schema(server: ScriptedServer, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    integer = {"type": "object", "properties": {"a": {"type": "integer"}}}
    (folder / "person.json").write_text(json.dumps(integer))
    lines: list[dict[str, Any]] = [
        {"id": "short", "prompt": "hi", "schema": "a int, "},
        {"id": "file", "prompt": "hi", "schema": "person.json"},
        {"id": "object", "prompt": "hi", "schema": integer},
        {"id": "none", "prompt": "hi"},
        {"id": "wrong", "prompt": "hi", "schema": {"type": "objekt"}},
        {"id": "lost", "prompt": "hi", "schema": "lost.json"},
        {"id": "number", "prompt": "hi", "schema": 3},
    ]
    (folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    server.answers = ['{"a": 1}']
    ran = run("gen", "--batch", "data/in.jsonl", "-m", CHEAP, home=tmp_path, **server.settings)
    results = {result["id"]: result for result in map(json.loads, ran.out.splitlines())}
    assert ran.code == 2
    for name in ("short", "file", "object"):
        assert results[name]["parsed"] == {"a": 1}
    assert (results["none"]["content"], results["none"].get("parsed")) == ('{"a": 1}', None)
    told = {"wrong": "not a valid JSON Schema", "lost": "there is no file", "number": "schema: 3 is not"}
    for name, says in told.items():
        assert says in results[name]["error"]["message"]
    assert len(server.requests) == 4


def test_a_failed_line_keeps_the_schema_of_its_file(server: ScriptedServer, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "s.json").write_text('{"type": "object", "required": ["a"]}')
    (folder / "in.jsonl").write_text('{"id": 1, "prompt": "hi", "schema": "s.json"}\n')
    server.answers = ["{}"]
    asked = ("-m", CHEAP, "--no-fallback")
    ran = run("gen", "--batch", "data/in.jsonl", *asked, "-o", "out.jsonl", home=tmp_path, **server.settings)
    assert ran.code == 6
    (failed,) = map(json.loads, (tmp_path / "out.jsonl.failed").read_text().splitlines())
    assert failed["schema"] == {"type": "object", "required": ["a"]}
    server.answers = ['{"a": 1}']
    again = run("gen", "--batch", "out.jsonl.failed", *asked, home=tmp_path, **server.settings)
    assert json.loads(again.out)["parsed"] == {"a": 1}
