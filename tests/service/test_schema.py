"""`schema=` of the library: documents as dicts or instances, with their types."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, field_validator

import llmroute
from llmroute.errors import SchemaError
from llmroute.schema import answer_schema, document, vendor_forms
from tests.support.scripted_server import ScriptedServer
from tests.support.type_checker import type_checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODEL = "openai/gpt-5.4-mini"
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


class Dog(BaseModel):
    name: str
    age: int | None = None

    @field_validator("name")
    @classmethod
    def named(cls, name: str) -> str:
        if not name:
            raise ValueError("the name is empty")
        return name


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedServer]:
    monkeypatch.setenv("LLMROUTE_CONFIG_DIR", str(tmp_path / "llmroute"))
    with ScriptedServer() as running:
        for name, value in running.settings.items():
            monkeypatch.setenv(name, value)
        yield running


def test_a_dict_gives_a_dict_and_a_model_class_an_instance(server: ScriptedServer) -> None:
    server.answers = ['{"name": "Rex", "age": null}']
    with closing(llmroute.get_llm_service()) as service:
        as_dict = service.generate_sync("hi", model=MODEL, schema=SCHEMA)
        as_dog = service.generate_sync("hi", model=MODEL, schema=Dog)
        plain = service.generate_sync("hi", model=MODEL)
    assert as_dict.parsed["name"] == "Rex"
    assert as_dog.parsed == Dog(name="Rex")
    assert plain.parsed is None
    assert as_dog.as_dict()["parsed"] == {"name": "Rex", "age": None}


def test_a_schema_holds_for_requests_that_are_awaited_and_for_many(server: ScriptedServer) -> None:
    server.answers = ['{"name": "Rex"}']

    async def main() -> list[Any]:
        async with llmroute.get_llm_service() as service:
            one = await service.generate("hi", model=MODEL, schema=Dog)
            asked = [{"prompt": "hi", "model": MODEL, "schema": kind} for kind in (Dog, SCHEMA, "name str")]
            results = [result async for result in service.generate_many(asked)]
        return [one.parsed, *(result.response.parsed for result in results if result.response)]

    assert asyncio.run(main()) == [Dog(name="Rex"), Dog(name="Rex"), {"name": "Rex"}, {"name": "Rex"}]


def test_the_schema_of_an_awaited_request_is_read_and_compiled_off_the_event_loop(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = ['{"name": "Rex"}']
    threads: dict[str, str] = {}

    def seen(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            threads[name] = threading.current_thread().name
            return function(*arguments)

        return call

    for module, name in ((answer_schema, "check_schema"), (vendor_forms, "_openai"), (document, "validator_of")):
        monkeypatch.setattr(module, name, seen(name, getattr(module, name)))

    async def main() -> None:
        async with llmroute.get_llm_service() as service:
            await service.generate("hi", model=MODEL, schema={**SCHEMA, "title": "read off the loop"})

    asyncio.run(main())
    assert threads.keys() == {"check_schema", "_openai", "validator_of"}
    assert "MainThread" not in threads.values()


def test_the_validators_of_the_class_are_told_to_the_model(server: ScriptedServer) -> None:
    server.answers = ['{"name": "", "age": 1}', '{"name": "Rex", "age": 1}']
    with closing(llmroute.get_llm_service()) as service:
        response = service.generate_sync("hi", model=MODEL, schema=Dog)
    assert response.parsed == Dog(name="Rex", age=1)
    assert [attempt.status for attempt in response.attempts] == ["rejected", "ok"]
    assert "/name: Value error, the name is empty" in server.requests[1]["messages"][-1]["content"]


def test_an_error_names_what_is_wrong_with_the_last_answer(server: ScriptedServer) -> None:
    server.answers = ["{}"]
    with closing(llmroute.get_llm_service()) as service, pytest.raises(SchemaError) as caught:
        service.generate_sync("hi", model=MODEL, schema=SCHEMA, enable_fallback=False)
    assert caught.value.exit_code == 6
    assert "'name' is a required property" in str(caught.value)


@pytest.mark.parametrize("schema", [3, ["a"], int, {"type": "objekt"}, "{", {"const": object()}])
def test_what_is_no_schema_is_rejected_before_anything_is_sent(schema: Any, server: ScriptedServer) -> None:
    with closing(llmroute.get_llm_service()) as service, pytest.raises(llmroute.RequestError) as caught:
        service.generate_sync("hi", model=MODEL, schema=schema)
    assert caught.value.option == "schema"
    assert server.requests == []


def test_a_stream_takes_no_schema(server: ScriptedServer) -> None:
    with closing(llmroute.get_llm_service()) as service, pytest.raises(llmroute.RequestError, match="schema"):
        list(service.stream_sync("hi", model=MODEL, schema=SCHEMA))  # type: ignore[call-arg]
    assert server.requests == []


def test_a_type_checker_knows_what_was_parsed(tmp_path: Path) -> None:
    program = """
from pydantic import BaseModel
from llmroute import LLMService

class Dog(BaseModel):
    name: str

async def main(service: LLMService) -> None:
    dog: Dog = (await service.generate("hi", schema=Dog)).parsed
    print(dog.name, service.generate_sync("hi", schema=Dog).parsed.name)
    data: dict[str, object] = (await service.generate("hi", schema={"type": "object"})).parsed
    nothing: None = service.generate_sync("hi").parsed
    print((await service.generate("hi", schema=Dog)).parsed.age)
    wrong: int = (await service.generate("hi", schema={"type": "object"})).parsed
    await service.generate("hi", schema=3)
    print(data, nothing, wrong)
"""
    checked = type_checked(tmp_path, program)
    found = [line.split(":")[1] for line in checked.stdout.splitlines() if ": error:" in line]
    assert found == ["13", "14", "15"], checked.stdout + checked.stderr
