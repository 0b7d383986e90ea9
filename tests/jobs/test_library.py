"""`generate_batch` goes on with the jobs that an earlier call with the same requests has left."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from llmroute import LLMService, RequestError
from llmroute.jobs import run_lock, tracking
from tests.jobs.test_kills import resumed
from tests.support.batch_vendor import MODELS
from tests.support.shell import run
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from llmroute.bulk.batch_result import BatchResult
    from tests.jobs.homes import Home

PROMPTS = [f"prompt {n}" for n in range(8)]


@pytest.fixture(autouse=True)
def _settings(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in home.settings.items():
        monkeypatch.setenv(name, value)


def requests_of(texts: Sequence[str], vendor_name: str = "openai") -> list[dict[str, Any]]:
    return [{"prompt": text, "model": MODELS[vendor_name], "max_tokens": 50} for text in texts]


async def results_of(requests: object, *, most: int | None = None, **more: Any) -> list[BatchResult]:
    """Return the results of a batch; with `most`, leave the loop after so many."""
    results: list[BatchResult] = []
    async with LLMService() as service:
        async for result in service.generate_batch(requests, poll_s=0.01, **more):  # type: ignore[arg-type]
            results.append(result)
            if len(results) == most:
                break
    return results


def contents(results: Sequence[BatchResult]) -> list[str | None]:
    return [None if each.response is None else each.response.content for each in results]


@contextmanager
def silent_listener() -> Iterator[str]:
    """Serve an address whose connections are never established: the queue of its listener is full."""
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def leave_when(is_submitted: Callable[[], object], requests: object = None) -> None:
    """Begin a batch, and cancel it when its job is at the provider."""

    def wait() -> None:
        while not is_submitted():
            time.sleep(0.01)

    running = asyncio.ensure_future(results_of(requests or requests_of(PROMPTS)))
    await asyncio.to_thread(wait)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def answers(texts: Sequence[str]) -> list[str]:
    return [f"answer\u2028{text}" for text in texts]


def is_running(home: Home) -> bool:
    # Once the vendor has a job, there is a ledger with jobs.
    return bool(home.vendor.jobs) and bool(home.query("SELECT 1 FROM jobs WHERE phase = 'running'"))


def wait_for_threads_besides(others: set[threading.Thread]) -> None:
    """Wait until the threads of closed services have ended."""
    for thread in set(threading.enumerate()) - others:
        if thread.name.startswith("llmroute"):
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def batches(home: Home, *arguments: str) -> Any:
    ran = run("batches", *arguments, home=home.folder, **home.settings)
    assert ran.code == 0, ran.err
    return json.loads(ran.out) if "--json" in arguments else ran.err


@pytest.mark.parametrize(("vendor_name", "stride"), [("openai", 2), ("anthropic", 6)])
def test_a_program_that_is_killed_at_any_step_gets_every_result_from_its_next_call(
    home: Home, vendor_name: str, stride: int
) -> None:
    resumed(home, vendor_name, stride, code=0)
    assert max(home.vendor.runs.values()) == 1


def test_a_loop_that_was_left_is_continued_by_the_next_call_which_yields_all_results(home: Home) -> None:
    requests = requests_of(PROMPTS[:4]) + requests_of(PROMPTS[4:], "mistral")
    # The job of the first half is collected before that of the second.
    assert contents(asyncio.run(results_of(requests, most=5))) == answers(PROMPTS[:5])
    assert home.query("SELECT phase, delivered_ms FROM jobs") == [("done", None)] * 2
    assert contents(asyncio.run(results_of(iter(requests)))) == answers(PROMPTS)
    assert max(home.vendor.runs.values()) == 1
    assert home.billed() == home.vendor.bill_picousd > 0
    assert not home.vendor.files
    assert not [*(home.folder / "ledger.db.jobs").iterdir()]


def test_a_batch_whose_results_were_all_read_is_over_and_the_next_one_is_new(home: Home) -> None:
    for _ in range(2):
        assert contents(asyncio.run(results_of(requests_of(PROMPTS)))) == answers(PROMPTS)
    assert set(home.vendor.runs.values()) == {2}
    assert home.query("SELECT count(*) FROM jobs WHERE delivered_ms IS NULL OR cleaned_ms IS NULL") == [(0,)]


def test_a_call_that_is_cancelled_while_it_waits_leaves_a_job_that_the_next_call_collects(home: Home) -> None:
    home.vendor.stalls = True
    asyncio.run(leave_when(lambda: home.vendor.jobs))
    home.vendor.stalls = False
    assert contents(asyncio.run(results_of(requests_of(PROMPTS)))) == answers(PROMPTS)
    assert max(home.vendor.runs.values()) == 1


def test_a_creation_that_was_cancelled_before_it_was_sent_is_not_looked_for(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = "SELECT count(*) FROM jobs WHERE create_begun_ms IS NOT NULL"
    requests = requests_of(PROMPTS, "anthropic")
    # There is a ledger before the job.
    assert contents(asyncio.run(results_of(requests_of(PROMPTS[:1])))) == answers(PROMPTS[:1])
    home.vendor.requests.clear()
    home.change("DELETE FROM jobs")
    with silent_listener() as url:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        asyncio.run(leave_when(lambda: home.query(begun) == [(1,)], requests))
    assert home.query(begun) == [(0,)]
    monkeypatch.setenv("ANTHROPIC_BASE_URL", home.settings["ANTHROPIC_BASE_URL"])
    assert contents(asyncio.run(results_of(requests))) == answers(PROMPTS)
    assert home.vendor.requests[0] == "anthropic POST /messages/batches"


def test_a_name_stands_for_its_requests_until_their_results_were_read(home: Home) -> None:
    asyncio.run(results_of(requests_of(PROMPTS), most=1, name="labels-2026-11"))
    assert [job["output"] for job in batches(home, "--json")] == ["labels-2026-11"]
    with pytest.raises(RequestError, match="labels-2026-11 is the name of a batch of other requests"):
        asyncio.run(results_of(requests_of(PROMPTS[1:]), name="labels-2026-11"))
    # The same requests under another name are another batch.
    assert contents(asyncio.run(results_of(requests_of(PROMPTS), name="again"))) == answers(PROMPTS)
    assert set(home.vendor.runs.values()) == {2}
    assert contents(asyncio.run(results_of(requests_of(PROMPTS), name="labels-2026-11"))) == answers(PROMPTS)
    assert set(home.vendor.runs.values()) == {2}
    # Its results were read: the name is free.
    asyncio.run(results_of(requests_of(PROMPTS[1:]), name="labels-2026-11"))


@pytest.mark.parametrize("name", ["", "a/b", "x" * 65, 5])
def test_an_invalid_name_is_rejected_before_anything_is_read(home: Home, name: object) -> None:
    with pytest.raises(RequestError, match="is not 1 to 64 of the characters"):
        asyncio.run(results_of(iter(requests_of(PROMPTS)), name=name))
    assert not home.vendor.requests


def test_two_calls_at_once_with_the_same_requests_do_not_share_jobs(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "CLOSING_S", 0.0)

    async def both() -> None:
        service = LLMService()
        async with service, aclosing(service.generate_batch(requests_of(PROMPTS), poll_s=0.01)) as first:  # type: ignore[type-var]
            await anext(first)
            with pytest.raises(RequestError, match="another call waits"):
                await results_of(requests_of(PROMPTS))

    asyncio.run(both())
    assert max(home.vendor.runs.values()) == 1


def test_a_job_that_a_program_left_can_be_cancelled_and_its_answers_are_settled(home: Home) -> None:
    home.vendor.stalls, home.vendor.runs_at_most = True, 3
    asyncio.run(leave_when(lambda: is_running(home)))
    (job,) = batches(home, "--json")
    assert job["reserved_usd"] > 0
    batches(home, "cancel", job["job"], "--yes")
    (job,) = batches(home, "--json")
    assert (job["status"], job["done"], job["failed"], job["reserved_usd"]) == ("cancelled", 3, 5, 0)
    assert home.billed() == home.vendor.bill_picousd > 0
    assert contents(asyncio.run(results_of(requests_of(PROMPTS)))) == [*answers(PROMPTS[:3]), *[None] * 5]
    assert home.billed() == home.vendor.bill_picousd


def test_a_job_that_ended_before_its_program_was_killed_is_settled_by_a_cancellation(home: Home) -> None:
    others = set(threading.enumerate())
    asyncio.run(results_of(requests_of(PROMPTS), most=1))
    # A change of the journal continues when the call that made it is cancelled.
    wait_for_threads_besides(others)
    home.change("UPDATE job_lines SET state = 'reserved'")
    home.change("UPDATE attempts SET status = 'pending', cost_picousd = NULL, settled_ms = NULL")
    (job,) = batches(home, "--json")
    assert job["reserved_usd"] > 0
    assert "is done" in batches(home, "cancel", job["job"], "--yes")
    (job,) = batches(home, "--json")
    assert (job["status"], job["done"], job["reserved_usd"]) == ("done", len(PROMPTS), 0)
    assert home.billed() == home.vendor.bill_picousd


def test_a_batch_under_a_budget_is_continued_without_attempts_that_were_pruned(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "UNREADABLE_S", 0.0)
    others = set(threading.enumerate())
    asyncio.run(results_of(requests_of(PROMPTS), most=1, budget_usd=1))
    wait_for_threads_besides(others)
    home.change("DELETE FROM attempts WHERE request_id LIKE '%-0'")
    results = contents(asyncio.run(results_of(requests_of(PROMPTS), budget_usd=1)))
    assert results == [None, *answers(PROMPTS[1:])]


def test_a_loop_that_is_left_after_its_service_was_closed_leaves_no_threads(home: Home) -> None:
    async def leave() -> None:
        async with LLMService() as service:
            results = service.generate_batch(requests_of(PROMPTS), poll_s=0.01)
            await anext(results)
        await results.aclose()  # type: ignore[attr-defined]

    others = set(threading.enumerate())
    asyncio.run(leave())
    wait_for_threads_besides(others)
    assert contents(asyncio.run(results_of(requests_of(PROMPTS)))) == answers(PROMPTS)
    assert max(home.vendor.runs.values()) == 1


class Dog(BaseModel):
    name: str


def test_answers_of_a_continued_batch_are_instances_of_the_class_that_its_requests_name(home: Home) -> None:
    (request,) = requests_of(['say {"name": "Rex"}'])
    request["schema"] = Dog
    home.vendor.polls_to_end = 3
    asyncio.run(results_of([request], most=1))
    (result,) = asyncio.run(results_of([request]))
    assert result.response is not None
    assert result.response.parsed == Dog(name="Rex")
    assert set(home.vendor.runs.values()) == {1}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"prompt": "a"}, {"prompt": "b"}),
        ({"prompt": "a", "temperature": 0}, {"prompt": "a"}),
        ({"prompt": "a", "attachments": [b"a"]}, {"prompt": "a", "attachments": [b"b"]}),
        ({"prompt": "a", "schema": {"type": "object"}}, {"prompt": "a"}),
        ({"messages": [{"role": "user", "content": "a"}]}, {"messages": [{"role": "assistant", "content": "a"}]}),
    ],
)
def test_requests_that_differ_have_another_digest(one: dict[str, Any], other: dict[str, Any]) -> None:
    from llmroute.request.options import Options
    from llmroute.service.request_digest import digest_of

    assert digest_of([Options(**one)]) == digest_of([Options(**one)])
    assert digest_of([Options(**one)]) != digest_of([Options(**other)])


def test_a_rescued_line_after_one_that_failed_has_no_error(home: Home) -> None:
    home.vendor.runs_at_most, home.vendor.refuse = 0, {"call": [400]}
    results = asyncio.run(results_of(requests_of(PROMPTS), rescue=True))
    assert [(each.response is None) is (each.error is not None) for each in results] == [True] * len(PROMPTS)
    assert sum(each.error is not None for each in results) == 1
