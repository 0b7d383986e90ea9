"""Batch jobs while files cannot be written: nothing is lost, and nothing is paid twice."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from llmroute import LLMService, OutputError
from llmroute.jobs import private_file
from tests.jobs.homes import GEN
from tests.support.batch_vendor import MODELS
from tests.support.fault_server import Pause
from tests.support.shell import run

if TYPE_CHECKING:
    from tests.jobs.homes import Home
    from tests.support.fault_server import Received, Script

PROMPTS = [f"prompt {n}" for n in range(4)]


def full_file(**_: object) -> IO[bytes]:
    """Open a file that takes no bytes."""
    return Path("/dev/full").open("w+b")


def test_lines_that_cannot_be_stored_are_submitted_by_another_run(home: Home) -> None:
    home.write(PROMPTS)
    folder = home.folder / "ledger.db.jobs"
    folder.write_text("")
    ran = home.run()
    assert ran.code == 3
    assert f"{folder} cannot be written" in ran.err
    assert "a bug" not in ran.err
    assert not home.vendor.jobs
    folder.unlink()
    assert home.run("--resume").code == 0
    home.assert_all_answered_once(PROMPTS)


def test_results_that_cannot_be_stored_stay_at_the_provider(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in home.settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(private_file, "TemporaryFile", full_file)
    requests = [{"prompt": prompt, "model": MODELS["openai"], "max_tokens": 50} for prompt in PROMPTS]

    async def answered() -> None:
        async with LLMService() as service:
            async for _ in service.generate_batch(requests, poll_s=0.01):
                pass

    with pytest.raises(OutputError, match="jobs cannot be written: No space left"):
        asyncio.run(answered())
    assert home.query("SELECT status, count(*) FROM attempts GROUP BY 1") == [("pending", len(PROMPTS))]
    assert home.query("SELECT phase, delivered_ms FROM jobs") == [("done", None)]
    assert any(file.startswith("file-output") for file in home.vendor.files)


def test_a_call_in_flight_is_awaited_when_the_results_of_a_job_cannot_be_written(home: Home) -> None:
    # Without a price at its batch API, Together's model is called.
    (home.folder / "config.toml").write_text("")
    home.write(PROMPTS[:2], [MODELS["openai"], MODELS["together"]])
    serve, is_read = home.server.answer, threading.Event()

    def answer(received: Received) -> Script:
        if received.path.endswith("/chat/completions"):
            assert is_read.wait(60)
            return [Pause(0.5), *serve(received)]
        if received.path.endswith("/content"):
            is_read.set()
        return serve(received)

    home.server.answer = answer
    arguments = ["auto" if each == "batch" else each for each in GEN]
    ran = run(*arguments, "-o", "/dev/full", home=home.folder, **home.settings)
    assert ran.code == 3
    assert f"answer\\u2028{PROMPTS[1]}" in ran.out or f"answer\u2028{PROMPTS[1]}" in ran.out
    assert home.query("SELECT provider, status FROM attempts ORDER BY 1") == [("openai", "ok"), ("together", "ok")]
