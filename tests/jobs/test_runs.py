"""Batch jobs from the command line, against four vendors on loopback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.jobs.homes import GEN, Home
from tests.support.batch_vendor import MODELS
from tests.support.shell import run

if TYPE_CHECKING:
    from collections.abc import Sequence


CREATED = (" POST /batches", " POST /batch/jobs", " POST /messages/batches")
AUTO = tuple("auto" if argument == "batch" else argument for argument in GEN)


PROMPTS = [f"prompt {n}" for n in range(12)]


def test_lines_of_four_vendors_are_answered_in_order_and_billed_at_the_batch_price(home: Home) -> None:
    home.write(PROMPTS)
    ran = home.run()
    assert (ran.code, ran.out) == (0, ""), ran.err
    home.assert_all_answered_once(PROMPTS)
    assert len(home.vendor.jobs) == 3  # Anthropic's is deleted
    assert home.query("SELECT DISTINCT phase FROM jobs") == [("done",)]


@pytest.mark.parametrize("operation", ["upload", "create"])
def test_a_job_whose_response_was_lost_is_found_again(home: Home, operation: str) -> None:
    home.vendor.lose = [operation] * 4
    home.write(PROMPTS)
    assert home.run().code == 0
    home.assert_all_answered_once(PROMPTS)
    creations = [request for request in home.vendor.requests if request.endswith(CREATED)]
    assert len(creations) == len(MODELS)


def test_a_provider_that_takes_no_job_for_now_gets_it_later(home: Home) -> None:
    home.vendor.reject = [429, 429]
    home.write(PROMPTS)
    assert home.run().code == 0
    home.assert_all_answered_once(PROMPTS)


def test_a_job_beyond_the_limit_on_enqueued_tokens_is_submitted_again(home: Home) -> None:
    home.vendor.full = 2
    home.write(PROMPTS, [MODELS["openai"]])
    ran = home.run()
    assert ran.code == 0
    home.assert_all_answered_once(PROMPTS)
    assert "Enqueued token limit reached" in ran.err


def test_results_that_are_cut_off_or_noisy_are_settled_once(home: Home) -> None:
    home.vendor.cuts, home.vendor.noise = 3, True
    home.write(PROMPTS)
    assert home.run().code == 0
    home.assert_all_answered_once(PROMPTS)


def test_what_a_job_answered_before_it_expired_is_kept(home: Home) -> None:
    home.vendor.runs_at_most = 2
    home.write(PROMPTS)
    ran = home.run()
    assert ran.code == 4
    answered = [result for result in home.results() if "content" in result]
    assert len(answered) == 2 * len(MODELS)
    assert home.billed() == home.vendor.bill_picousd
    failed = (home.folder / "out.jsonl.failed").read_text().splitlines()
    assert len(failed) == len(PROMPTS) - len(answered)
    assert {result["error"]["type"] for result in home.results() if "error" in result} == {"deadline"}


def test_lines_that_no_job_has_run_are_rescued_by_ordinary_calls(home: Home) -> None:
    home.vendor.runs_at_most = 2
    home.write(PROMPTS)
    assert home.run("--rescue").code == 0
    results = home.results()
    assert [result["content"] for result in results] == [f"answer\u2028{prompt}" for prompt in PROMPTS]
    tiers = [result["tier"] for result in results]
    assert (tiers.count("batch"), tiers.count("standard")) == (8, 4)
    assert len(home.vendor.ordinary) == 4
    assert home.billed() == home.vendor.bill_picousd


def test_a_rescue_that_no_provider_answers_stops_with_the_reason(home: Home) -> None:
    home.vendor.runs_at_most, home.vendor.refuse = 0, {"call": [401] * 1_000}
    home.write([f"prompt {n}" for n in range(40)])
    ran = home.run("--rescue")
    assert (ran.code, "stopped: " in ran.err, " not run" in ran.err) == (3, True, True)


def test_lines_without_an_answer_run_again_with_resume(home: Home) -> None:
    home.vendor.runs_at_most = 2
    home.write(PROMPTS)
    assert home.run().code == 4
    answered = sum("content" in result for result in home.results())
    again = home.run("--resume")
    assert (again.code, f", {answered} already answered;" in again.err) == (0, True), again.err
    home.assert_all_answered_once(PROMPTS)


def test_without_waiting_the_results_are_collected_later(home: Home) -> None:
    home.write(PROMPTS)
    ran = home.run("--no-wait")
    assert (ran.code, home.results()) == (0, [])
    assert "12 lines; run the same command with --resume" in ran.err
    reserved, left = home.query("SELECT sum(reserved_picousd), count(*) FROM attempts WHERE status = 'pending'")[0]
    assert reserved > 0
    assert left == len(PROMPTS)
    assert home.run("--resume").code == 0
    home.assert_all_answered_once(PROMPTS)


def test_a_batch_under_a_budget_is_submitted_in_parts_that_fit(home: Home) -> None:
    home.write(PROMPTS, [MODELS["openai"]])
    # The worst case of a line is about 50 microdollars, its cost 7.
    ran = home.run("--budget", "0.000200")
    assert ran.code == 0, ran.err
    home.assert_all_answered_once(PROMPTS)
    assert home.query("SELECT count(*) > 1 FROM jobs") == [(1,)]


def test_a_budget_that_has_no_room_for_a_line_stops_the_batch(home: Home) -> None:
    home.write(PROMPTS, [MODELS["openai"]])
    ran = home.run("--budget", "0.00002")
    assert ran.code == 5
    assert not home.vendor.jobs
    assert len((home.folder / "out.jsonl.failed").read_text().splitlines()) == len(PROMPTS)


def test_files_at_the_provider_are_deleted_unless_they_are_kept(home: Home) -> None:
    home.write(PROMPTS)
    assert home.run().code == 0
    assert not home.vendor.files
    (home.folder / "out.jsonl").unlink()
    assert home.run("--keep").code == 0
    assert len(home.vendor.files) == 6


def test_no_request_goes_to_another_host_than_the_configured_one(home: Home) -> None:
    # The vendor names http://127.0.0.2:9 for the results of Anthropic's jobs, where nothing listens.
    home.write(PROMPTS[:3], [MODELS["anthropic"]])
    assert home.run().code == 0
    home.assert_all_answered_once(PROMPTS[:3])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--within", "30m"), "--within: 30m is not from 1h to 24h"),
        (("--within", "soon"), "--within: 'soon' is not a duration"),
        (("--poll", "0"), "--poll: 0 is not between 0.01 and 3,600 seconds"),
        (("-m", "ollama/llama3"), "ollama has no batch API"),
        (("-p", "ollama"), "ollama has no batch API"),
    ],
)
def test_what_no_job_can_take_is_rejected_before_anything_is_sent(
    home: Home, arguments: Sequence[str], told: str
) -> None:
    (home.folder / "in.jsonl").write_text('{"prompt": "one"}\n')
    ran = home.run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not home.vendor.requests


def test_a_run_is_resumed_with_its_own_input_and_options_only(home: Home) -> None:
    home.write(PROMPTS)
    assert home.run("--no-wait").code == 0
    asked = len(home.vendor.requests)
    assert "not collected" in home.run().err
    assert "the options are not those" in home.run("--resume", "--system", "Be brief.").err
    assert "another deadline" in home.run("--resume", "--within", "2h").err
    home.write(PROMPTS[:3])
    changed = home.run("--resume")
    assert (changed.code, "the input is not the one" in changed.err) == (2, True)
    assert "repeat the command that made them, or cancel them (llmroute batches)" in changed.err
    assert len(home.vendor.requests) == asked


def listed(home: Home) -> list[dict[str, Any]]:
    """Return what `batches --json` lists."""
    ran = run("batches", "--json", home=home.folder, **home.settings)
    assert ran.code == 0, ran.err
    found: list[dict[str, Any]] = json.loads(ran.out)
    return found


def test_jobs_are_listed_with_their_lines_and_money(home: Home) -> None:
    assert listed(home) == []
    home.write(PROMPTS)
    home.run("--no-wait")
    before = listed(home)
    # Several are created within a millisecond, to which their order is told.
    assert sorted(job["provider"] for job in before) == sorted(MODELS)
    assert all(job["reserved_usd"] > 0 == job["cost_usd"] and job["lines"] == 3 for job in before)
    assert {job["status"] for job in before} <= {"queued", "running"}
    home.run("--resume")
    after = listed(home)
    assert all(job["cost_usd"] > 0 == job["reserved_usd"] and job["done"] == 3 for job in after)
    assert {job["output"] for job in after} == {str(home.folder / "out.jsonl")}
    shown = run("batches", "show", after[0]["job"][:20], "--json", home=home.folder, **home.settings)
    assert json.loads(shown.out) == after[0]
    table = run("batches", home=home.folder, **home.settings)
    assert all(job["job"] in table.out for job in after)


def test_a_job_is_cancelled_only_after_a_confirmation(home: Home) -> None:
    home.vendor.stalls = True
    home.write(PROMPTS[:3], [MODELS["openai"]])
    home.run("--no-wait")
    (job,) = listed(home)
    asked = run("batches", "cancel", job["job"], home=home.folder, **home.settings)
    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert listed(home)[0]["status"] in ("queued", "running")
    home.vendor.runs_at_most = 1
    cancelled = run("batches", "cancel", job["job"], "--yes", home=home.folder, **home.settings)
    assert cancelled.code == 0, cancelled.err
    (after,) = listed(home)
    assert (after["status"], after["done"], after["reserved_usd"]) == ("cancelled", 1, 0)
    assert home.billed() == home.vendor.bill_picousd
    assert home.run("--resume").code == 4
    assert sum("content" in result for result in home.results()) == 1


@pytest.mark.parametrize("status", [403, 429])
def test_a_job_whose_cancellation_is_rejected_runs_on(home: Home, status: int) -> None:
    home.vendor.stalls, home.vendor.refuse = True, {"cancel": [status]}
    home.write(PROMPTS[:3], [MODELS["openai"]])
    home.run("--no-wait")
    (job,) = listed(home)
    rejected = run("batches", "cancel", job["job"], "--yes", home=home.folder, **home.settings)
    assert (rejected.code != 0, "not for you" in rejected.err) == (True, True)
    assert "is being cancelled" not in rejected.err
    assert home.query("SELECT cancel_ms FROM jobs") == [(None,)]
    cancelled = run("batches", "cancel", job["job"], "--yes", home=home.folder, **home.settings)
    assert (cancelled.code, listed(home)[0]["status"]) == (0, "cancelled")


def test_a_late_job_is_cancelled_again_until_its_provider_accepts_it(home: Home) -> None:
    home.vendor.stalls, home.vendor.refuse = True, {"cancel": [429, 403]}
    home.write(PROMPTS[:3], [MODELS["openai"]])
    assert home.run("--no-wait").code == 0
    home.change("UPDATE jobs SET deadline_ms = (strftime('%s', 'now') - 60) * 1000")
    assert home.run("--resume").code == 4
    assert sum(request.endswith("/cancel") for request in home.vendor.requests) == 3
    assert listed(home)[0]["status"] == "cancelled"


def test_a_job_that_does_not_exist_is_not_shown(home: Home) -> None:
    ran = run("batches", "show", "none", home=home.folder, **home.settings)
    assert (ran.code, "there is no job 'none'" in ran.err) == (2, True)


def test_auto_takes_each_line_where_its_model_can_be_had_for_less(home: Home) -> None:
    # Without a price of its own in config.toml, Together's model has none at a batch API.
    (home.folder / "config.toml").write_text("")
    home.write(PROMPTS[:4], [MODELS["openai"], MODELS["together"]])
    ran = run(*AUTO, home=home.folder, **home.settings)
    assert ran.code == 0, ran.err
    assert [result["tier"] for result in home.results()] == ["batch", "standard", "batch", "standard"]
    assert sorted(home.vendor.ordinary) == [PROMPTS[1], PROMPTS[3]]
    assert home.billed() == home.vendor.bill_picousd


def test_the_forecast_of_auto_says_what_goes_where_and_what_ordinary_calls_would_cost(home: Home) -> None:
    (home.folder / "config.toml").write_text("")
    home.write(PROMPTS[:4], [MODELS["openai"], MODELS["together"]])
    ran = run(*AUTO, "--dry-run", "--json", home=home.folder, **home.settings)
    by_tier = {share["tier"]: share for share in json.loads(ran.out)["models"]}
    assert {tier: share["requests"] for tier, share in by_tier.items()} == {"batch": 2, "standard": 2}
    assert by_tier["batch"]["ordinary_cost_usd"] == pytest.approx(2 * by_tier["batch"]["expected_cost_usd"])
    assert by_tier["standard"]["ordinary_cost_usd"] == by_tier["standard"]["expected_cost_usd"]
    assert "ordinary cost" in run(*AUTO, "--dry-run", home=home.folder, **home.settings).out
    assert not home.vendor.requests


def test_what_has_no_answer_at_the_deadline_is_cancelled_and_rescued(home: Home) -> None:
    home.vendor.stalls = True
    home.write(PROMPTS[:3], [MODELS["openai"]])
    assert home.run("--no-wait", "--within", "1h").code == 0
    home.change("UPDATE jobs SET run = printf('%012x', strftime('%s', 'now') * 1000 - 7200000) || substr(run, 13)")
    home.change("UPDATE jobs SET deadline_ms = (strftime('%s', 'now') - 3600) * 1000")
    assert home.run("--resume", "--rescue").code == 0
    assert [result["tier"] for result in home.results()] == ["standard"] * 3
    assert len(home.vendor.ordinary) == 3
    assert [request for request in home.vendor.requests if request.endswith("/cancel")]
    assert home.billed() == home.vendor.bill_picousd == 0
    assert listed(home)[0]["status"] == "cancelled"


def test_a_line_may_not_have_a_tier_of_its_own(home: Home) -> None:
    (home.folder / "in.jsonl").write_text('{"prompt": "one", "tier": "flex"}\n')
    ran = home.run()
    assert (ran.code, "a line of a batch job cannot have a tier of its own" in ran.err) == (2, True)


def test_flags_of_jobs_and_the_tier_need_each_other_and_a_file(home: Home) -> None:
    home.write(PROMPTS[:1])
    for arguments in (
        ("gen", "hi", "--tier", "batch"),
        ("gen", "hi", "--rescue"),
        ("gen", "--batch", "in.jsonl", "-o", "out.jsonl", "--within", "2h"),
        ("gen", "--batch", "in.jsonl", "--tier", "batch"),
    ):
        ran = run(*arguments, home=home.folder, **home.settings)
        assert (ran.code, len(ran.err.splitlines())) == (2, 1), arguments
    assert not home.vendor.requests


def test_costs_tell_batch_lines_apart_and_what_they_saved(home: Home) -> None:
    home.write(PROMPTS[:4], [MODELS["openai"]])
    assert home.run("--rescue").code == 0
    costs = run("costs", "--by", "tier", "--json", home=home.folder, **home.settings)
    (group,) = json.loads(costs.out)["groups"]
    assert (group["tier"], group["call_count"], group["cost_usd"]) == ("batch", 4, home.vendor.bill_picousd / 1e12)
    # Input and output cost half, cached input the same.
    cached_usd = 4 * 2 * 100_000 / 1e12
    assert group["saved_usd"] == pytest.approx(group["cost_usd"] - cached_usd)
    table = run("costs", "--by", "tier", home=home.folder, **home.settings)
    assert "less than at the standard price" in table.out
