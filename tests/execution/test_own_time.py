"""Requests that share a service while its ledger is locked: each waits for its own time and not for that of others."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from llmroute.errors import BudgetExceededError, LLMRouteError
from tests.execution.test_under_pressure import locked
from tests.support.fault_server import Received, Script, serving
from tests.support.provider_servers import OPENAI, House, openai_answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llmroute.service.client import LLMService
    from llmroute.types import LLMResponse

BOTH = pytest.mark.parametrize("awaiting", [False, True], ids=["blocking", "awaiting"])
# A quarter of it is for the ledger.
SHORT_S = 6
TIMEOUTS_S = {"long": 300, "short": SHORT_S}
LEDGER_S = 15
APART_S = 0.3


def echo(received: Received) -> Script:
    return [openai_answer(json.loads(received.body)["messages"][-1]["content"])]


class Ended:
    """How requests ended, in the order in which they did; the first that ends lets the ledger go."""

    def __init__(self, let_go: Callable[[], object]) -> None:
        self._let_go = let_go
        self.outcomes: dict[str, LLMResponse | LLMRouteError] = {}

    def add(self, name: str, outcome: LLMResponse | LLMRouteError) -> None:
        self.outcomes[name] = outcome
        if len(self.outcomes) == 1:
            self._let_go()

    def texts(self) -> list[tuple[str, object]]:
        return [(name, getattr(outcome, "content", outcome)) for name, outcome in self.outcomes.items()]


def blocking(service: LLMService, ended: Ended, apart_s: float) -> None:
    def ask(name: str) -> None:
        try:
            ended.add(name, service.generate_sync(name, model=OPENAI, timeout_s=TIMEOUTS_S[name]))
        except LLMRouteError as error:
            ended.add(name, error)

    threads = [threading.Thread(target=ask, args=(name,)) for name in TIMEOUTS_S]
    for thread in threads:
        thread.start()
        time.sleep(apart_s)
    for thread in threads:
        thread.join(4 * LEDGER_S)
    service.close()


def awaited(service: LLMService, ended: Ended, apart_s: float) -> None:
    async def ask(name: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        try:
            ended.add(name, await service.generate(name, model=OPENAI, timeout_s=TIMEOUTS_S[name]))
        except LLMRouteError as error:
            ended.add(name, error)

    async def main() -> None:
        async with service:
            await asyncio.gather(*(ask(name, number * apart_s) for number, name in enumerate(TIMEOUTS_S)))

    asyncio.run(main())


@BOTH
@pytest.mark.parametrize(("apart_s", "warm"), [(APART_S, True), (0.0, False)], ids=["after", "together"])
def test_a_short_request_is_answered_while_a_long_one_waits_for_the_ledger(
    awaiting: bool, apart_s: float, warm: bool, tmp_path: Path
) -> None:
    ask = awaited if awaiting else blocking
    with serving(echo) as server:
        house = House(tmp_path, openai=server)
        (tmp_path / "config.toml").write_text(f"[timeouts]\nledger_s = {LEDGER_S}\n")
        first = house.service()
        first.generate_sync("first", model=OPENAI)
        with locked(tmp_path / "ledger.db") as let_go:
            ended = Ended(let_go)
            ask(first if warm else house.service(), ended, apart_s)
        first.close()
        assert ended.texts() == [("short", "short"), ("long", "long")]
        after = house.service()
        after.generate_sync("next", model=OPENAI)
        after.close()
    assert house.rows("status") == [("ok",)] * 4


@BOTH
@pytest.mark.parametrize("apart_s", [0.0, APART_S], ids=["together", "after"])
def test_under_a_cap_a_short_request_is_refused_while_a_long_one_waits_and_is_answered(
    awaiting: bool, apart_s: float, tmp_path: Path
) -> None:
    ask = awaited if awaiting else blocking
    with serving(echo) as server:
        house = House(tmp_path, openai=server)
        (tmp_path / "config.toml").write_text(f"[timeouts]\nledger_s = {LEDGER_S}\n[budgets]\nmonth = 5\n")
        service = house.service()
        service.generate_sync("first", model=OPENAI)
        with locked(tmp_path / "ledger.db") as let_go:
            ended = Ended(let_go)
            ask(service, ended, apart_s)
        [(first, refusal), last] = ended.texts()
        assert first == "short"
        assert isinstance(refusal, BudgetExceededError)
        assert last == ("long", "long")
        assert len(server.received) == 2
    assert house.rows("status, reserved_picousd > 0") == [("ok", 1)] * 2
    assert not [path for path in tmp_path.iterdir() if "spool" in path.name]
