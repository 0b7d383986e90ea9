"""Batch jobs whose lines must not be paid twice, nor settled for less than they cost, whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest

from llmroute import LLMService
from llmroute.execution.accounting.ledger_access import LedgerAccess
from llmroute.jobs.submitting import job_submission as submission
from llmroute.ledger.sqlite.store import Ledger
from llmroute.request.ids import now_ms
from tests.jobs.homes import GEN
from tests.support.batch_vendor import MODELS, VendorJob
from tests.support.shell import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llmroute.bulk.batch_result import BatchResult
    from tests.jobs.homes import Home

PROMPTS = [f"prompt {n}" for n in range(12)]
ORDINARY = ("gen", "--batch", "in.jsonl", "-o", "out.jsonl", "--max-tokens", "50")


@pytest.mark.parametrize("resume", [("--resume",), ()])
def test_lines_in_jobs_are_not_answered_by_ordinary_calls(home: Home, resume: tuple[str, ...]) -> None:
    home.write(PROMPTS)
    assert home.run("--no-wait").code == 0
    ran = run(*ORDINARY, *resume, home=home.folder, **home.settings)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert "has batch jobs that are not collected" in ran.err
    assert not home.vendor.ordinary
    assert home.run("--resume").code == 0
    home.assert_all_answered_once(PROMPTS)


def answers(
    home: Home, monkeypatch: pytest.MonkeyPatch, beside: Callable[[], object], provider: str = "openai"
) -> list[BatchResult]:
    """Answer all prompts, and call `beside` in a thread meanwhile."""
    for name, value in home.settings.items():
        monkeypatch.setenv(name, value)

    async def answered() -> list[BatchResult]:
        async with LLMService() as service:
            called = asyncio.create_task(asyncio.to_thread(beside))
            requests = [{"prompt": prompt, "model": MODELS[provider], "max_tokens": 50} for prompt in PROMPTS]
            results = [each async for each in service.generate_batch(requests, poll_s=0.01)]
            await called
        return results

    return asyncio.run(answered())


def test_a_job_that_is_cancelled_while_its_run_waits_to_submit_it_is_not_submitted(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.vendor.reject = [429] * 100_000

    def cancel() -> None:
        while not any(request.endswith("POST /batches") for request in home.vendor.requests):
            time.sleep(0.01)
        with Ledger(home.folder / "ledger.db") as ledger:
            (job,) = ledger.jobs.jobs()
            # Until its rejection is known a job may exist, and is not withdrawn.
            while not ledger.jobs.withdraw(job.id, now_ms()):
                time.sleep(0.001)
        home.vendor.reject.clear()

    results = answers(home, monkeypatch, cancel)
    assert all("was cancelled before it was submitted" in str(each.error) for each in results)
    assert not home.vendor.jobs
    assert not home.vendor.files
    assert home.query("SELECT count(*), sum(cost_picousd) FROM attempts WHERE status = 'failed'") == [(12, 0)]


@pytest.mark.parametrize("status", [500, 503])
def test_a_job_whose_creation_failed_is_created_once_it_is_certain_that_it_does_not_exist(
    home: Home, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(submission, "LOOK_S", 0.2)
    home.vendor.reject = [status]
    results = answers(home, monkeypatch, lambda: None)
    assert [each.response is not None and each.response.content for each in results] == [
        f"answer\u2028{prompt}" for prompt in PROMPTS
    ]
    assert home.billed() == home.vendor.bill_picousd > 0


@pytest.mark.parametrize("is_created", [True, False])
def test_a_job_of_unknown_fate_is_looked_for_as_long_where_the_clock_was_set_back(
    home: Home, monkeypatch: pytest.MonkeyPatch, *, is_created: bool
) -> None:
    monkeypatch.setattr(submission, "LOOK_S", 0.2)
    true_ms = LedgerAccess.now_ms
    home.vendor.lose, home.vendor.reject = (["create"], []) if is_created else ([], [500])

    def clock_ms(access: LedgerAccess) -> int:
        is_set_back = any(request.endswith("POST /messages/batches") for request in home.vendor.requests)
        return true_ms(access) + (0 if is_set_back else 3_600_000)

    monkeypatch.setattr(LedgerAccess, "now_ms", clock_ms)
    results = answers(home, monkeypatch, lambda: None, "anthropic")
    assert all(each.response for each in results)
    assert max(home.vendor.runs.values()) == 1
    assert home.billed() == home.vendor.bill_picousd > 0


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_job_of_unknown_fate_stays_so_when_its_provider_rejects_the_looks_for_it(home: Home, status: int) -> None:
    home.vendor.lose, home.vendor.refuse = ["create"], {"list": [status] * 3}
    home.write(PROMPTS[:3], [MODELS["openai"]])
    assert home.run().code != 0
    assert home.query("SELECT count(*) FROM attempts WHERE status = 'pending'") == [(3,)]
    assert home.run("--resume").code == 0
    home.assert_all_answered_once(PROMPTS[:3])


def test_a_run_looks_again_for_a_job_after_its_provider_has_rejected_a_look(home: Home) -> None:
    home.vendor.lose, home.vendor.refuse = ["create"], {"list": [403, 404]}
    home.write(PROMPTS[:3], [MODELS["openai"]])
    ran = home.run()
    assert (ran.code, "does not list its batches" in ran.err) == (0, True)
    home.assert_all_answered_once(PROMPTS[:3])


@pytest.mark.parametrize("vendor_name", ["openai", "anthropic"])
def test_a_job_that_is_listed_late_is_not_created_again(home: Home, vendor_name: str) -> None:
    home.vendor.lose, home.vendor.hidden_lists = ["create"], 20
    home.write(PROMPTS[:3], [MODELS[vendor_name]])
    assert home.run().code == 0
    home.assert_all_answered_once(PROMPTS[:3])


@pytest.mark.parametrize("clock_s", [-150, 150])
def test_a_job_is_found_by_the_clock_of_its_provider(home: Home, clock_s: float) -> None:
    home.vendor.lose, home.vendor.clock_s = ["create"], clock_s
    home.write(PROMPTS[:3], [MODELS["anthropic"]])
    assert home.run().code == 0
    home.assert_all_answered_once(PROMPTS[:3])


def test_a_batch_of_another_program_whose_results_are_gone_is_not_taken_for_ours(home: Home) -> None:
    home.write(PROMPTS[:3], [MODELS["anthropic"]])
    other = VendorJob("other", "anthropic", [{}] * 3, state="done", created_s=time.time() + 30)
    other.failed = [{"custom_id": "stranger", "result": {"type": "expired"}}] * 3
    home.vendor.lose, home.vendor.refuse = ["create"], {"results": [404]}
    home.vendor.others.append(other)
    ran = home.run()
    assert ran.code == 0, ran.err
    home.assert_all_answered_once(PROMPTS[:3])


def test_a_job_whose_lines_are_gone_is_found_by_its_label(home: Home) -> None:
    home.write(PROMPTS[:3], [MODELS["openai"]])
    assert home.run("--no-wait").code == 0
    home.change("UPDATE jobs SET phase = 'submitting', vendor_id = NULL, submitted_ms = NULL")
    for path in (home.folder / "ledger.db.jobs").iterdir():
        path.unlink()
    ran = home.run("--resume")
    assert ran.code == 0, ran.err
    home.assert_all_answered_once(PROMPTS[:3])


@pytest.mark.parametrize("is_uploaded", [True, False])
def test_a_job_whose_lines_are_gone_before_it_was_created_is_created_from_its_file_or_made_anew(
    home: Home, *, is_uploaded: bool
) -> None:
    home.write(PROMPTS[:3], [MODELS["openai"]])
    assert home.run("--no-wait").code == 0
    home.vendor.jobs.clear()
    home.change("UPDATE jobs SET phase = 'submitting', vendor_id = NULL, create_begun_ms = NULL")
    if not is_uploaded:
        home.change("UPDATE jobs SET file_id = NULL")
    for path in (home.folder / "ledger.db.jobs").iterdir():
        path.unlink()
    ran = home.run("--resume")
    assert ran.code == 0, ran.err
    home.assert_all_answered_once(PROMPTS[:3])
    assert home.vendor.uploads == (1 if is_uploaded else 2)
    assert not home.vendor.files


@pytest.mark.parametrize("vendor_name", MODELS)
def test_results_of_an_expired_job_that_end_early_are_downloaded_again(home: Home, vendor_name: str) -> None:
    home.vendor.runs_at_most, home.vendor.short = 3, 1
    home.write(PROMPTS[:5], [MODELS[vendor_name]])
    assert home.run().code == 4
    assert sum("content" in result for result in home.results()) == 3
    assert home.billed() == home.vendor.bill_picousd > 0


def test_results_of_an_expired_job_that_end_early_are_downloaded_again_despite_noise_after_them(home: Home) -> None:
    # Together counts no lines; the end of its output is missing, and its file of errors ends in noise.
    home.vendor.runs_at_most, home.vendor.short, home.vendor.noise = 11, 1, True
    home.write(["fail", *PROMPTS[:11]], [MODELS["together"]])
    assert home.run().code == 4
    assert sum("content" in result for result in home.results()) == 10
    assert home.billed() == home.vendor.bill_picousd > 0


def test_answers_that_a_run_has_no_room_for_are_collected_again(home: Home) -> None:
    home.write(PROMPTS[:3], [MODELS["openai"]])
    ran = run(*GEN, "-o", "/dev/full", home=home.folder, **home.settings)
    assert ran.code == 3
    assert home.query("SELECT count(*) FROM jobs WHERE delivered_ms IS NOT NULL OR cleaned_ms IS NOT NULL") == [(0,)]
    home.change(f"UPDATE jobs SET output = '{(home.folder / 'out.jsonl').resolve()}'")
    assert home.run("--resume").code == 0
    home.assert_all_answered_once(PROMPTS[:3])


def test_lines_that_an_earlier_run_did_not_rescue_are_rescued_by_the_next_one(home: Home) -> None:
    home.vendor.runs_at_most = 2
    home.write(PROMPTS[:4], [MODELS["openai"]])
    assert home.run().code == 4
    assert home.run("--resume", "--rescue").code == 0
    assert [result["tier"] for result in home.results()] == ["batch", "batch", "standard", "standard"]
    assert len(home.vendor.jobs) == 1


def test_auto_does_not_reject_a_provider_without_a_batch_api(home: Home) -> None:
    home.write(PROMPTS[:1], ["ollama/llama3"])
    arguments = ["auto" if each == "batch" else each for each in GEN]
    ran = run(*arguments, home=home.folder, **home.settings)
    assert "has no batch API" not in ran.err


def test_a_run_is_resumed_with_a_template_and_another_name_of_its_input(home: Home, tmp_path: Path) -> None:
    home.write(PROMPTS[:3], [MODELS["openai"]])
    template = ("--template", "{text}")
    assert home.run("--no-wait", *template).code == 0
    absolute = [str(tmp_path / "in.jsonl") if each == "in.jsonl" else each for each in GEN]
    ran = run(*absolute, *template, "--resume", home=home.folder, **home.settings)
    assert ran.code == 0, ran.err
    home.assert_all_answered_once(PROMPTS[:3])


def test_the_forecast_rejects_what_the_run_rejects(home: Home) -> None:
    (home.folder / "in.jsonl").write_text('{"prompt": "one", "tier": "flex"}\n')
    ran = home.run("--dry-run")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)


def test_the_forecast_of_a_resumed_run_leaves_out_lines_that_are_in_jobs(home: Home) -> None:
    home.write(PROMPTS[:3], [MODELS["openai"]])
    assert home.run("--no-wait").code == 0
    made = json.loads(home.run("--resume", "--dry-run", "--json").out)
    assert (made["models"], made["in_jobs"], made["answered_before"]) == ([], 3, 0)
    assert "in batch jobs: 3" in home.run("--resume", "--dry-run").out
    assert home.run("--resume").code == 0
    made = json.loads(home.run("--resume", "--dry-run", "--json").out)
    assert (made["models"], made["in_jobs"], made["answered_before"]) == ([], 0, 3)


def test_a_run_without_an_answer_says_why(home: Home) -> None:
    home.write(["fail 1", "fail 2"], [MODELS["openai"]])
    ran = home.run()
    assert ran.code == 2
    assert "no request was answered; the first failed: openai/gpt-4.1-mini: 400 this prompt fails" in ran.err


def test_answers_in_the_results_are_counted_once_in_the_budget_of_a_resumed_run(home: Home) -> None:
    home.write(PROMPTS, [MODELS["openai"]])
    home.vendor.stalls = True
    assert home.run("--no-wait").code == 0
    home.vendor.stalls = False
    assert home.run("--resume", "--keep").code == 0
    spent_usd = home.billed() / 1e12
    # As if the run had been killed when all results were written, before the job was delivered.
    home.change("UPDATE jobs SET delivered_ms = NULL, cleaned_ms = NULL, phase = 'running'")
    home.write([*PROMPTS], [MODELS["openai"]])
    worst_usd = home.query("SELECT sum(reserved_picousd) FROM attempts")[0][0] / 1e12
    (home.folder / "ledger.db.jobs").mkdir(exist_ok=True)
    ran = home.run("--resume", "--budget", str(spent_usd + worst_usd))
    assert ran.code == 0, ran.err
    assert home.billed() == home.vendor.bill_picousd


def test_plain_text_is_told_from_json(home: Home) -> None:
    (home.folder / "in.jsonl").write_text("Why is the sky blue?\n")
    ran = home.run()
    assert "--lines reads one prompt per line" in ran.err
