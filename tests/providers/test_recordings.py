"""Every recorded exchange, read as it was sent and cut at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmroute import errors
from llmroute.providers import Endpoint, connect
from llmroute.providers.wire.chat_completions import ChatCompletions, Dialect
from llmroute.schema.answer_schema import read_schema
from llmroute.schema.document import AnswerDocument, SchemaErrors, read_document
from llmroute.schema.vendor_forms import IN_WORDS
from tests.providers import corpus

if TYPE_CHECKING:
    from llmroute.providers import Provider
    from llmroute.types import Completion

pytestmark = corpus.needs_corpus


def provider_of(item: corpus.Item) -> Provider:
    path = item["request"]["path"]
    if item["provider"] == "ollama" and path.startswith("/v1/"):
        return ChatCompletions(Dialect("ollama", "http://127.0.0.1:11434/v1"), Endpoint())
    return connect(item["provider"], Endpoint(api_key="k-test-0123456789"))


def schema_of(item: corpus.Item) -> dict[str, Any]:
    """Return the JSON Schema that a recorded request has, empty where it has none."""
    body = item["request"]["body"] or {}
    nested = body.get("response_format", {}).get("json_schema") or body.get("output_config", {}).get("format") or {}
    found: dict[str, Any] = nested.get("schema", {})
    return found


def assert_expected(completion: Completion, expect: dict[str, Any]) -> None:
    reason = expect["finish_reason"]
    assert completion.text == expect["text"]
    assert completion.thinking == expect.get("thinking", "")
    assert completion.finish_reason == corpus.common_word(reason)
    assert completion.refusal == expect.get("refusal")
    assert completion.usage.input_tokens == expect["prompt_tokens"]
    assert completion.usage.output_tokens == expect["completion_tokens"]
    assert completion.usage.cached_input_tokens == expect["cached_tokens"]
    assert completion.usage.reasoning_tokens == expect["reasoning_tokens"]
    assert completion.usage.cache_write_tokens == expect.get(
        "cache_creation_tokens", completion.usage.cache_write_tokens
    )
    assert completion.model == expect.get("model")
    assert list(completion.tool_calls) == corpus.tool_names(expect)
    told = expect["prompt_tokens"] is not None or expect["completion_tokens"] is not None
    assert completion.usage.source == ("reported" if told else "none")


def assert_reads(item: corpus.Item, pieces: list[bytes]) -> None:
    expect = item["expect"]
    reader = provider_of(item).open_stream()
    if expect.get("stream_error") or expect.get("incomplete"):
        with pytest.raises(errors.AttemptError) as caught:
            read_all(reader, pieces)
        wanted = errors.TransientError if expect.get("stream_error") else errors.BadOutputError
        assert type(caught.value) is wanted
        assert_expected(reader.so_far, expect)
        return
    text, completion = read_all(reader, pieces)
    assert text == expect["text"]
    assert_expected(completion, expect)


def read_all(reader: Any, pieces: list[bytes]) -> tuple[str, Completion]:
    text = "".join(chunk.text for piece in pieces for chunk in reader.feed(piece))
    return text, reader.finish()


@pytest.mark.parametrize("item", corpus.params("chat", streaming=False))
def test_a_recorded_answer_is_read(item: corpus.Item) -> None:
    assert_expected(provider_of(item).parse_completion(corpus.body(item)), item["expect"])


@pytest.mark.parametrize("item", corpus.params("chat", streaming=True))
def test_a_recorded_stream_is_read_in_one_piece(item: corpus.Item) -> None:
    assert_reads(item, [corpus.body(item)])


@pytest.mark.parametrize("item", corpus.params("chat", streaming=True))
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_a_recorded_stream_is_read_however_it_is_cut(item: corpus.Item, data: st.DataObject) -> None:
    body = corpus.body(item)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=30)))
    assert_reads(item, [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)])


@pytest.mark.parametrize("item", corpus.params("chat", streaming=True))
def test_a_recorded_stream_is_read_with_other_line_ends(item: corpus.Item) -> None:
    for end in (b"\r\n", b"\r"):
        assert_reads(item, [corpus.body(item).replace(b"\n", end)])


@pytest.mark.parametrize("item", corpus.params("error"))
def test_a_recorded_error_lands_in_its_class(item: corpus.Item) -> None:
    expect = item["expect"]["error"]
    error = provider_of(item).parse_error(item["response"]["status"], corpus.headers(item), corpus.body(item))
    assert type(error) is corpus.error_class(item)
    assert error.http_status == expect["status"]
    assert error.provider == item["provider"]
    assert error.retry_after_s == expect["retry_after"]
    assert error.message.isprintable()
    assert expect.get("request_id") in (None, error.request_id)


@pytest.mark.parametrize("item", corpus.params("models"))
def test_a_recorded_model_list_is_read(item: corpus.Item) -> None:
    page = provider_of(item).parse_models(corpus.body(item))
    names = [model.api_name for model in page.models]
    assert names == [
        name for name in item["expect"]["model_ids"] if "embed" not in name or item["provider"] != "mistral"
    ]
    assert (page.next_request is not None) is bool(item["expect"].get("has_more"))


@pytest.mark.parametrize("item", corpus.answers("schema"))
def test_a_recorded_answer_in_a_schema_is_read(item: corpus.Item) -> None:
    if item["streaming"]:
        assert_reads(item, [corpus.body(item)])
    else:
        assert_expected(provider_of(item).parse_completion(corpus.body(item)), item["expect"])


@pytest.mark.parametrize("item", [each for each in corpus.answers("schema") if schema_of(each.values[0])])
def test_a_recorded_document_is_checked_against_the_schema_that_was_sent(item: corpus.Item) -> None:
    found = read_document(item["expect"]["text"], read_schema(schema_of(item)), IN_WORDS)
    complete = item["expect"]["finish_reason"] in ("stop", "end_turn")
    assert isinstance(found, AnswerDocument if complete else SchemaErrors)


@pytest.mark.parametrize("item", corpus.answers("schema", status=400))
def test_a_rejected_schema_is_no_fault_of_the_model(item: corpus.Item) -> None:
    error = provider_of(item).parse_error(400, corpus.headers(item), corpus.body(item))
    assert isinstance(error, errors.ParameterError | errors.BadRequestError)
