"""Batch jobs wait for room in the queues of providers, and for as long as a provider asks."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

from llmroute import LLMService
from llmroute.providers.batch_jobs.anthropic import AnthropicBatches
from llmroute.providers.batch_jobs.job import JobLimits
from llmroute.providers.batch_jobs.openai import OpenAIBatches
from tests.support.batch_vendor import MODELS

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.jobs.homes import Home

PROMPTS = [f"prompt {n}" for n in range(12)]
ANSWERS = [f"answer\u2028{prompt}" for prompt in PROMPTS]
QUEUE_CONFIG = """
[models."openai/gpt-4.1-mini"]
batch_queue_tokens = 30
"""


def test_jobs_are_cut_and_submitted_one_by_one_as_the_queue_of_a_model_has_room(home: Home) -> None:
    (home.folder / "config.toml").write_text(QUEUE_CONFIG)
    home.write(PROMPTS, [MODELS["openai"]])
    ran = home.run()
    assert ran.code == 0, ran.err
    home.assert_all_answered_once(PROMPTS)
    assert len(home.vendor.jobs) > 1
    assert home.vendor.most_running[0] == 1
    assert "waits for room in the queue of openai" in ran.err


def answers(
    home: Home, monkeypatch: pytest.MonkeyPatch, provider: str, note: Callable[[str], None] | None = None
) -> list[str]:
    """Answer all prompts by a provider."""
    for name, value in home.settings.items():
        monkeypatch.setenv(name, value)
    requests = [{"prompt": prompt, "model": MODELS[provider], "max_tokens": 50} for prompt in PROMPTS]

    async def answered() -> list[str]:
        async with LLMService(note=note) as service:
            results = [each async for each in service.generate_batch(requests, poll_s=0.01)]
        return ["" if each.response is None else each.response.content for each in results]

    return asyncio.run(answered())


def test_a_queue_that_was_full_gets_no_more_at_once_than_it_had_room_for(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenAIBatches, "limits", JobLimits(2, 10**6))
    home.vendor.queue_lines, home.vendor.polls_to_end = 4, 5
    assert answers(home, monkeypatch, "openai") == ANSWERS
    assert max(home.vendor.runs.values()) == 1
    # All six jobs are created before the first four of them are seen to have failed.
    creations = [request for request in home.vendor.requests if request.endswith("POST /batches")]
    assert len(creations) == 6 + 4


def test_the_lines_of_all_jobs_stay_within_the_queue_of_a_provider(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AnthropicBatches, "limits", JobLimits(2, 10**6, queued_lines=5))
    assert answers(home, monkeypatch, "anthropic") == ANSWERS
    assert home.vendor.most_running == (2, 4)
    assert max(home.vendor.runs.values()) == 1


def test_jobs_of_other_runs_count_until_they_have_ended(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [f"other {n}" for n in range(4)]
    home.write(others, [MODELS["anthropic"]])
    home.vendor.polls_to_end = 4
    assert home.run("--no-wait").code == 0
    monkeypatch.setattr(AnthropicBatches, "limits", JobLimits(2, 10**6, queued_lines=5))
    assert answers(home, monkeypatch, "anthropic") == ANSWERS
    assert home.vendor.most_running[1] == 4
    assert home.run("--resume").code == 0


def test_a_provider_is_asked_nothing_before_the_time_that_it_names(home: Home) -> None:
    home.vendor.reject, home.vendor.retry_after_s = [429], 1
    home.write(PROMPTS, [MODELS["anthropic"]])
    ran = home.run()
    assert ran.code == 0, ran.err
    home.assert_all_answered_once(PROMPTS)
    assert max(after - before for before, after in pairwise(home.vendor.times_s)) >= 1


def test_a_job_that_alone_does_not_fit_the_queue_names_the_setting_that_cuts_jobs(home: Home) -> None:
    home.vendor.full = 1
    home.write(PROMPTS, [MODELS["openai"]])
    ran = home.run()
    assert ran.code == 0, ran.err
    assert 'set batch_queue_tokens of [models."openai/gpt-4.1-mini"] in config.toml' in ran.err
    home.assert_all_answered_once(PROMPTS)


def test_jobs_that_do_not_fit_beside_others_name_no_setting(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenAIBatches, "limits", JobLimits(6, 10**6))
    home.vendor.queue_lines, home.vendor.polls_to_end = 6, 3
    notes: list[str] = []
    assert answers(home, monkeypatch, "openai", notes.append) == ANSWERS
    assert "has no room for the batch yet" in "".join(notes)
    assert "batch_queue_tokens" not in "".join(notes)


def test_files_that_could_not_be_deleted_are_deleted_by_another_try_of_the_run(home: Home) -> None:
    home.vendor.undeletable = 1
    home.write(PROMPTS)
    ran = home.run()
    assert (ran.code, "could not be deleted" in ran.err) == (0, False)
    assert not home.vendor.files
    home.assert_all_answered_once(PROMPTS)


def test_files_that_could_not_be_deleted_are_deleted_by_the_next_run(home: Home) -> None:
    home.vendor.undeletable = 100
    home.write(PROMPTS)
    ran = home.run()
    assert (ran.code, "at openai could not be deleted: not now; --resume tries again" in ran.err) == (0, True)
    assert home.vendor.files
    home.vendor.undeletable = 0
    assert home.run("--resume").code == 0
    assert not home.vendor.files
    home.assert_all_answered_once(PROMPTS)
