"""A job that one process cancels, and the run of another process collects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from llmroute import LLMService, RequestError
from llmroute.ledger.sqlite.store import Ledger
from llmroute.service.batch_jobs import cancel_job
from tests.support.batch_vendor import MODELS
from tests.support.shell import run

if TYPE_CHECKING:
    from llmroute.ledger.jobs import Job
    from tests.jobs.homes import Home
    from tests.support.fault_server import Received, Script
    from tests.support.shell import Ran

PROMPTS = [f"prompt {n}" for n in range(5)]


def only_job(home: Home) -> Job:
    with Ledger(home.folder / "ledger.db") as ledger:
        (job,) = ledger.jobs.jobs()
    return job


def cancelled(home: Home, job: Job, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Cancel a job as it was when the caller read it."""
    for name, value in home.settings.items():
        monkeypatch.setenv(name, value)
    return asyncio.run(cancel_job(LLMService(), job))


@pytest.mark.parametrize("vendor_name", MODELS)
def test_a_job_that_its_run_has_collected_is_not_cancelled(
    home: Home, monkeypatch: pytest.MonkeyPatch, vendor_name: str
) -> None:
    home.write(PROMPTS, [MODELS[vendor_name]])
    assert home.run("--no-wait").code == 0
    job = only_job(home)
    assert home.run("--resume").code == 0
    sent = len(home.vendor.requests)
    with pytest.raises(RequestError, match="is done already"):
        cancelled(home, job, monkeypatch)
    assert len(home.vendor.requests) == sent


@pytest.mark.parametrize("vendor_name", MODELS)
def test_a_job_that_its_run_collects_while_it_is_cancelled_is_as_the_run_has_left_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, vendor_name: str
) -> None:
    home.vendor.stalls, home.vendor.runs_at_most = True, 3
    home.write(PROMPTS, [MODELS[vendor_name]])
    assert home.run("--no-wait").code == 0
    serve = home.server.answer
    resumed: list[Ran] = []

    def answer(received: Received) -> Script:
        script = serve(received)
        if received.path.endswith("/cancel"):
            resumed.append(home.run("--resume"))
        return script

    home.server.answer = answer
    ended = cancelled(home, only_job(home), monkeypatch)
    assert [ran.code for ran in resumed] == [4]
    assert ended.phase == "cancelled"
    assert ended.delivered_ms is not None
    assert sum("content" in result for result in home.results()) == 3
    assert home.billed() == home.vendor.bill_picousd > 0
    assert home.query("SELECT state, count(*) FROM job_lines GROUP BY 1") == [("answered", 3), ("unanswered", 2)]


def test_a_job_that_is_cancelled_before_it_was_created_leaves_no_prompts_anywhere(home: Home) -> None:
    home.write(PROMPTS, [MODELS["openai"]])
    assert home.run("--no-wait").code == 0
    home.vendor.jobs.clear()
    home.change("UPDATE jobs SET phase = 'submitting', vendor_id = NULL, create_begun_ms = NULL")
    assert home.vendor.files
    ran = run("batches", "cancel", only_job(home).id, "--yes", home=home.folder, **home.settings)
    assert (ran.code, "is cancelled" in ran.err) == (0, True)
    assert not home.vendor.files
    assert not [*(home.folder / "ledger.db.jobs").iterdir()]
    assert home.query("SELECT count(*) FROM attempts WHERE status = 'pending'") == [(0,)]
    assert home.run("--resume").code == 0
    home.assert_all_answered_once(PROMPTS)
