"""Every line becomes a request or an error, and no line stops those after it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmroute.batch import reader
from llmroute.batch.reader import InputFormat, Request, read_requests
from llmroute.batch.template import Template
from llmroute.encoding import known_encoding
from llmroute.errors import RequestError
from llmroute.request.options import Options

JSON_LINES = InputFormat()
DEFAULTS = Options(model="openai/gpt-x", temperature=0.5)


def read(data: str | bytes, form: InputFormat = JSON_LINES, defaults: Options = DEFAULTS) -> list[Request]:
    raw = data if isinstance(data, bytes) else data.encode()
    return list(read_requests(io.BytesIO(raw), form, defaults))


def options_of(request: Request) -> Options:
    assert isinstance(request.options, Options), request.options
    return request.options


def error_of(request: Request) -> str:
    assert isinstance(request.options, RequestError)
    return request.options.message


def test_a_line_is_a_request_with_the_defaults_of_the_command_line() -> None:
    (first, second) = read('{"id": "a", "prompt": "one", "max_tokens": 5}\n\n{"prompt": "two"}')
    assert (first.id, first.line, second.id, second.line) == ("a", 1, 3, 3)
    assert options_of(first) == Options(prompt="one", max_tokens=5, model="openai/gpt-x", temperature=0.5)
    assert options_of(second).prompt == "two"


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
    assert getattr(options_of(read(json.dumps(line))[0]), field) == value


@pytest.mark.parametrize("choice", [{"chain": "MINE"}, {"provider": "mistral"}, {"fallback": ["a/b"]}])
def test_model_options_of_a_line_replace_those_of_the_command_line(choice: dict[str, Any]) -> None:
    made = options_of(read(json.dumps({"prompt": "x", **choice}))[0])
    assert made.model is None
    assert made.temperature == 0.5


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "not JSON"),
        ("[1]", "not an object"),
        ('{"prompt": "x", "temprature": 1}', "did you mean temperature"),
        ('{"prompt": 7}', "prompt: 7 is not text"),
        ('{"prompt": "x", "temperature": "hot"}', "temperature: "),
        ('{"prompt": "x", "id": {}}', "id: "),
        ("[" * 100_000, "not JSON"),
        ('{"prompt": "\\ud800', "not JSON"),
    ],
)
def test_an_invalid_line_has_an_error_and_the_next_line_is_read(line: str, reason: str) -> None:
    bad, good = read(f'{line}\n{{"prompt": "x"}}\n')
    assert reason in error_of(bad)
    assert bad.line == 1
    assert options_of(good).prompt == "x"


def test_a_line_over_the_length_limit_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_LINE_BYTES", 100)
    bad, good = read(json.dumps({"prompt": "x" * 1000}) + '\n{"prompt": "y"}\n')
    assert "longer than" in error_of(bad)
    assert (options_of(good).prompt, good.line) == ("y", 2)


def test_plain_lines_are_prompts_with_line_numbers_as_ids() -> None:
    found = read("\ufeffone\r\n\n  two \nthr\xe9\xe9".encode(), InputFormat(lines=True))
    assert [(one.id, options_of(one).prompt) for one in found] == [(1, "one"), (3, "  two "), (4, "thréé")]


@pytest.mark.parametrize(
    ("line", "form"),
    [
        (b"caf\xe9", InputFormat(lines=True)),
        (b"zero\0", InputFormat(lines=True)),
        (b'{"prompt": "caf\xe9"}', JSON_LINES),
        (b"caf\xe9,x", InputFormat(column="text")),
    ],
)
def test_a_line_that_is_not_utf_8_is_invalid(line: bytes, form: InputFormat) -> None:
    head, good = (b"text,note\n", b"good,x") if form.column else (b"", b'{"prompt": "good"}')
    bad, next_one = read(head + line + b"\n" + good + b"\n", form)
    assert "not UTF-8" in error_of(bad) or "not text" in error_of(bad)
    assert options_of(next_one).prompt in ("good", '{"prompt": "good"}')


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-32", "cp1252"])
def test_the_input_is_read_in_the_given_encoding(encoding: str) -> None:
    texts = [f"caf\xe9 {number}" for number in range(10_000)]
    name = known_encoding(encoding)
    data = "\r\n".join(texts).encode(encoding)
    found = read(data, InputFormat(lines=True, encoding=name))
    assert [options_of(one).prompt for one in found] == texts
    rows = "\n".join(["text,note", *(f'"{text}",x' for text in texts)]).encode(encoding)
    assert [options_of(one).prompt for one in read(rows, InputFormat(column="text", encoding=name))] == texts


def test_bytes_outside_the_given_encoding_end_the_reading() -> None:
    with pytest.raises(RequestError, match="the input is not utf-16"):
        read("caf\xe9\n".encode("utf-16-le") + b"\x00\xd8", InputFormat(lines=True, encoding="utf-16-le"))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not text"),
        ("one\n".encode("utf-16"), "UTF-16"),
        ("one\n".encode("utf-32"), "UTF-32"),
        (b"caf\xe9\n", "not UTF-8"),
    ],
)
def test_a_pipe_that_does_not_start_with_text_is_rejected(data: bytes, told: str) -> None:
    piped = io.BufferedReader(io.BytesIO(data))
    with pytest.raises(RequestError, match=told):
        list(read_requests(piped, InputFormat(lines=True), DEFAULTS))


def test_a_template_is_filled_with_the_line_or_the_fields_of_an_object() -> None:
    (plain,) = read("hello\n", InputFormat(lines=True, template=Template("Say {text}.")))
    assert options_of(plain).prompt == "Say hello."
    (made,) = read(
        '{"id": 7, "who": "Ann", "prompt": "hi", "max_tokens": 3}',
        InputFormat(template=Template("{who}: {text}")),
    )
    assert (made.id, options_of(made).prompt, options_of(made).max_tokens) == (7, "Ann: hi", 3)
    assert made.source == {"id": 7, "prompt": "Ann: hi", "max_tokens": 3}
    (missing,) = read('{"id": 8}', InputFormat(template=Template("{who}")))
    assert (missing.id, error_of(missing)) == (8, "the template uses {who}, which the line does not have")


def test_a_csv_column_contains_the_prompts() -> None:
    data = '\ufeffid,note,text\r\na,x,"one, ""two""\nthree"\r\nb,y,four\r\n,z,five\r\nshort\r\n'
    found = read(data, InputFormat(column="text"))
    assert [options_of(one).prompt for one in found[:3]] == ['one, "two"\nthree', "four", "five"]
    assert [one.id for one in found[:3]] == ["a", "b", 5]
    assert "has no 'text'" in error_of(found[3])
    (framed,) = read("note,text\nhey,you\n", InputFormat(column="text", template=Template("{note}, {text}!")))
    assert options_of(framed).prompt == "hey, you!"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("a,Hello, world", "3 cells, the header has 2"),
        ("a,b,", "3 cells, the header has 2"),
        ("a", "1 cell, the header has 2"),
    ],
)
def test_a_row_with_too_many_or_too_few_cells_is_not_sent_in_part(row: str, told: str) -> None:
    bad, good = read(f'id,text\n{row}\nb,"Hello, world"\n', InputFormat(column="text"))
    assert told in error_of(bad)
    assert bad.line == 2
    assert options_of(good).prompt == "Hello, world"


def test_a_row_that_has_the_prompt_and_lacks_another_cell_is_invalid() -> None:
    (bad,) = read("text,note\nHello\n", InputFormat(column="text"))
    assert "1 cell, the header has 2" in error_of(bad)


def test_the_delimiter_can_be_set() -> None:
    (first,) = read("id;text\na;b,c\n", InputFormat(column="text", delimiter=";"))
    assert options_of(first).prompt == "b,c"
    with pytest.raises(RequestError) as caught:
        read("id;text\na;b\n", InputFormat(column="prompt"))
    assert "delimiter" in str(caught.value.hint)


def test_a_duplicate_column_is_rejected() -> None:
    with pytest.raises(RequestError, match="has 2 columns 'text'"):
        read("text,text\na,b\n", InputFormat(column="text"))


def test_a_broken_row_of_csv_does_not_stop_the_rest() -> None:
    found = read('text\n"a"b\nc\n', InputFormat(column="text"))
    assert "not CSV" in error_of(found[0])
    assert options_of(found[-1]).prompt == "c"


@pytest.mark.parametrize(("data", "told"), [("prompts\nx\n", "did you mean prompts"), ("", "only none")])
def test_a_missing_column_is_an_error_before_the_first_request(data: str, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(data, InputFormat(column="prompt"))
    assert told in f"{caught.value.message} {caught.value.hint}"


@given(st.lists(st.binary(max_size=40)))
@example([b"", b"\xef\xbb\xbf"])
@example([b"\xef\xbb\xbf", b"{}"])
def test_no_bytes_stop_the_reading(lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    expected = sum(1 for line in io.BytesIO(data.removeprefix(b"\xef\xbb\xbf")) if line.strip())
    assert len(read(data)) == expected
    assert all(
        isinstance(one.options, RequestError) or one.options.prompt for one in read(data, InputFormat(lines=True))
    )


@given(st.dictionaries(st.sampled_from(["id", "system"]), st.text(min_size=1)), st.text(min_size=1))
def test_the_source_of_a_request_is_the_same_request(said: dict[str, str], prompt: str) -> None:
    (first,) = read(json.dumps({**said, "prompt": f"{prompt}."}))
    (again,) = read(json.dumps(first.source))
    assert (again.id, again.options) == (first.id, first.options)
