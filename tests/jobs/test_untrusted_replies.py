"""Replies of providers that are late, torn, about something else, or hostile decide nothing that costs money."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any

import pytest

from llmroute import LLMService
from llmroute.jobs import tracking
from llmroute.jobs.submitting import job_submission as submission
from llmroute.jobs.vendor import ANSWER_S, Vendor
from llmroute.providers.batch_jobs.job import unix_s
from tests.jobs.homes import KEY
from tests.support.batch_vendor import MODELS, VendorJob
from tests.support.fault_server import Drip, Endless, chunk, chunked_head, reply
from tests.support.shell import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from llmroute.bulk.batch_result import BatchResult
    from llmroute.types import HTTPRequest
    from tests.jobs.homes import Home
    from tests.support.fault_server import Received, Script

PROMPTS = [f"prompt {n}" for n in range(3)]


def answers(home: Home, monkeypatch: pytest.MonkeyPatch, provider: str, count: int = 3) -> list[BatchResult]:
    """Answer prompts by a provider, in this process."""
    for name, value in home.settings.items():
        monkeypatch.setenv(name, value)
    requests = [{"prompt": prompt, "model": MODELS[provider], "max_tokens": 50} for prompt in PROMPTS[:count]]

    async def answered() -> list[BatchResult]:
        async with LLMService() as service:
            return [each async for each in service.generate_batch(requests, poll_s=0.01)]

    return asyncio.run(answered())


def assert_answered_once(home: Home, results: list[BatchResult]) -> None:
    assert [each.response and each.response.content for each in results] == [
        f"answer\u2028{prompt}" for prompt in PROMPTS[: len(results)]
    ]
    assert max(home.vendor.runs.values()) == 1
    assert home.billed() == home.vendor.bill_picousd > 0


def change(home: Home, is_changed: Callable[[Received], bool], as_bytes: Callable[[bytes], bytes], times: int) -> None:
    """Change the bodies of the next responses to some requests."""
    serve, left = home.server.answer, [times]

    def answer(received: Received) -> Script:
        script = serve(received)
        if left[0] and is_changed(received) and isinstance(script[0], bytes):
            left[0] -= 1
            return [reply(200, as_bytes(script[0].partition(b"\r\n\r\n")[2]))]
        return script

    home.server.answer = answer


def is_download(received: Received) -> bool:
    return received.path.endswith(("/results", "/content"))


def is_status(received: Received) -> bool:
    return re.search(r"^GET .*/(batches|batch/jobs)/[^/ ]+ ", received.line) is not None


def test_a_job_is_found_in_a_list_that_begins_with_the_oldest(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "LOOK_S", 0.2)
    home.vendor.lose = ["create"]
    home.vendor.others.append(VendorJob("old", "together", [], state="done", created_s=time.time() - 86_400))
    assert_answered_once(home, answers(home, monkeypatch, "together"))


STRANGER = b'{"custom_id": "stranger-1", "result": {"type": "expired"}}\n'


@pytest.mark.parametrize(
    ("torn", "count"),
    [
        (lambda body: body[: len(body) // 2], 1),
        (lambda _body: b"", 1),
        (lambda body: STRANGER + body, 1),
        (lambda _body: STRANGER, 2),
    ],
)
def test_a_job_is_not_created_again_because_a_download_does_not_show_its_lines(
    home: Home, monkeypatch: pytest.MonkeyPatch, torn: Callable[[bytes], bytes], count: int
) -> None:
    monkeypatch.setattr(submission, "LOOK_S", 0.2)
    home.vendor.lose = ["create"]
    change(home, is_download, torn, 1)
    assert_answered_once(home, answers(home, monkeypatch, "anthropic", count))


def test_a_job_that_its_provider_does_not_know_at_once_is_not_lost(home: Home) -> None:
    home.vendor.refuse = {"status": [404] * 5}
    home.write(PROMPTS, [MODELS["openai"]])
    assert home.run().code == 0
    home.assert_all_answered_once(PROMPTS)


def test_a_job_that_its_provider_does_not_know_for_long_is_lost(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "LOST_S", 0.1)
    home.vendor.refuse = {"status": [404] * 1_000}
    results = answers(home, monkeypatch, "openai")
    assert all("openai no longer knows batch" in str(each.error) for each in results)
    assert home.query("SELECT count(*) FROM attempts WHERE status = 'pending'") == [(0,)]


def test_a_reply_about_another_batch_is_not_taken_for_that_of_ours(home: Home) -> None:
    home.vendor.files |= {"file-theirs-in": ("theirs.jsonl", b"{}\n"), "file-theirs": ("out.jsonl", b"{}\n")}
    theirs = {"id": "theirs", "status": "completed", "input_file_id": "file-theirs-in", "output_file_id": "file-theirs"}
    change(home, is_status, lambda _body: json.dumps(theirs).encode(), 1)
    home.write(PROMPTS, [MODELS["openai"]])
    ran = home.run()
    assert (ran.code, "the response is about another batch" in ran.err) == (0, True)
    home.assert_all_answered_once(PROMPTS)
    assert [*home.vendor.files] == ["file-theirs-in", "file-theirs"]


def is_creation(received: Received) -> bool:
    return received.line.startswith("POST") and received.path.endswith("/batches")


def test_a_created_batch_with_the_label_of_another_job_is_not_taken_for_ours(home: Home) -> None:
    theirs = {"id": "theirs", "status": "in_progress", "metadata": {"llmroute_job": "theirs"}}
    change(home, is_creation, lambda _body: json.dumps(theirs).encode(), 1)
    home.write(PROMPTS, [MODELS["openai"]])
    assert home.run().code == 0
    home.assert_all_answered_once(PROMPTS)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e300", "1" + "0" * 400, "-1", '"0001-01-01T00:00:00"', "true"])
def test_a_time_that_is_none_counts_as_absent(value: str) -> None:
    assert unix_s(json.loads(value)) is None


def test_a_job_with_a_deadline_that_is_none_is_collected(home: Home) -> None:
    added = b'{"job_deadline": 1e999, "id": "together-batch'
    change(home, lambda _received: True, lambda body: body.replace(b'{"id": "together-batch', added), 99)
    home.write(PROMPTS, [MODELS["together"]])
    assert home.run().code == 0
    assert home.query("SELECT expires_ms FROM jobs") == [(None,)]


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 2020 00:00:00 +99999999999999999999", "Mon, 01 Jan 2024 00:00:00 GMT", "later"]
)
def test_a_job_is_found_whatever_the_date_of_responses(home: Home, monkeypatch: pytest.MonkeyPatch, date: str) -> None:
    monkeypatch.setattr(submission, "LOOK_S", 0.2)
    home.vendor.lose = ["create"]
    serve = home.server.answer

    def answer(received: Received) -> Script:
        script = serve(received)
        if isinstance(script[0], bytes):
            return [re.sub(rb"date: [^\r]*", b"date: " + date.encode(), script[0])]
        return script

    home.server.answer = answer
    assert_answered_once(home, answers(home, monkeypatch, "anthropic"))


def test_no_request_is_sent_before_the_time_that_a_provider_names_with_503(home: Home) -> None:
    home.vendor.refuse, home.vendor.retry_after_s = {"status": [503]}, 0.5
    home.write(PROMPTS, [MODELS["openai"]])
    assert home.run().code == 0
    home.assert_all_answered_once(PROMPTS)
    assert max(after - before for before, after in pairwise(home.vendor.times_s)) >= 0.5


@pytest.mark.parametrize("phase", ["running", "done"])
def test_a_cancelled_job_that_never_ends_is_given_up_and_its_lines_are_rescued(home: Home, phase: str) -> None:
    home.vendor.endless = True
    home.write(PROMPTS, [MODELS["openai"]])
    assert home.run("--no-wait").code == 0
    expected = home.query("SELECT sum(expected_picousd) FROM attempts")
    home.change(f"UPDATE jobs SET phase = '{phase}', deadline_ms = (strftime('%s', 'now') - 7200) * 1000")
    home.change("UPDATE jobs SET cancel_ms = deadline_ms")
    ran = home.run("--resume", "--rescue")
    assert ran.code == 0, ran.err
    assert [result["tier"] for result in home.results()] == ["standard"] * 3
    # The provider may have run them.
    assert home.query("SELECT sum(cost_picousd) FROM attempts WHERE service_tier = 'batch'") == expected
    assert home.query("SELECT count(*) FROM attempts WHERE status = 'pending'") == [(0,)]


def test_a_cancelled_job_that_never_ends_is_listed_as_failed_without_a_rescue(home: Home) -> None:
    home.vendor.endless = True
    home.write(PROMPTS, [MODELS["openai"]])
    assert home.run("--no-wait").code == 0
    home.change("UPDATE jobs SET deadline_ms = (strftime('%s', 'now') - 7200) * 1000")
    home.change("UPDATE jobs SET cancel_ms = deadline_ms")
    assert home.run("--resume").code == 4
    assert "did not end in time" in home.results()[0]["error"]["message"]
    assert len((home.folder / "out.jsonl.failed").read_text().splitlines()) == 3


def test_a_late_job_that_is_only_now_cancelled_is_waited_for(home: Home) -> None:
    home.vendor.endless = True
    home.write(PROMPTS, [MODELS["openai"]])
    assert home.run("--no-wait").code == 0
    home.change("UPDATE jobs SET deadline_ms = (strftime('%s', 'now') - 7200) * 1000")
    ran = home.run("--resume", "--no-wait")
    assert (ran.code, "is late and is being cancelled; its end is waited for" in ran.err) == (0, True)
    home.vendor.endless, home.vendor.runs_at_most = False, 3
    assert home.run("--resume").code == 0
    home.assert_all_answered_once(PROMPTS)


@pytest.mark.parametrize("torn", [lambda body: body[: len(body) // 2], lambda _body: b""])
def test_results_that_stay_cut_off_for_a_while_lose_no_answer(home: Home, torn: Callable[[bytes], bytes]) -> None:
    change(home, is_download, torn, 4)
    home.write(PROMPTS, [MODELS["together"]])
    assert home.run().code == 0
    home.assert_all_answered_once(PROMPTS)


def test_results_that_stay_cut_off_for_long_are_lost(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "UNREADABLE_S", 0.1)
    change(home, is_download, lambda _body: b"", 1_000)
    results = answers(home, monkeypatch, "openai")
    assert all("has no whole results" in str(each.error) for each in results)
    assert home.query("SELECT count(*) FROM attempts WHERE status = 'pending'") == [(0,)]


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_results_whose_download_is_rejected_for_long_are_lost(
    home: Home, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(tracking, "UNREADABLE_S", 0.1)
    home.vendor.refuse = {"results": [status] * 1_000}
    results = answers(home, monkeypatch, "openai")
    assert all("has no whole results" in str(each.error) for each in results)
    assert home.query("SELECT count(*) FROM attempts WHERE status = 'pending'") == [(0,)]


@pytest.mark.parametrize("status", [400, 402, 403, 408, 409, 429, 500])
def test_results_whose_download_is_rejected_for_now_are_collected(
    home: Home, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    if status != 400:
        monkeypatch.setattr(tracking, "UNREADABLE_S", 0.0)
    home.vendor.refuse = {"results": [status] * 2}
    assert_answered_once(home, answers(home, monkeypatch, "openai"))


def test_a_status_whose_digits_are_text_is_one_of_success(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    change(home, is_download, lambda body: body.replace(b'"status_code": 200', b'"status_code": "200"'), 1)
    assert_answered_once(home, answers(home, monkeypatch, "openai"))


def test_a_download_that_never_ends_is_ended_and_begun_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    serve, limits_s = home.server.answer, list[float]()
    download = Vendor.download

    async def briefly(vendor: Vendor, request: HTTPRequest, file: IO[bytes], within_s: float) -> None:
        limits_s.append(within_s)
        await download(vendor, request, file, 0.2 if len(limits_s) == 1 else within_s)

    def answer(received: Received) -> Script:
        if is_download(received) and not limits_s[1:]:
            return [chunked_head(), Endless(chunk(b"\n"))]
        return serve(received)

    monkeypatch.setattr(Vendor, "download", briefly)
    home.server.answer = answer
    assert_answered_once(home, answers(home, monkeypatch, "openai"))
    assert len(limits_s) == 2
    # By the deadline in a day.
    assert all(3_600 < limit_s <= 86_400 for limit_s in limits_s)


def test_a_status_that_never_ends_is_queried_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    serve, limits_s = home.server.answer, list[float]()
    dripping, ending = threading.Event(), Vendor._ending

    def briefly(vendor: Vendor, within_s: float) -> AbstractAsyncContextManager[None]:
        limits_s.append(0.2 if dripping.is_set() and 0.2 not in limits_s else within_s)
        return ending(vendor, limits_s[-1])

    def answer(received: Received) -> Script:
        if is_status(received) and not dripping.is_set():
            dripping.set()
            return [chunked_head(), Drip(chunk(b" " * 100_000), 0.01)]
        return serve(received)

    monkeypatch.setattr(Vendor, "_ending", briefly)
    home.server.answer = answer
    assert_answered_once(home, answers(home, monkeypatch, "openai"))
    assert set(limits_s) >= {0.2, ANSWER_S}


def test_an_answer_counts_after_a_result_of_the_same_line_that_says_it_was_not_run(home: Home) -> None:
    def doubled(body: bytes) -> bytes:
        unrun = {"response": None, "error": {"code": "batch_expired", "message": "too late"}}
        lines = [{**json.loads(line), **unrun} for line in body.split(b"\n") if line]
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines) + body

    change(home, is_download, doubled, 1)
    home.write(PROMPTS, [MODELS["openai"]])
    assert home.run("--rescue").code == 0
    home.assert_all_answered_once(PROMPTS)


@pytest.mark.parametrize("provider", ["openai", "mistral", "together"])
def test_the_reason_of_a_job_that_failed_is_one_line_without_the_key(home: Home, provider: str) -> None:
    reason = f"bad key {KEY}\u001b[31m\nin red"

    def failed(body: bytes) -> bytes:
        status = {**json.loads(body), "status": "failed" if provider == "openai" else "FAILED"}
        fault = {"code": "bad", "message": reason}
        faults: Any = {"openai": {"data": [fault]}, "mistral": [fault]}.get(provider)
        return json.dumps({**status, "errors": faults, "error": reason}).encode()

    change(home, is_status, failed, 9)
    home.write(PROMPTS[:1], [MODELS[provider]])
    ran = home.run()
    assert ran.code == 2
    assert "rejected the batch: bad key [key] [31m in red" in ran.err
    assert home.query("SELECT fault FROM jobs") == [("bad key [key] [31m in red",)]
    assert KEY not in (home.folder / "out.jsonl").read_text()


def test_a_file_whose_upload_was_lost_is_deleted_when_its_job_is_cancelled(home: Home) -> None:
    home.write(PROMPTS, [MODELS["openai"]])
    assert home.run("--no-wait").code == 0
    home.vendor.jobs.clear()
    home.change("UPDATE jobs SET phase = 'submitting', vendor_id = NULL, create_begun_ms = NULL, file_id = NULL")
    assert home.vendor.files
    ((job,),) = home.query("SELECT id FROM jobs")
    assert run("batches", "cancel", job, "--yes", home=home.folder, **home.settings).code == 0
    assert not home.vendor.files


def test_a_file_that_is_listed_late_is_not_uploaded_again(home: Home) -> None:
    home.vendor.lose = ["upload"]
    change(home, lambda received: received.line.startswith("GET /openai/v1/files?"), lambda _body: b'{"data": []}', 5)
    home.write(PROMPTS, [MODELS["openai"]])
    assert home.run().code == 0
    assert home.vendor.uploads == 1
    assert not home.vendor.files
    home.assert_all_answered_once(PROMPTS)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_an_answer_that_cannot_be_read_counts_at_its_reservation(home: Home, provider: str) -> None:
    def unreadable(body: bytes) -> bytes:
        lines = [json.loads(line) for line in body.splitlines()]
        for line in lines:
            if provider == "openai":
                line["response"]["body"]["choices"] = None
            else:
                line["result"]["message"]["content"] = None
        return "".join(json.dumps(line) + "\n" for line in lines).encode()

    change(home, is_download, unreadable, 9)
    home.write(["one"], [MODELS[provider]])
    assert home.run("--budget", "1").code != 0
    sql = "SELECT status, error, http_status, cost_picousd, cost_basis, reserved_picousd FROM attempts"
    [(status, error, http_status, cost, basis, reserved)] = home.query(sql)
    assert (status, error, http_status, basis) == ("failed", "bad_output", 200, "at_most")
    assert cost == reserved >= home.vendor.bill_picousd > 0


def test_a_job_that_has_ended_before_it_names_its_results_is_asked_again(home: Home) -> None:
    told: list[str] = []

    def nameless(body: bytes) -> bytes:
        found = json.loads(body)
        for job in found.get("data", [found]):
            if job.get("status") == "completed" and len(told) < 2:
                told.append(job["id"])
                job["output_file_id"] = job["error_file_id"] = None
        return json.dumps(found).encode()

    change(home, lambda received: received.line.startswith("GET") and "/batches" in received.path, nameless, 99)
    home.write(PROMPTS, [MODELS["openai"]])
    ran = home.run()
    assert ran.code == 0, ran.err
    assert len(told) == 2
    home.assert_all_answered_once(PROMPTS)
    assert not home.vendor.files


@pytest.mark.parametrize("operation", ["status", "results"])
def test_a_run_whose_key_is_rejected_again_and_again_ends_and_its_jobs_are_collected_later(
    home: Home, operation: str
) -> None:
    home.write(PROMPTS, [MODELS["openai"]])
    home.vendor.polls_to_end = 3
    home.vendor.refuse = {operation: [401] * 3}
    ran = home.run()
    assert (ran.code, "OPENAI_API_KEY" in ran.err) == (3, True)
    home.vendor.refuse = {operation: [401] * 2}
    assert home.run("--resume").code == 0
    home.assert_all_answered_once(PROMPTS)


def test_jobs_of_other_providers_are_waited_for_after_a_key_was_rejected(home: Home) -> None:
    home.write(PROMPTS, [MODELS["openai"], MODELS["anthropic"]])
    home.vendor.polls_to_end = 6

    def is_for_openai(received: Received) -> bool:
        return is_status(received) and received.path.startswith("/openai")

    serve = home.server.answer
    home.server.answer = lambda received: [reply(401)] if is_for_openai(received) else serve(received)
    assert home.run().code == 3
    answered = [result["id"] for result in home.results() if "content" in result]
    assert answered == ["r1"]


def test_an_answer_beside_an_error_is_an_answer(home: Home) -> None:
    def with_error(body: bytes) -> bytes:
        lines = [json.loads(line) for line in body.splitlines()]
        return "".join(json.dumps({**line, "error": {"code": None, "message": None}}) + "\n" for line in lines).encode()

    change(home, is_download, with_error, 9)
    home.write(PROMPTS, [MODELS["openai"]])
    assert home.run().code == 0
    home.assert_all_answered_once(PROMPTS)


def test_results_that_are_downloaded_again_are_no_repeated_ones(home: Home) -> None:
    change(home, is_download, lambda body: body[: body.rindex(b"\n", 0, -1) + 1], 1)
    home.write(PROMPTS, [MODELS["openai"]])
    ran = home.run()
    assert (ran.code, "repeated" in ran.err) == (0, False)
    home.assert_all_answered_once(PROMPTS)


def test_a_job_that_is_looked_for_is_reported(home: Home) -> None:
    home.vendor.lose, home.vendor.hidden_lists = ["create"], 1
    home.write(PROMPTS, [MODELS["openai"]])
    ran = home.run()
    assert (ran.code, "openai may have a batch of 3 lines: it is looked for" in ran.err) == (0, True)
    home.assert_all_answered_once(PROMPTS)


def test_what_lost_lines_may_have_cost_counts_in_the_budget_of_the_next_run(home: Home) -> None:
    prompts = [f"prompt {n}" for n in range(9)]
    change(home, is_download, lambda body: body.partition(b"\n")[0] + b"\n", 99)
    home.write(prompts, [MODELS["together"]])
    budget_usd = 0.0003
    home.run("--budget", str(budget_usd))
    lost = [result["error"]["attempts"] for result in home.results() if "error" in result]
    assert lost
    assert all(attempt["cost_usd"] > 0 for (attempt,) in lost)
    for _ in range(4):
        home.run("--resume", "--budget", str(budget_usd))
    assert 0 < home.billed() <= budget_usd * 10**12
