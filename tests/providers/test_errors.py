from __future__ import annotations

import json
from typing import Any

import pytest

from llmroute import errors
from llmroute.providers import PROVIDERS
from tests.providers.samples import KEY, provider

FIVE = [name for name in PROVIDERS if name != "builtin"]


def fault(name: str, status: int, body: object, **headers: str) -> errors.AttemptError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return provider(name).parse_error(status, {key.replace("_", "-"): value for key, value in headers.items()}, raw)


def openai_error(message: str = "", **rest: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None} | rest}


def mistral_detail(**fault: Any) -> list[dict[str, Any]]:
    return [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "Extra inputs"} | fault]


TABLE = [
    ("openai", 429, openai_error("slow down", code="rate_limit_exceeded", type="requests"), errors.RateLimitError),
    ("openai", 429, openai_error("no money", code="insufficient_quota"), errors.QuotaError),
    ("openai", 429, openai_error("Request too large for gpt on TPM: Limit 1, Requested 2"), errors.ContextLengthError),
    ("openai", 400, openai_error("too many", code="context_length_exceeded"), errors.ContextLengthError),
    ("openai", 400, openai_error("This model's maximum context length is 8 tokens"), errors.ContextLengthError),
    ("openai", 400, openai_error("no", code="content_filter"), errors.ContentError),
    ("openai", 400, openai_error("no", code="content_policy_violation"), errors.ContentError),
    ("openai", 400, openai_error("no", code="unsupported_value", param="temperature"), errors.ParameterError),
    ("openai", 400, openai_error("above", code="integer_above_max_value", param="max_tokens"), errors.ParameterError),
    ("openai", 400, openai_error("no", code="invalid_parameter_combination"), errors.ParameterError),
    ("openai", 400, openai_error("bad", param="messages"), errors.BadRequestError),
    ("openai", 401, openai_error("bad key", code="invalid_api_key"), errors.AuthenticationError),
    ("openai", 403, openai_error("not allowed to sample from this model"), errors.AuthenticationError),
    ("openai", 403, openai_error("no access", code="model_not_found"), errors.ModelGoneError),
    ("openai", 404, openai_error("gone", code="model_not_found"), errors.ModelGoneError),
    ("openai", 404, openai_error("Invalid URL (POST /v2/chat)"), errors.ModelGoneError),
    ("openai", 500, openai_error("oops", type="server_error"), errors.TransientError),
    ("openai", 503, b"upstream connect error", errors.TransientError),
    ("openai", 302, b"", errors.UnreachableError),
    ("openai", 408, b"", errors.TransientError),
    ("openai", 409, b"", errors.TransientError),
    ("openai", 413, b"", errors.ContextLengthError),
    ("openai", 422, b"", errors.BadRequestError),
    ("anthropic", 400, {"error": {"message": "Your credit balance is too low to access"}}, errors.QuotaError),
    ("anthropic", 402, {"error": {"type": "billing_error", "message": "no"}}, errors.QuotaError),
    ("anthropic", 400, {"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}}, errors.ContextLengthError),
    (
        "anthropic",
        400,
        {"error": {"message": "input and `max_tokens` exceed context limit"}},
        errors.ContextLengthError,
    ),
    ("anthropic", 400, {"error": {"message": "max_tokens: 9 > 8, which is the maximum"}}, errors.ParameterError),
    ("anthropic", 400, {"error": {"message": "`temperature` may only be 1"}}, errors.ParameterError),
    ("anthropic", 400, {"error": {"message": "messages: first must be user"}}, errors.BadRequestError),
    ("anthropic", 400, {"error": {"message": "Output blocked by content filtering policy"}}, errors.ContentError),
    ("anthropic", 403, {"error": {"type": "permission_error", "message": "no"}}, errors.AuthenticationError),
    ("anthropic", 404, {"error": {"type": "not_found_error", "message": "model: x"}}, errors.ModelGoneError),
    ("anthropic", 413, {"error": {"type": "request_too_large", "message": "too big"}}, errors.ContextLengthError),
    ("anthropic", 529, {"error": {"type": "overloaded_error", "message": "Overloaded"}}, errors.TransientError),
    ("mistral", 400, {"message": "Invalid model: x", "type": "invalid_model", "code": "1500"}, errors.ModelGoneError),
    ("mistral", 400, {"message": "Prompt is too large for model with 8 maximum"}, errors.ContextLengthError),
    ("mistral", 401, {"detail": "Invalid API Key"}, errors.AuthenticationError),
    ("mistral", 422, {"message": {"detail": mistral_detail()}}, errors.ParameterError),
    ("mistral", 422, {"message": json.dumps({"detail": mistral_detail()})}, errors.ParameterError),
    ("mistral", 422, {"message": mistral_detail(), "code": 3001, "detail": []}, errors.ParameterError),
    ("mistral", 422, {"detail": mistral_detail()}, errors.ParameterError),
    ("mistral", 422, {"detail": mistral_detail(type="missing", loc=["body", "messages"])}, errors.BadRequestError),
    ("mistral", 422, {"detail": mistral_detail(type="less_than", loc=["body", "temperature"])}, errors.ParameterError),
    ("mistral", 429, {"message": "Requests rate limit exceeded"}, errors.RateLimitError),
    ("mistral", 503, {"message": "Service tier capacity exceeded for this model."}, errors.RateLimitError),
    ("together", 400, openai_error("x", code="model_not_available"), errors.ModelGoneError),
    ("together", 400, openai_error("x", code="dedicated_endpoint_not_running"), errors.ModelGoneError),
    ("together", 400, openai_error("`inputs` tokens + `max_new_tokens` must be <= 8"), errors.ContextLengthError),
    ("together", 402, openai_error("Credit limit exceeded"), errors.QuotaError),
    ("together", 403, openai_error("prompt and max_tokens do not fit"), errors.ContextLengthError),
    ("together", 403, b"<html><title>Attention required</title></html>", errors.AuthenticationError),
    ("together", 429, openai_error("You have been rate limited.", type="credit_limit"), errors.RateLimitError),
    ("together", 524, b"<html>timeout</html>", errors.TransientError),
    ("ollama", 503, {"error": "server busy, maximum pending requests exceeded"}, errors.RateLimitError),
    ("ollama", 500, {"error": "llama runner process has terminated"}, errors.TransientError),
    ("ollama", 500, {"error": "no user query found in messages"}, errors.ContextLengthError),
    ("ollama", 401, {"error": "unauthorized", "signin_url": "https://ollama.com"}, errors.AuthenticationError),
    ("ollama", 400, {"error": {"type": "exceed_context_size_error", "code": 400}}, errors.ContextLengthError),
    ("ollama", 404, b"404 page not found", errors.ModelGoneError),
]


@pytest.mark.parametrize(("name", "status", "body", "kind"), TABLE)
def test_the_body_says_what_happened_and_the_status_where_it_is_silent(
    name: str,
    status: int,
    body: object,
    kind: type[errors.AttemptError],
) -> None:
    error = fault(name, status, body)
    assert type(error) is kind
    assert (error.provider, error.http_status) == (name, status)


@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"\xff\xfe", b"{", b'{"error":null}', b'{"error":{}}', b"<p>"])
def test_a_body_that_says_nothing_leaves_the_status_to_speak(name: str, body: bytes) -> None:
    assert type(fault(name, 500, body)) is errors.TransientError
    assert type(fault(name, 401, body)) is errors.AuthenticationError
    assert fault(name, 500, body).message


def test_a_parameter_error_names_the_parameter() -> None:
    assert (
        fault("openai", 400, openai_error("no", code="unsupported_parameter", param="max_tokens")).code == "max_tokens"
    )
    assert fault("mistral", 422, {"detail": mistral_detail()}).code == "max_completion_tokens"
    assert fault("anthropic", 400, {"error": {"message": "`temperature` may only be 1"}}).code == "temperature"


def test_other_errors_keep_the_providers_code_else_its_type() -> None:
    assert fault("openai", 404, openai_error("x", code="model_not_found")).code == "model_not_found"
    assert fault("anthropic", 529, {"error": {"type": "overloaded_error", "message": "x"}}).code == "overloaded_error"
    assert fault("mistral", 429, {"message": "x", "code": 1300}).code == "1300"


def test_a_message_is_one_line_without_control_characters_and_not_long() -> None:
    assert fault("openai", 500, openai_error("a\n\tb\x1b[31m\u2028c\x00")).message == "a b [31m c"
    assert len(fault("openai", 500, openai_error("word " * 10_000)).message) <= 500
    assert fault("openai", 500, openai_error("a\ud83db")).message == "a\ufffdb"


def test_mistrals_list_of_faults_becomes_a_sentence() -> None:
    error = fault("mistral", 422, {"detail": [*mistral_detail(), *mistral_detail(msg="Bad", loc=["body", 0])]})
    assert error.message == "body.max_completion_tokens: Extra inputs; body.0: Bad"


def test_a_gateways_page_becomes_its_title_or_its_words() -> None:
    page = b"<!DOCTYPE html><html><head><title>502 Bad &amp; Gateway</title><style>a{}</style></head><body>x</body>"
    assert fault("openai", 502, page).message == "502 Bad & Gateway"
    assert fault("openai", 502, b"<html><style>a{}</style><h1>Bad</h1><p>gateway</p>").message == "Bad gateway"


@pytest.mark.parametrize(
    "message",
    [
        f"bad key {KEY}!",
        "Incorrect API key provided: sk-abcd1234efgh5678. You can find your API key",
        "Incorrect API key provided: sk-ab**********5678.",
        "Incorrect API key provided: abc.",
        "Authorization: Bearer abcd.efgh",
        "your key 0123456789abcdef0123456789abcdef is wrong",
        "key tgp_v1_abcdef is wrong",
    ],
)
@pytest.mark.parametrize("name", FIVE)
def test_a_key_that_a_provider_echoes_is_not_repeated(name: str, message: str) -> None:
    said = fault(name, 401, openai_error(message)).message
    assert "[key]" in said
    for secret in (KEY, "abcd", "5678", "abc.", "0123456789abcdef", "abcdef"):
        assert secret not in said


def test_a_key_inside_a_stream_is_not_repeated_either() -> None:
    reader = provider("openai").open_stream()
    with pytest.raises(errors.AttemptError) as caught:
        reader.feed(b"data: " + json.dumps(openai_error(f"bad {KEY}")).encode() + b"\n\n")
    assert KEY not in str(caught.value)


def test_ordinary_words_are_not_taken_for_keys() -> None:
    words = "The model `llama-3.3-70b` at https://platform.openai.com/account/api-keys is risk-free, ref 96164523-08b2."
    assert fault("openai", 404, openai_error(words)).message == words


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("x_request_id", "openai"),
        ("request_id", "anthropic"),
        ("mistral_correlation_id", "mistral"),
        ("cf_ray", "together"),
    ],
)
def test_the_request_id_is_kept_from_the_header(header: str, name: str) -> None:
    assert fault(name, 500, b"", **{header: "req-1"}).request_id == "req-1"


def test_the_request_id_is_kept_from_the_body() -> None:
    assert fault("anthropic", 500, {"error": {"message": "x"}, "request_id": "req-2"}).request_id == "req-2"
    assert fault("together", 500, {"id": "req-3", "error": {"message": "x"}}).request_id == "req-3"
    assert fault("anthropic", 500, {"error": {"message": "x"}, "request_id": None}).request_id is None


def test_the_wish_to_wait_and_the_word_on_retrying_are_kept() -> None:
    error = fault("anthropic", 429, b"", retry_after="7", x_should_retry="false")
    assert (error.retry_after_s, error.should_retry) == (7.0, False)
    assert fault("anthropic", 400, b"", retry_after="7").retry_after_s is None
    assert fault("anthropic", 500, b"").should_retry is None


def test_what_a_person_can_do_is_said() -> None:
    assert "MISTRAL_API_KEY" in (fault("mistral", 401, b"").hint or "")
    assert "ollama signin" in (fault("ollama", 401, b"").hint or "")
    assert "credit" in (fault("openai", 402, b"").hint or "")
    assert "base URL" in (fault("openai", 404, b"404 page not found").hint or "")
    assert "redirect" in (fault("openai", 301, b"").hint or "")


def test_a_huge_error_page_is_read_quickly() -> None:
    assert fault("openai", 502, b"<" * 2_000_000).message
    assert fault("openai", 502, b"*a" * 1_000_000).message
    assert fault("openai", 502, b"model " * 300_000).message
    assert fault("openai", 502, b"[" * 2_000_000).message
