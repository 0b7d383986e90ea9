"""Every line becomes a request or the reason why it is none, and no line stops those after it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.batch import reading
from llmroute.batch.reading import Form, Request, requests
from llmroute.batch.template import Template
from llmroute.errors import RequestError
from llmroute.service.options import Options

JSON_LINES = Form()
DEFAULTS = Options(model="openai/gpt-x", temperature=0.5)


def read(data: str | bytes, form: Form = JSON_LINES, defaults: Options = DEFAULTS) -> list[Request]:
    raw = data if isinstance(data, bytes) else data.encode()
    return list(requests(io.BytesIO(raw), form, defaults))


def asked(request: Request) -> Options:
    assert isinstance(request.asked, Options), request.asked
    return request.asked


def refused(request: Request) -> str:
    assert isinstance(request.asked, RequestError)
    return request.asked.message


def test_a_line_is_a_request_with_what_the_command_line_says_of_all() -> None:
    (first, second) = read('{"id": "a", "prompt": "one", "max_tokens": 5}\n\n{"prompt": "two"}')
    assert (first.id, first.line, second.id, second.line) == ("a", 1, 3, 3)
    assert asked(first) == Options(prompt="one", max_tokens=5, model="openai/gpt-x", temperature=0.5)
    assert asked(second).prompt == "two"


@pytest.mark.parametrize(
    ("said", "field", "value"),
    [
        ({"task": "chat"}, "task_type", "chat"),
        ({"task_type": "chat"}, "task_type", "chat"),
        ({"capability": ["code", "json"]}, "required_capability", ("code", "json")),
        ({"budget": 0.5}, "budget_remaining", 0.5),
        ({"max_latency": 900}, "max_latency_ms", 900),
        ({"timeout": 9}, "timeout_s", 9),
        ({"workspace": "w"}, "workspace_id", "w"),
        ({"execution": "e"}, "execution_id", "e"),
        ({"no_fallback": True}, "enable_fallback", False),
        ({"no_upgrade": True}, "upgrade", False),
        ({"local_only": True}, "local_only", True),
        ({"stop": ["END"]}, "stop", ["END"]),
        ({"messages": [{"role": "user", "content": "x"}]}, "messages", [{"role": "user", "content": "x"}]),
    ],
)
def test_a_line_takes_every_option_by_the_name_of_its_flag(said: dict[str, Any], field: str, value: object) -> None:
    line = said if "messages" in said else {"prompt": "x", **said}
    assert getattr(asked(read(json.dumps(line))[0]), field) == value


def test_every_option_of_a_request_can_be_said_on_a_line() -> None:
    from dataclasses import fields

    from llmroute.batch.line import NAMES

    assert {field.name for field in fields(Options)} - {"atomic"} <= NAMES


@pytest.mark.parametrize("choice", [{"chain": "MINE"}, {"provider": "mistral"}, {"fallback": ["a/b"]}])
def test_what_a_line_says_of_its_models_stands_in_place_of_the_command_line(choice: dict[str, Any]) -> None:
    made = asked(read(json.dumps({"prompt": "x", **choice}))[0])
    assert made.model is None
    assert made.temperature == 0.5


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "not JSON"),
        ("[1]", "no object"),
        ('{"prompt": "x", "temprature": 1}', "did you mean temperature"),
        ('{"prompt": 7}', "prompt: input should be a valid string"),
        ('{"prompt": "x", "temperature": "hot"}', "temperature: "),
        ('{"prompt": "x", "id": {}}', "id: "),
        ("[" * 100_000, "not JSON"),
        ('{"prompt": "\\ud800', "not JSON"),
    ],
)
def test_a_bad_line_says_what_is_wrong_and_the_next_is_read(line: str, reason: str) -> None:
    bad, good = read(f'{line}\n{{"prompt": "x"}}\n')
    assert reason in refused(bad)
    assert bad.line == 1
    assert asked(good).prompt == "x"


def test_a_line_beyond_all_measure_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 100)
    bad, good = read(json.dumps({"prompt": "x" * 1000}) + '\n{"prompt": "y"}\n')
    assert "longer than" in refused(bad)
    assert (asked(good).prompt, good.line) == ("y", 2)


def test_plain_lines_are_prompts_and_their_numbers_are_their_ids() -> None:
    found = read("\ufeffone\r\n\n  two \nthr\xe9\xe9".encode() + b"\xff\n", Form(lines=True))
    assert [(one.id, asked(one).prompt) for one in found] == [(1, "one"), (3, "  two "), (4, "thréé\ufffd")]


def test_a_template_takes_the_line_or_the_fields_of_an_object() -> None:
    (plain,) = read("hello\n", Form(lines=True, template=Template("Say {text}.")))
    assert asked(plain).prompt == "Say hello."
    (made,) = read(
        '{"id": 7, "who": "Ann", "prompt": "hi", "max_tokens": 3}',
        Form(template=Template("{who}: {text}")),
    )
    assert (made.id, asked(made).prompt, asked(made).max_tokens) == (7, "Ann: hi", 3)
    assert made.source == {"id": 7, "prompt": "Ann: hi", "max_tokens": 3}
    (missing,) = read('{"id": 8}', Form(template=Template("{who}")))
    assert (missing.id, refused(missing)) == (8, "the template wants {who}, which the line does not have")


def test_a_column_of_csv_is_the_prompts() -> None:
    data = '\ufeffid,note,text\r\na,x,"one, ""two""\nthree"\r\nb,y,four\r\n,z,five\r\nshort\r\n'
    found = read(data, Form(column="text"))
    assert [asked(one).prompt for one in found[:3]] == ['one, "two"\nthree', "four", "five"]
    assert [one.id for one in found[:3]] == ["a", "b", 5]
    assert "has no 'text'" in refused(found[3])
    (framed,) = read("note,text\nhey,you\n", Form(column="text", template=Template("{note}, {text}!")))
    assert asked(framed).prompt == "hey, you!"


def test_a_broken_row_of_csv_does_not_stop_the_rest() -> None:
    found = read('text\n"a"b\nc\n', Form(column="text"))
    assert "not CSV" in refused(found[0])
    assert asked(found[-1]).prompt == "c"


@pytest.mark.parametrize(("data", "told"), [("prompts\nx\n", "did you mean prompts"), ("", "only none")])
def test_a_column_that_is_not_there_is_told_before_anything_is_asked(data: str, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(data, Form(column="prompt"))
    assert told in f"{caught.value.message} {caught.value.hint}"


@given(st.lists(st.binary(max_size=40)))
def test_no_bytes_whatever_stop_the_reading(lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    expected = sum(1 for line in io.BytesIO(data) if line.strip() and line.removeprefix(b"\xef\xbb\xbf").strip())
    assert len(read(data)) == expected
    assert all(isinstance(one.asked, RequestError) or one.asked.prompt for one in read(data, Form(lines=True)))


@given(st.dictionaries(st.sampled_from(["id", "system"]), st.text(min_size=1)), st.text(min_size=1))
def test_what_is_to_be_run_again_asks_for_the_same(said: dict[str, str], prompt: str) -> None:
    (first,) = read(json.dumps({**said, "prompt": f"{prompt}."}))
    (again,) = read(json.dumps(first.source))
    assert (again.id, again.asked) == (first.id, first.asked)
