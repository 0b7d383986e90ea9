"""Health asks each provider one free question, and no longer than it says."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from llmroute.service.models.listing import available, listed
from llmroute.service.models.live_models import live
from tests.support.fault_server import Drip, Pause, Reset, Script, reply, serving
from tests.support.provider_servers import KEY, House, openai_error

if TYPE_CHECKING:
    from pathlib import Path

BOUNDED_S = 30.0
MODELS = reply(200, json.dumps({"data": [{"id": "a"}, {"id": "b"}]}).encode())
TAGS = reply(200, json.dumps({"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest"}]}).encode())


def test_a_provider_that_answers_is_well(tmp_path: Path) -> None:
    with serving([MODELS]) as server, serving([TAGS]) as local:
        service = House(tmp_path, openai=server).service(OLLAMA_BASE_URL=local.url)
        told = service.probe(("openai", "ollama"))
        service.close()
        assert [sent.line for sent in server.received] == ["GET /v1/models HTTP/1.1"]
    assert [(each.ok, each.status, each.models, each.configured) for each in told.values()] == [
        (True, "ok", 2, True),
        (True, "ok", 1, True),
    ]
    assert told["openai"].latency_ms is not None


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ([openai_error(401)], "bad key"),
        ([openai_error(429)], "rate limited"),
        ([openai_error(500)], "failing"),
        ([Reset()], "unreachable"),
        ([reply(200, b"<html>")], "failing"),
        ([Pause(60)], "unreachable"),
        ([Drip(MODELS, 0.5)], "unreachable"),
    ],
)
def test_a_provider_that_fails_says_how(tmp_path: Path, script: Script, status: str) -> None:
    with serving(script) as server:
        started = time.monotonic()
        service = House(tmp_path, openai=server).service()
        within_s = 0.4 if isinstance(script[0], Pause | Drip) else BOUNDED_S
        told = service.probe(("openai",), within_s=within_s)["openai"]
        assert time.monotonic() - started < BOUNDED_S
        service.close()
        assert server.wait_until_idle()
    assert (told.ok, told.status, told.configured) == (False, status, True)
    assert told.detail
    assert KEY not in told.detail


@pytest.mark.parametrize("body", [b'{"data": []}', b"[]", b'{"data": [{"id": "painter", "type": "image"}]}'])
def test_a_list_without_a_model_is_said_to_have_none(tmp_path: Path, body: bytes) -> None:
    with serving([reply(200, body)]) as server:
        service = House(tmp_path, together=server).service()
        told = service.probe(("together",))["together"]
        found = live(service.core, "together")
        service.close()
    assert (told.ok, told.status, told.models) == (False, "no models", 0)
    assert "has no chat models" in str(told.detail)
    assert (found.models, found.failures, found.empty) == ([], {}, ("together",))


@pytest.mark.parametrize("script", [[Pause(60)], [Drip(MODELS, 0.5)]])
def test_time_that_ran_out_is_told_as_the_whole_of_it(tmp_path: Path, script: Script) -> None:
    with serving(script) as server:
        service = House(tmp_path, openai=server).service()
        told = service.probe(("openai",), within_s=0.3)["openai"]
        service.close()
    assert told.detail == "no answer within 0.3 s"


def test_what_is_not_set_up_is_not_ill(tmp_path: Path) -> None:
    told = House(tmp_path).service().probe(("openai", "ollama"))
    assert (told["openai"].status, told["openai"].configured) == ("no key", False)
    assert (told["ollama"].ok, told["ollama"].status) == (False, "unreachable")


def test_a_provider_that_must_not_be_called_is_not_called(tmp_path: Path) -> None:
    service = House(tmp_path).service(OPENAI_API_KEY=KEY, OPENAI_BASE_URL="http://models.example/v1")
    told = service.probe(("openai",))["openai"]
    assert (told.ok, told.status, told.configured) == (False, "not allowed", True)
    assert "plain http" in str(told.detail)


def test_a_listed_model_is_available_when_its_provider_is_and_it_lives(tmp_path: Path) -> None:
    service = House(tmp_path).service(OPENAI_API_KEY=KEY)
    found = listed(service.registry)
    here = available(service.core, found)
    assert "openai/gpt-4.1-mini" in here
    assert not {"openai/gpt-4", "mistral/mistral-large-4"} & here
    names = {each.model.name for each in listed(service.registry, "mistral")}
    assert names == {each.model.name for each in found if each.model.provider == "mistral"}
