"""A cascade killed at any step: the ledger has what was sent and its cost, and stdout a whole answer or none."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from llmroute.planning.usage_cost import price_from_json
from llmroute.registry.pricing import cost_picousd
from llmroute.types import PICO_PER_USD, Usage
from tests.support.model_server import USAGE, ModelServer
from tests.support.shell import environment, rows, run

if TYPE_CHECKING:
    from pathlib import Path

CHEAP, DEAR = "openai/gpt-5.4-mini", "openai/gpt-5.4"
SCHEMA = '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}'
CHECKED = ("--check", "grep -qx 'by gpt-5.4'")
KILLS = ("--check", "kill -9 $PPID")
LOST, PAID, REJECTED = ("lost", "estimated"), ("ok", "reported"), ("rejected", "reported")


class Step(NamedTuple):
    """Before which operation a run is killed, its arguments, and the attempts that the ledger must have then."""

    before: tuple[str, int] | None
    arguments: tuple[str, ...]
    attempts: list[tuple[str, str]]
    sent: int
    out: str = ""


STEPS = {
    "before the first call": Step(("Begin", 0), CHECKED, [], 0),
    "before the request is sent": Step(("Open", 0), CHECKED, [LOST], 0),
    "during the call": Step(("Read", 0), CHECKED, [LOST], 1),
    "during a call of the flex tier": Step(("Read", 0), (*CHECKED, "--tier", "flex"), [LOST], 1),
    "before the answer is settled": Step(("Settle", 0), CHECKED, [LOST], 1),
    "after the answer, before its check": Step(("Judge", 0), CHECKED, [PAID], 1),
    "during the check": Step(None, KILLS, [PAID], 1),
    "before the rejection is written": Step(("Settle", 1), CHECKED, [PAID], 1),
    "after the rejection, before the next call": Step(("Begin", 1), CHECKED, [REJECTED], 1),
    "during the next call": Step(("Open", 1), CHECKED, [REJECTED, LOST], 1),
    "before the second check": Step(("Judge", 1), CHECKED, [REJECTED, PAID], 2),
    "after the accepted answer, before the output": Step(("Settle", 3), CHECKED, [REJECTED, PAID], 2),
    "before the repair of a document": Step(("Begin", 1), ("--schema", SCHEMA), [REJECTED], 1),
    "during the repair of a document": Step(("Open", 1), ("--schema", SCHEMA), [REJECTED, LOST], 1),
    "after the output, before its answer is settled": Step(
        ("Settle", 1), ("--schema", SCHEMA), [REJECTED, LOST], 2, '{"a":1}\n'
    ),
}


class Server(ModelServer):
    """Answers with the name of the model, or with a document that is valid once it is repaired."""

    def words_for(self, body: dict[str, Any]) -> tuple[str, ...]:
        if "response_format" not in body:
            return (f"by {body['model']}",)
        return ('{"a": 1}' if len(body["messages"]) > 1 else '{"a": "one"}',)


class Homes(NamedTuple):
    """Where the runs have left their ledgers, how each ended, and how many requests each has sent."""

    folder: Path
    codes: dict[str, int]
    sent: dict[str, int]


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    folder = tmp_path_factory.mktemp("killed")
    runs = []
    with Server() as server:
        for name, step in STEPS.items():
            home = folder / name
            home.mkdir()
            arguments = ["gen", name, "--no-stdin", "-m", CHEAP, "--fallback", DEAR, *step.arguments]
            runs.append((str(home), environment(home, **server.settings), arguments, step.before))
        done = subprocess.run(
            [sys.executable, "-m", "tests.cli.killed"],
            input=json.dumps(runs),
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        asked = [next(one for one in STEPS if one in str(body["messages"])) for body in server.requests]
    codes = dict(zip(STEPS, json.loads(done.stdout), strict=True))
    return Homes(folder, codes, {name: asked.count(name) for name in STEPS})


@pytest.mark.parametrize("name", STEPS)
def test_a_cascade_that_is_killed_has_every_attempt_in_the_ledger_at_its_cost(name: str, homes: Homes) -> None:
    step, home = STEPS[name], homes.folder / name
    assert homes.codes[name] == -signal.SIGKILL, (home / "err").read_text()
    assert homes.sent[name] == step.sent
    assert (home / "out").read_text() == step.out
    told = json.loads(run("costs", "--json", home=home).out)
    found = rows(home) if step.attempts else []
    assert [(one["status"], one["cost_basis"]) for one in found] == step.attempts
    second = CHEAP if "--schema" in step.arguments else DEAR
    assert [f"{one['provider']}/{one['model']}" for one in found] == [CHEAP, second][: len(found)]
    for one in found:
        assert one["cost_picousd"] == (one["expected_picousd"] if one["status"] == "lost" else exact(one))
    assert told["total_cost_usd"] == pytest.approx(sum(one["cost_picousd"] for one in found) / PICO_PER_USD)


def exact(row: dict[str, Any]) -> int:
    """The cost of the usage that the server has reported, at the price of the row."""
    used = Usage(input_tokens=USAGE["prompt_tokens"], output_tokens=USAGE["completion_tokens"])
    cost = cost_picousd(used, price_from_json(row["price"]))
    assert cost
    return cost


def test_a_killed_call_of_a_tier_is_lost_at_the_price_of_that_tier(homes: Homes) -> None:
    names = ("during the call", "during a call of the flex tier")
    for name in names:
        run("costs", home=homes.folder / name)
    (standard,), (flex,) = (rows(homes.folder / name) for name in names)
    assert (standard["service_tier"], flex["service_tier"]) == (None, "flex")
    assert json.loads(flex["price"])["input"] * 2 == json.loads(standard["price"])["input"]
