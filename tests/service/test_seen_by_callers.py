"""What a library's caller catches: by its class, with names of options and never of flags, and without any key."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmroute import errors
from llmroute.batch import request_schema
from llmroute.batch.results_file import ResultsFile
from llmroute.cli.errors import error_as_json, error_with_hint
from llmroute.cli.flag_names import in_flags
from llmroute.errors import (
    AllProvidersFailedError,
    AttemptError,
    AuthenticationError,
    LLMRouteError,
    RateLimitError,
    TransientError,
)
from llmroute.execution.answer_check import error_in
from llmroute.ledger.sqlite.maintenance.prune import backup
from llmroute.ledger.sqlite.store import Ledger
from llmroute.registry.catalogue_file import load
from llmroute.registry.refresh import check
from llmroute.request.options import Options
from llmroute.service.costs.report import CostQuery, bill
from llmroute.types import Completion
from tests.support.fault_server import Pause, reply, serving
from tests.support.provider_servers import ANTHROPIC, KEY, OPENAI, House, openai_answer, openai_error
from tests.support.shell import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.fault_server import Script

SLOW: Script = [openai_error(429, retry_after="70")]
LIMITED = b'{"type": "error", "error": {"type": "rate_limit_error"}}'
SLOWER: Script = [reply(429, LIMITED, headers={"retry-after": "300"})]
NO_KEY: Script = [openai_error(401)]
DOWN: Script = [openai_error(500, retry_after_ms="1")]


def caught(house: House, **options: Any) -> LLMRouteError:
    async def main() -> None:
        async with house.service() as service:
            await service.generate(**{"prompt": "hi", "model": OPENAI, "fallback": [ANTHROPIC], **options})

    with pytest.raises(LLMRouteError) as found:
        asyncio.run(main())
    return found.value


# What two providers answer; what the failure is, when it may be tried again, and how it exits.
OUTCOMES: dict[str, tuple[Script, Script, type[AttemptError], float | None, int]] = {
    "two rate limits, the first sooner": (SLOW, SLOWER, RateLimitError, 70.0, 4),
    "two rate limits, the second sooner": (SLOWER, SLOW, RateLimitError, 70.0, 4),
    "an outage and a rate limit": (DOWN, SLOW, RateLimitError, 70.0, 4),
    "two keys refused": (NO_KEY, NO_KEY, AuthenticationError, None, 3),
    "a rate limit and a key refused": (SLOW, NO_KEY, AuthenticationError, None, 3),
    "a key refused and an outage": (NO_KEY, DOWN, TransientError, 0.001, 4),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_several_failures_are_caught_as_what_the_last_was(tmp_path: Path, outcome: str) -> None:
    first, second, kind, retry_after_s, exit_code = OUTCOMES[outcome]
    with serving(first) as one, serving(second) as two:
        house = House(tmp_path, openai=one, anthropic=two)
        # Too soon over to wait for any of them.
        error = caught(house, model=None, fallback=[OPENAI, ANTHROPIC], timeout_s=60, max_attempts=2)
    assert isinstance(error, kind)
    assert isinstance(error, AllProvidersFailedError)
    assert type(error.__cause__) is kind
    assert (error.provider, error.model) == ("anthropic", "claude-haiku-4-5")
    assert (error.retry_after_s, error.exit_code, error.kind) == (retry_after_s, exit_code, "all_failed")
    assert error.http_status == error.attempts[-1].http_status
    assert {attempt.provider for attempt in error.attempts} == {"openai", "anthropic"}


def test_the_command_line_tells_several_failures_as_it_did(tmp_path: Path) -> None:
    with serving(SLOW) as one, serving(SLOWER) as two:
        house = House(tmp_path, openai=one, anthropic=two)
        asked = ("gen", "hi", "--fallback", OPENAI, "--fallback", ANTHROPIC, "--json", "--timeout", "60")
        ran = run(*asked, home=tmp_path, **house.environ)
    told = json.loads(ran.out)["error"]
    assert (ran.code, told["type"]) == (4, "all_failed")
    message = f"every attempt failed: {OPENAI}: rate limited (429); {ANTHROPIC}: rate limited (429); last error: "
    assert told["message"].startswith(message)
    assert f"llmroute: {message}" in ran.err


def ask_in_a_process(folder: Path, environ: dict[str, str]) -> None:
    house = House(folder)
    house.environ |= environ

    async def main() -> None:
        async with house.service() as service:
            await service.generate("hi", fallback=[OPENAI, ANTHROPIC], timeout_s=60, max_attempts=2)

    asyncio.run(main())


def test_a_failure_of_a_worker_comes_home_whole_and_without_the_key(tmp_path: Path) -> None:
    echoed = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}", "code": KEY}}).encode()
    with serving(SLOW) as one, serving([reply(401, echoed, headers={"x-request-id": KEY})]) as two:
        house = House(tmp_path, openai=one, anthropic=two)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            error = pool.submit(ask_in_a_process, tmp_path, house.environ).exception(timeout=60)
    assert isinstance(error, AuthenticationError)
    assert isinstance(error, AllProvidersFailedError)
    assert [(each.provider, each.http_status) for each in error.attempts] == [("openai", 429), ("anthropic", 401)]
    assert error.exit_code == 3
    assert KEY.encode() not in pickle.dumps(error)
    assert KEY not in repr(error) + repr(vars(error)) + repr(error.__cause__)


def test_one_failure_is_only_what_it_was(tmp_path: Path) -> None:
    with serving(SLOW) as one:
        error = caught(House(tmp_path, openai=one), fallback=(), enable_fallback=False, timeout_s=60)
    assert type(error) is RateLimitError
    assert error.retry_after_s == 70.0


def over_budget(house: House) -> None:
    house.service().plan(Options(prompt="hi", provider="openai", budget_remaining=0.0, max_tokens=100))


def without_quality(house: House) -> None:
    house.service().plan(Options(prompt="hi", provider="openai", min_quality=100))


def too_slow(house: House) -> None:
    house.service().plan(Options(prompt="hi", provider="openai", max_latency_ms=1))


def nothing_asked(house: House) -> None:
    house.service().plan(Options())


def late(house: House) -> None:
    raise caught(house, fallback=(), timeout_s=0.3)


def only_thoughts(_house: House) -> None:
    error = error_in(Completion(finish_reason="length"))
    assert error is not None
    raise error


def two_spans(house: House) -> None:
    bill(house.service().config, CostQuery(period="month", since="7d"))


def no_time(house: House) -> None:
    bill(house.service().config, CostQuery(until="soon"))


def older(_house: House) -> None:
    catalogue, _ = load(Path("nowhere"))
    check(catalogue | {"as_of": "2026-02-01"}, catalogue | {"as_of": "2026-01-01"})


def unknown_field(_house: House) -> None:
    request_schema.parse_line({"prompt": "hi", "author": "me"})


def taken_file(house: House) -> None:
    path = house.folder / "out.jsonl"
    path.write_text("{}\n")
    ResultsFile(path, resume=False)


def damaged(house: House) -> None:
    path = house.folder / "damaged.db"
    with Ledger(path) as ledger:
        ledger.db.execute("CREATE TABLE filler (text)")
        ledger.db.executemany("INSERT INTO filler VALUES (?)", [("x" * 2000,) for _ in range(200)])
    data = bytearray(path.read_bytes())
    data[-40 * 4096 : -39 * 4096] = bytes(4096)
    path.write_bytes(data)
    with Ledger(path) as ledger:
        backup(ledger.connection, house.folder / "copy.db")


SEEN: dict[Callable[[House], None], tuple[list[str], str]] = {
    over_budget: (["budget_remaining"], r"\(--budget 0\.0000\d\d would admit it\)$"),
    without_quality: (["min_quality"], r"\(--min-quality \d\d would admit it\)$"),
    too_slow: (["max_latency_ms"], r"\(--max-latency \d+ would admit it\)$"),
    nothing_asked: (["prompt"], r'^the prompt is empty \(give it as an argument or on stdin: llmroute gen "\.\.\."\)$'),
    late: (["timeout_s"], r"\(allow more with --timeout\)$"),
    only_thoughts: (["max_tokens", "effort"], r"\(allow more with --max-tokens, or ask for less with --effort\)$"),
    two_spans: (["period", "since", "until"], r"\(either --period, or --since and --until\)$"),
    no_time: (["until"], r"^--until: 'soon' is not a time \(24h, 7d and 2w are \(back from now\), and 2026-11-01\)$"),
    older: (["force"], r"\(use --force to go back\)$"),
    unknown_field: (["template"], r"\(--template allows other fields, to put them into the prompt\)$"),
    taken_file: (["resume"], r"\(--resume continues it; or name a new file\)$"),
    damaged: (["repair"], r"\(llmroute costs check --repair\)$"),
}


@pytest.mark.parametrize("raising", SEEN, ids=lambda each: each.__name__)
def test_an_error_names_options_to_a_program_and_flags_to_the_command_line(
    tmp_path: Path, raising: Callable[[House], None]
) -> None:
    options, on_the_command_line = SEEN[raising]
    with serving([Pause(60)]) as hanging:
        house = House(tmp_path, openai=hanging)
        with pytest.raises(LLMRouteError) as found:
            raising(house)
    error = found.value
    assert "--" not in f"{error} {error.hint} {error!r} {vars(error)!r}"
    assert [remedy.option for remedy in error.remedies] == options
    assert re.search(on_the_command_line, error_with_hint(error))
    assert error_as_json(error)["error"]["hint"] == (None if error.hint is None else in_flags(error.hint))


def test_a_price_that_moves_too_far_names_the_option_too() -> None:
    catalogue, _ = load(Path("nowhere"))
    dearer = json.loads(json.dumps(catalogue))
    price = next(row for row in dearer["models"] if row["prices"] and row["prices"][-1].get("input"))["prices"][-1]
    price["input"] *= 1000
    with pytest.raises(errors.RequestError, match="changes from") as found:
        check(catalogue, dearer)
    assert str(found.value.hint).endswith("check it, then use force=True")
    assert in_flags(found.value.hint or "").endswith("check it, then use --force")


def test_a_batch_is_not_held_up_by_what_the_last_of_unlike_failures_wished(tmp_path: Path) -> None:
    answers = iter([DOWN, DOWN, [openai_answer()]])
    hours: Script = [reply(429, LIMITED, headers={"retry-after": "7200"})]

    async def main(house: House) -> list[str | None]:
        asked = {"prompt": "hi", "fallback": [OPENAI, ANTHROPIC]}
        async with house.service() as service:
            results = [result async for result in service.generate_many([asked])]
        return [None if result.response is None else result.response.provider for result in results]

    with serving(lambda _request: next(answers)) as one, serving(hours) as two:
        assert asyncio.run(main(House(tmp_path, openai=one, anthropic=two))) == ["openai"]
