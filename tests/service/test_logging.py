"""What a program hears of its requests: standard logging, or the hooks that it gives; keys are in none of it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import llmroute
from tests.support.fault_server import serving
from tests.support.provider_servers import ANTHROPIC, KEY, OPENAI, House, anthropic_answer, openai_answer, openai_error
from tests.support.shell import environment, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house whose first provider refuses its key."""
    with serving([openai_error(401)]) as first, serving([anthropic_answer()]) as second:
        yield House(tmp_path, openai=first, anthropic=second)


def ask(service: llmroute.LLMService, *, awaiting: bool) -> llmroute.LLMResponse:
    asked: dict[str, Any] = {"model": OPENAI, "fallback": [ANTHROPIC]}
    if not awaiting:
        response: llmroute.LLMResponse = service.generate_sync("x", **asked)
        return response

    async def main() -> llmroute.LLMResponse:
        async with service:
            response: llmroute.LLMResponse = await service.generate("x", **asked)
            return response

    return asyncio.run(main())


@pytest.mark.parametrize("awaiting", [False, True])
def test_a_refused_key_and_the_fallback_are_warnings_and_each_step_is_debug(
    house: House, awaiting: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "llmroute"):
        service = llmroute.LLMService(config=house.service().config)
        ask(service, awaiting=awaiting)
        service.close()
    ours = [record for record in caplog.records if record.name.startswith("llmroute")]
    (warning,) = [record for record in ours if record.levelno == logging.WARNING]
    assert f"key refused (401), using {ANTHROPIC}" in warning.getMessage()
    assert any(f"{OPENAI}: status 401" in record.getMessage() for record in ours if record.levelno == logging.DEBUG)
    assert KEY not in caplog.text


def test_a_ledger_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "ledger.db").mkdir()
    with serving([openai_answer()]) as server, caplog.at_level(logging.WARNING, "llmroute"):
        service = llmroute.LLMService(config=House(tmp_path, openai=server).service().config)
        assert service.generate_sync("x", model=OPENAI).content == "Hello!"
        service.close()
    assert "not in the ledger yet" in caplog.text


@pytest.mark.parametrize("awaiting", [False, True])
def test_hooks_take_the_place_of_the_log(house: House, awaiting: bool, caplog: pytest.LogCaptureFixture) -> None:
    notes: list[str] = []
    steps: list[str] = []
    attempts: list[llmroute.AttemptRecord] = []
    with caplog.at_level(logging.DEBUG, "llmroute"):
        service = llmroute.get_llm_service(
            config=house.service().config, note=notes.append, trace=steps.append, on_attempt=attempts.append
        )
        response = ask(service, awaiting=awaiting)
        service.close()
    assert len(notes) == 1
    assert len(steps) >= 4
    assert tuple(attempts) == response.attempts
    assert [(one.provider, one.status) for one in attempts] == [("openai", "failed"), ("anthropic", "ok")]
    assert [record for record in caplog.records if record.name.startswith("llmroute")] == []


PROGRAM = f"""
from llmroute import get_llm_service
service = get_llm_service()
print(service.generate_sync("x", model="{OPENAI}", fallback=["{ANTHROPIC}"]).provider)
service.close()
"""


def test_a_program_that_sets_up_no_logging_sees_none_and_neither_does_the_shell(house: House) -> None:
    settings = {key: value for key, value in house.environ.items() if key != "LLMROUTE_CONFIG_DIR"}
    quiet = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment(house.folder, **settings),
        cwd=house.folder,
        capture_output=True,
        timeout=60,
        check=False,
        text=True,
    )
    assert (quiet.stdout, quiet.stderr) == ("anthropic\n", "")
    home = house.folder / "shell"
    home.mkdir()
    ran = run("gen", "x", "-m", OPENAI, "--fallback", ANTHROPIC, "--no-stdin", home=home, **settings)
    assert ran.out == "Bonjour!\n"
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("llmroute: ")
