"""A value of the wrong kind is told in words, whichever way a program asks; nothing is sent for it."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from llmroute import errors
from tests.support.fault_server import serving
from tests.support.provider_servers import OPENAI, House, openai_answer

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute import LLMService

WRONG: list[tuple[str, Any]] = [
    ("prompt", 123),
    ("messages", [1]),
    ("fallback", 5),
    ("stop", 5),
    ("max_tokens", "10"),
    ("timeout_s", True),
    ("required_capability", 3),
    ("workspace_id", 7),
    ("task_type", []),
    ("temperature", float("nan")),
]


@pytest.mark.parametrize(("option", "value"), WRONG)
def test_a_wrong_argument_is_a_request_error_wherever_it_is_given(tmp_path: Path, option: str, value: Any) -> None:
    asked: dict[str, Any] = ({} if option in ("prompt", "messages") else {"prompt": "hi"}) | {option: value}

    async def main(house: House) -> None:
        async with house.service() as service:
            with pytest.raises(errors.RequestError) as whole:
                await service.generate(**asked)
            with pytest.raises(errors.RequestError) as streamed:
                async for _ in service.stream_generate(**asked):
                    pass
            results = [result async for result in service.generate_many([asked, {"prompt": "hi", "model": OPENAI}])]
        assert [whole.value.option, streamed.value.option] == [option, option]
        assert isinstance(results[0].error, errors.RequestError)
        assert results[0].error.option == option
        assert results[1].response is not None, "the others are answered"

    with serving([openai_answer()]) as server:
        asyncio.run(main(House(tmp_path, openai=server)))
        assert len(server.received) == 1, "nothing else was sent"


def test_many_requests_may_be_of_any_kind_but_no_kind_breaks_the_others(tmp_path: Path) -> None:
    wrong: list[Any] = [5, None, b"hi", ["hi"], {"prompt": "hi", 5: 5}, {"prompt": "hi", "temprature": 1}]

    async def main(house: House) -> list[errors.LLMRouteError | None]:
        async with house.service() as service:
            results = [result.error async for result in service.generate_many([*wrong, "hi"])]
            nothing: Any = 5
            with pytest.raises(errors.RequestError, match="requests: 5 is not an iterable of requests"):
                _ = [result async for result in service.generate_many(nothing)]
            with pytest.raises(TypeError, match="temprature"):
                await service.generate("hi", temprature=1)  # type: ignore[call-overload]
            return results

    with serving([openai_answer()]) as server:
        *failed, answered = asyncio.run(main(House(tmp_path, openai=server)))
    assert {type(error) for error in failed} == {errors.RequestError}
    misspelled = failed[-1]
    assert misspelled is not None
    assert (misspelled.message, misspelled.hint) == (
        "a request has no option 'temprature'",
        "did you mean temperature?",
    )
    assert answered is None


METHODS = ("generate", "stream_generate", "generate_sync", "stream_sync")


def call(service: LLMService, method: str, **options: Any) -> Any:
    result = getattr(service, method)("hi", **options)
    return asyncio.run(result) if method == "generate" else result


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("option", "hint"), [("temprature", "; did you mean temperature?"), ("nope", "")])
def test_an_unknown_option_raises_a_type_error_that_names_the_method_and_the_nearest_option(
    method: str, option: str, hint: str, tmp_path: Path
) -> None:
    message = f"{method}() got an unexpected keyword argument '{option}'{hint}"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        call(House(tmp_path).service(), method, **{option: 1})


@pytest.mark.parametrize("method", ["generate", "generate_sync", "stream_sync"])
def test_a_service_that_was_closed_rejects_every_call_and_sends_nothing(method: str, tmp_path: Path) -> None:
    with serving([openai_answer()]) as server:
        service = House(tmp_path, openai=server).service()
        service.generate_sync("hi", model=OPENAI)
        service.close()
        with pytest.raises(errors.RequestError, match=r"^the service is closed; create a new LLMService$"):
            call(service, method)
        with pytest.raises(errors.RequestError, match="closed"):
            service.generate_many(["hi"])
        assert len(server.received) == 1


def test_a_service_whose_context_was_left_rejects_calls_in_that_event_loop_alone(tmp_path: Path) -> None:
    async def leave_and_call(service: LLMService) -> None:
        async with service:
            await service.generate("hi", model=OPENAI)
        with pytest.raises(errors.RequestError, match="closed"):
            await service.generate("hi", model=OPENAI)
        with pytest.raises(errors.RequestError, match="closed"):
            _ = [text async for text in service.stream_generate("hi", model=OPENAI)]

    async def call_in_another_loop(service: LLMService) -> None:
        async with service:
            await service.generate("hi", model=OPENAI)

    with serving([openai_answer(), openai_answer()]) as server:
        service = House(tmp_path, openai=server).service()
        asyncio.run(leave_and_call(service))
        asyncio.run(call_in_another_loop(service))
        assert len(server.received) == 2
