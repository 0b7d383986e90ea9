"""A stream that is none: a whole answer in its place, or an error that comes together with text."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import IncompleteAnswerError
from llmroute.registry import ModelRegistry
from tests.support.fault_server import chunk, reply
from tests.support.wire_formats import (
    FORMATS,
    INPUT_TOKENS,
    MODEL,
    OUTPUT_TOKENS,
    answer,
    closing,
    head,
    in_band,
    opening,
    piece,
    town,
    whole,
)
from tests.wire.calling import call, config

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fault_server import Script
    from tests.wire.calling import Outcome

TEXT = "All of it, at once."
each_format = pytest.mark.parametrize("name", FORMATS)
either_way = pytest.mark.parametrize("awaiting", [False, True], ids=["blocking", "awaiting"])


@pytest.fixture(scope="module")
def registry() -> ModelRegistry:
    return ModelRegistry()


def stream(name: str, script: Script, home: Path, registry: ModelRegistry, *, awaiting: bool, **asked: Any) -> Outcome:
    with town(lambda who, _asked: script if who == name else answer(who, "other", streaming=True)) as here:
        return call(
            config(home, here.urls),
            registry,
            streaming=True,
            awaiting=awaiting,
            label="x",
            **({"model": MODEL[name], "max_attempts": 1} | asked),
        )


def body_of(name: str) -> bytes:
    [told] = whole(name, TEXT)
    assert isinstance(told, bytes)
    return told.partition(b"\r\n\r\n")[2]


def forms(name: str) -> dict[str, Script]:
    body = body_of(name)
    pretty = json.dumps(json.loads(body), indent=2).encode()
    return {
        "json": [reply(200, body)],
        "over several lines": [reply(200, pretty + b"\n")],
        "called a stream": [head(name), *(chunk(pretty[at : at + 7]) for at in range(0, len(pretty), 7)), chunk(b"")],
        "with a mark of order": [reply(200, b"\xef\xbb\xbf\r\n" + pretty)],
        "in two members of gzip": [
            reply(200, gzip.compress(body[:50]) + gzip.compress(body[50:]), headers={"content-encoding": "gzip"})
        ],
    }


@either_way
@each_format
def test_a_whole_answer_in_place_of_a_stream_is_read_as_the_answer_that_it_is(
    name: str, awaiting: bool, tmp_path: Path, registry: ModelRegistry
) -> None:
    for number, (form, script) in enumerate(forms(name).items()):
        outcome = stream(name, script, tmp_path / str(number), registry, awaiting=awaiting)
        assert outcome.response is not None, (form, outcome.error)
        assert "".join(outcome.pieces) == outcome.response.content == TEXT
        assert outcome.response.finish_reason == "stop"
        row = outcome.row
        assert (row["status"], row["input_tokens"], row["output_tokens"]) == ("ok", INPUT_TOKENS, OUTPUT_TOKENS)


@either_way
@each_format
def test_text_that_came_together_with_an_error_is_shown_before_it(
    name: str, awaiting: bool, tmp_path: Path, registry: ModelRegistry
) -> None:
    # One chunk, so that all of it is read at once.
    inside = b"".join(
        _data(part) for part in (opening(name), piece(name, "Half an "), piece(name, "answer"), in_band(name))
    )
    outcome = stream(name, [head(name) + chunk(inside) + chunk(b"")], tmp_path / "home", registry, awaiting=awaiting)
    assert isinstance(outcome.error, IncompleteAnswerError)
    assert "".join(outcome.pieces) == "Half an answer"
    assert outcome.row["status"] == "partial"


@each_format
def test_a_reader_returns_what_came_before_an_error_and_raises_it_then(name: str) -> None:
    from llmroute.errors import AttemptError
    from llmroute.providers import Endpoint, connect

    reader = connect(name, Endpoint(api_key="k")).open_stream()
    chunks = reader.feed(_data(opening(name)) + _data(piece(name, "Half")) + _data(in_band(name)))
    assert "".join(one.text for one in chunks) == "Half"
    with pytest.raises(AttemptError):
        reader.feed(b"\n")
    with pytest.raises(AttemptError):
        reader.finish()


@each_format
def test_an_error_in_place_of_a_stream_is_the_error_that_it_is(
    name: str, tmp_path: Path, registry: ModelRegistry
) -> None:
    told = json.dumps({"error": {"message": "slow down", "type": "rate_limit_error", "code": 429}}).encode()
    outcome = stream(name, [reply(200, told)], tmp_path / "home", registry, awaiting=False)
    assert outcome.row["error"] == "rate_limit"


def test_a_message_in_one_event_is_the_answer_and_one_beside_deltas_is_not_read_twice(
    tmp_path: Path, registry: ModelRegistry
) -> None:
    message = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    event = chunk(f"data: {json.dumps({'id': 'c', 'choices': [message]})}\n\n".encode())
    alone = [head("openai"), event, closing("openai")]
    beside = [head("openai"), opening("openai"), piece("openai", TEXT), event, closing("openai")]
    for number, script in enumerate((alone, beside)):
        outcome = stream("openai", script, tmp_path / str(number), registry, awaiting=False)
        assert outcome.response is not None
        assert outcome.response.content == TEXT


def _data(chunked: bytes) -> bytes:
    """Return the data of one chunk."""
    size, _, rest = chunked.partition(b"\r\n")
    return rest[: int(size, 16)]
