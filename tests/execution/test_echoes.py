"""What a provider echoes reaches neither a person, nor the log, nor the ledger, with a secret in it."""

from __future__ import annotations

import json
import logging
import time
import traceback
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import LLMRouteError
from llmroute.request.options import Options
from llmroute.service.model_lists import fetch_models
from llmroute.service.models.live_models import fetch_lists
from tests.support.fault_server import chunk, chunked_head, closed_port, reply, serving
from tests.support.provider_servers import KEY, OPENAI, House, event

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fault_server import Script

TOKEN = "tok-Path4711"
OTHERS = "mistral-Other4711"
ECHO = f"\x1b[31m{KEY} {TOKEN}\r\n{OTHERS} {TOKEN.lower()}\u202e" + "x" * 5000
SECRETS = (KEY, TOKEN, OTHERS, TOKEN.lower())
HEADER = f"{KEY} {TOKEN} {OTHERS}"


def answer(**choice: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"} | choice
    return reply(200, json.dumps({"id": ECHO, "model": ECHO, "choices": [choice]}).encode())


TOOL = {"id": "1", "type": "function", "function": {"name": ECHO, "arguments": "{}"}}
FAILURES: dict[str, Script] = {
    "error": [reply(400, json.dumps({"error": {"message": ECHO, "code": ECHO, "type": ECHO}}).encode())],
    "page": [
        reply(502, f"<title>Cannot POST /{TOKEN}/v1 {KEY} {OTHERS}</title>".encode(), headers={"x-request-id": HEADER})
    ],
    "tool": [
        answer(message={"role": "assistant", "content": None, "tool_calls": [TOOL] * 40}, finish_reason="tool_calls")
    ],
    "refusal": [answer(message={"role": "assistant", "content": None, "refusal": ECHO})],
    "filtered": [answer(finish_reason="content_filter")],
    "no status line": [f"HTTP/1.1 {HEADER}\r\n\r\n".encode()],
    "no header": [f"HTTP/1.1 200 OK\r\n{HEADER}\r\n\r\n".encode()],
    "in band": [chunked_head(), event({"error": {"message": ECHO, "code": ECHO}}), chunk(b"")],
}


def house(tmp_path: Path, server: Any) -> House:
    made = House(tmp_path)
    made.environ |= {"OPENAI_BASE_URL": f"{server.url}/{TOKEN}/v1", "OPENAI_API_KEY": KEY, "MISTRAL_API_KEY": OTHERS}
    return made


def told_nothing(*texts: object) -> None:
    for text in texts:
        assert not [secret for secret in SECRETS if secret in str(text)], text


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_tells_no_secret_and_is_one_bounded_line(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(FAILURES[name]) as server:
        made = house(tmp_path, server)
        with closing(made.service()) as service, pytest.raises(LLMRouteError) as caught:
            list(service.answer(Options(prompt="hi", model=OPENAI, enable_fallback=False), streaming=name == "in band"))
        assert server.received[0].path == f"/{TOKEN}/v1/chat/completions"
        error = caught.value
        assert error.message.isprintable()
        assert len(error.message) < 700
        rows = made.rows("*")
        # The log of httpcore tells headers as they come: it knows the secrets of the request, not of other providers.
        told_nothing(error, error.hint, vars(error), made.notes, made.traces, rows, caplog.text.replace(OTHERS, ""))
        told_nothing("".join(traceback.format_exception(error)))
        for value in rows[0]:
            assert not isinstance(value, str) or (value.isprintable() and len(value) <= 500)


def test_an_answer_is_verbatim_and_what_stands_beside_it_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    text = f"verbatim {KEY} {TOKEN}\x1b[0m"
    script = [answer(message={"role": "assistant", "content": text}, finish_reason=ECHO)]
    with serving(script) as server:
        made = house(tmp_path, server)
        with closing(made.service()) as service:
            response = service.generate_sync("hi", model=OPENAI)
        assert response.content == text
        assert response.finish_reason is not None
        assert len(response.finish_reason) <= 100
        told_nothing(response.finish_reason, response.tool_calls, made.notes, made.traces, made.rows("*"), caplog.text)
        assert "HTTP Request: POST http://127.0.0.1" in caplog.text, "the log of httpx is still there"


def test_a_list_of_models_that_does_not_come_tells_no_secret(tmp_path: Path) -> None:
    with serving(FAILURES["page"]) as server:
        service = house(tmp_path, server).service()
        with pytest.raises(LLMRouteError) as caught:
            fetch_models(
                service.core.resources.blocking_sender(), service.core.endpoints.connect("openai"), time.monotonic() + 5
            )
        told_nothing(caught.value, vars(caught.value))
        service.close()


def test_a_model_that_is_named_by_a_secret_is_in_no_list(tmp_path: Path) -> None:
    listed = {"data": [{"id": f"x-{TOKEN}"}, {"id": OTHERS}, {"id": "gpt-4o"}]}
    with serving([reply(200, json.dumps(listed).encode())]) as server:
        service = house(tmp_path, server).service()
        found = fetch_lists(service.core, ["openai"])["openai"]
        assert isinstance(found, tuple)
        assert [model.api_name for model in found] == ["gpt-4o"]
        service.close()


def greeting(model: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    return reply(200, json.dumps({"id": TOKEN, "model": model, "choices": [choice]}).encode())


@pytest.mark.parametrize(
    ("model", "path"), [("gpt-5-mini", "openai/deployments/gpt-5-mini"), ("house-model", "house-model")]
)
def test_the_name_of_a_model_in_an_address_is_told_as_a_fact(model: str, path: str, tmp_path: Path) -> None:
    with serving([greeting(model)]) as server:
        made = house(tmp_path, server)
        made.environ["OPENAI_BASE_URL"] = f"{server.url}/{TOKEN}/{path}/v1"
        with closing(made.service()) as service:
            service.generate_sync("hi", model=f"openai/{model}", enable_fallback=False)
        assert made.rows("served_model") == [(model,)]
        told_nothing(made.rows("*"), made.notes, made.traces)


def test_an_error_names_the_deployment_of_an_address(tmp_path: Path) -> None:
    message = f"The deployment gpt-5-mini of {TOKEN} has no capacity"
    with serving([reply(400, json.dumps({"error": {"message": message}}).encode())]) as server:
        made = house(tmp_path, server)
        made.environ["OPENAI_BASE_URL"] = f"{server.url}/{TOKEN}/openai/deployments/gpt-5-mini/v1"
        with (
            closing(made.service()) as service,
            pytest.raises(LLMRouteError, match=r"deployment gpt-5-mini of \[key\] has") as caught,
        ):
            service.generate_sync("hi", model=OPENAI, enable_fallback=False)
    told_nothing(caught.value, made.rows("*"), made.traces)


def test_an_address_that_is_none_is_told_without_its_token(tmp_path: Path) -> None:
    for url in (
        f"https://h.example/v1?key={TOKEN}",
        f"https://{TOKEN}@h.example",
        f"https://h.example/{TOKEN}/v 1",
        TOKEN,
    ):
        with pytest.raises(LLMRouteError) as caught:
            House(tmp_path).service(OPENAI_BASE_URL=url)
        told_nothing(caught.value)
        assert "OPENAI_BASE_URL" in str(caught.value)


def test_no_connection_names_the_host_and_not_the_token(tmp_path: Path) -> None:
    made = House(tmp_path)
    port = closed_port()
    service = made.service(
        OLLAMA_BASE_URL=f"http://127.0.0.1:{port}/{TOKEN}",
        OPENAI_BASE_URL=f"http://127.0.0.1:{port}/{TOKEN}",
        OPENAI_API_KEY=KEY,
    )
    with pytest.raises(LLMRouteError) as caught:
        service.generate_sync("hi", model=OPENAI, enable_fallback=False)
    assert f"127.0.0.1:{port}" in caught.value.message
    told_nothing(caught.value, caught.value.hint, made.traces)
    service.close()
