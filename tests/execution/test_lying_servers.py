"""Usage that cannot be: it is bounded and marked, and no row is lost for it."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.config import Limit
from llmroute.errors import LLMRouteError
from llmroute.execution.accounting.settlement import Sent, is_plausible
from llmroute.ledger.spool import bad, places
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.routing.token_estimate import measure
from llmroute.types import Completion, Message, ModelConfig, Prompt, Usage
from tests.ledger.calls import NOW_MS
from tests.support.fault_server import chunk, chunked_head, reply, serving
from tests.support.provider_servers import ANTHROPIC, OPENAI, House, delta, event

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fault_server import Script

BILLION = 10**9
DEAR = """
[models."openai/gold"]
input = 1000000
output = 1000000
context_window = 1000000000
max_output = 1000000000
"""


def openai(**usage: Any) -> Script:
    body = {"model": "m", "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
    return [reply(200, json.dumps({**body, "usage": usage}).encode())]


def streamed(**usage: Any) -> Script:
    return [chunked_head(), delta("Hi"), delta("", "stop"), event({"choices": [], "usage": usage}), chunk(b"")]


def anthropic(**usage: Any) -> Script:
    body = {"model": "m", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn", "usage": usage}
    return [reply(200, json.dumps(body).encode())]


LIES: dict[str, tuple[str, bool, Script]] = {
    "output": (OPENAI, False, openai(prompt_tokens=7, completion_tokens=BILLION)),
    "input": (OPENAI, False, openai(prompt_tokens=BILLION, completion_tokens=7)),
    "both": (OPENAI, False, openai(prompt_tokens=BILLION, completion_tokens=BILLION)),
    "more than any number of tokens": (OPENAI, False, openai(prompt_tokens=10**18, completion_tokens=10**18)),
    "negative": (OPENAI, False, openai(prompt_tokens=-BILLION, completion_tokens=-1)),
    "cached": (
        OPENAI,
        False,
        openai(prompt_tokens=7, completion_tokens=7, prompt_tokens_details={"cached_tokens": BILLION}),
    ),
    "streamed": (OPENAI, True, streamed(prompt_tokens=7, completion_tokens=BILLION)),
    "beyond the limit that was sent": (OPENAI, False, openai(prompt_tokens=7, completion_tokens=2_000)),
    "nothing": (OPENAI, False, openai(prompt_tokens=0, completion_tokens=0)),
    "nothing, streamed": (OPENAI, True, streamed(prompt_tokens=0, completion_tokens=0)),
    "more cached than there is": (
        OPENAI,
        False,
        openai(prompt_tokens=5, completion_tokens=3, prompt_tokens_details={"cached_tokens": 100_000}),
    ),
    "anthropic's nothing": (ANTHROPIC, False, anthropic(input_tokens=0, output_tokens=0)),
    "anthropic's three": (
        ANTHROPIC,
        False,
        anthropic(
            input_tokens=BILLION, output_tokens=7, cache_read_input_tokens=BILLION, cache_creation_input_tokens=BILLION
        ),
    ),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("capped", [True, False])
def test_a_usage_that_cannot_be_costs_no_more_than_was_possible_and_is_marked(
    lie: str, capped: bool, tmp_path: Path
) -> None:
    model, streaming, script = LIES[lie]
    with serving(script) as server:
        house = House(tmp_path, **{model.partition("/")[0]: server})
        llm = house.service()
        llm = type(llm)(config=replace(llm.config, limits=(Limit("day", "", 10**12),) if capped else ()))
        with suppress(LLMRouteError):
            list(llm.answer(_options(model), streaming=streaming))
        llm.close()
    ((cost, reserved, basis, source, tokens),) = house.rows(
        "cost_picousd, reserved_picousd, cost_basis, usage_source, input_tokens + output_tokens"
    )
    assert 0 < cost <= reserved
    assert (cost == reserved) == capped
    assert basis == ("at_most" if capped else "estimated")
    assert source in ("implausible", "estimated")
    assert tokens < 1_000


def _options(model: str) -> Any:
    from llmroute.request.options import Options

    return Options(prompt="hi", model=model, max_tokens=100, enable_fallback=False)


def test_no_row_is_lost_however_much_is_claimed_at_whatever_price(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(DEAR)
    claims = openai(prompt_tokens=BILLION, completion_tokens=BILLION)
    with serving(claims) as server:
        house = House(tmp_path, openai=server)

        async def ask() -> None:
            async with house.service() as llm:
                asked = [{"prompt": f"hi {number}", "model": "openai/gold"} for number in range(120)]
                async for _ in llm.generate_many(asked, jobs=8):
                    pass

        asyncio.run(ask())
    path = tmp_path / "ledger.db"
    assert house.rows("count(*), count(DISTINCT request_id)") == [(120, 120)]
    assert not any(bad(place).exists() for place in places(path))
    assert check(path, NOW_MS).faults == ()


def test_one_note_says_what_was_claimed(tmp_path: Path) -> None:
    with serving(openai(prompt_tokens=7, completion_tokens=BILLION)) as server:
        house = House(tmp_path, openai=server)
        llm = house.service()
        answer = llm.generate_sync("hi", model=OPENAI, max_tokens=10)
        llm.close()
    (note,) = [note for note in house.notes if "cannot be" in note]
    assert "7 input and 1,000,000,000 output tokens" in note
    assert answer.usage.source == "implausible"
    assert house.rows("cost_basis") == [("estimated",)]


def sent(prompt: Prompt) -> Sent:
    model = ModelConfig("openai", "m", "m", context_window=128_000, max_output=16_000)
    return Sent(prompt, measure(prompt), model, None, None, bound=False, expected_output_tokens=500)


@pytest.mark.parametrize(
    ("usage", "max_tokens", "believed"),
    [
        (Usage(1_000, output_tokens=4_000, source="reported"), None, True),
        # A system prompt of the gateway's fills the window.
        (Usage(128_000, output_tokens=16_000, reasoning_tokens=15_000, source="reported"), None, True),
        (Usage(300_000, output_tokens=1, source="reported"), None, False),
        (Usage(1, output_tokens=40_000, source="reported"), None, False),
        (Usage(1, cached_input_tokens=300_000, output_tokens=1, source="reported"), None, False),
        (Usage(1, output_tokens=1, reasoning_tokens=40_000, source="reported"), None, False),
        (Usage(1_000, 900, 100, 10, source="reported"), None, True),
        (Usage(1_000, 900, 101, 10, source="reported"), None, False),
        (Usage(1, output_tokens=276, source="reported"), 10, True),
        (Usage(1, output_tokens=277, source="reported"), 10, False),
        (Usage(1, output_tokens=60_000, source="reported"), 32_000, True),
        (Usage(0, output_tokens=1, source="reported"), None, True),
        (Usage(1, output_tokens=0, source="reported"), None, False),
    ],
)
def test_what_an_honest_server_may_report_is_believed(usage: Usage, max_tokens: int | None, believed: bool) -> None:
    prompt = Prompt((Message("user", "hi"),), max_tokens=max_tokens)
    assert is_plausible(Completion("Hi", usage=usage), sent(prompt)) is believed


def test_no_usage_is_a_fact_of_an_answer_without_anything() -> None:
    usage = Usage(0, output_tokens=0, source="reported")
    assert is_plausible(Completion(usage=usage), sent(Prompt((Message("user", "hi"),))))
