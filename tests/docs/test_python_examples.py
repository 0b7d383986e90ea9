"""The Python examples of README and docs/ run, and a type checker accepts them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import examples
from tests.support.batch_vendor import BatchVendor
from tests.support.fault_server import closed_port, serving
from tests.support.model_server import ModelServer
from tests.support.provider_servers import openai_error
from tests.support.shell import environment, rows
from tests.support.type_checker import type_checked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = {
    heading: example
    for page in ("python.md", "applications.md", "schemas.md", "../README.md")
    for heading, example in examples(page, "python").items()
}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def run_example(heading: str, home: Path, server: ModelServer) -> str:
    return run_program(EXAMPLES[heading], home, **server.settings)


def run_program(code: str, home: Path, **settings: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment(home, **settings),
        cwd=home,
        capture_output=True,
        timeout=60,
        check=False,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_a_program_gets_an_answer_and_its_bill(server: ModelServer, tmp_path: Path) -> None:
    told = run_example("Generate", tmp_path, server).splitlines()
    assert told[0] == "one two three"
    (row,) = rows(tmp_path)
    assert (row["workspace"], row["execution"], row["task"]) == ("workspace-123", "nightly-1", "analysis")
    assert told[1].split()[:3] == [row["provider"], row["model"], str(row["cost_usd"])]
    days = run_example("Read costs", tmp_path, server).splitlines()
    assert days[0] == f"{row['cost_usd']} {row['input_tokens'] + row['output_tokens']} 1"
    assert days[1] == f"{row['provider']} {row['model']} {row['cost_usd']}"
    assert days[2].endswith(f" {row['cost_usd']}")


def test_what_a_provider_answers_becomes_the_error_that_the_program_catches(tmp_path: Path) -> None:
    for status, said in ((429, "try again in"), (401, "openai ")):
        home = tmp_path / str(status)
        home.mkdir()
        with serving([openai_error(status)]) as faulty:
            settings = {"OPENAI_BASE_URL": faulty.url, "OPENAI_API_KEY": "sk-test-0123456789"}
            code = EXAMPLES["Generate"].replace("enable_fallback=True", "enable_fallback=False, timeout_s=10")
            told = run_program(code, home, **settings)
        assert told.startswith(said)


def test_a_program_streams_and_asks_many_things_at_once(server: ModelServer, tmp_path: Path) -> None:
    told = run_example("Stream, and run requests concurrently", tmp_path, server).splitlines()
    assert told[0] == "one two three"
    assert told[2].startswith("20 answers for ")
    assert float(told[2].split()[3]) > 0
    assert [row["streaming"] for row in rows(tmp_path)].count(0) == 20
    assert {row["status"] for row in rows(tmp_path)} == {"ok"}


def test_a_program_asks_for_many_at_once(server: ModelServer, tmp_path: Path) -> None:
    told = run_example("Process many requests", tmp_path, server).splitlines()
    assert [line.partition(". ")[0] for line in told] == [f"Say {number}" for number in range(20)]
    assert all("one two three" in line for line in told)
    assert len(server.requests) == 20
    assert {row["status"] for row in rows(tmp_path)} == {"ok"}


def test_a_program_sees_what_there_is_and_puts_its_own_calls_on_the_bill(server: ModelServer, tmp_path: Path) -> None:
    told = run_example("Inspect providers, models and chains", tmp_path, server).splitlines()
    assert "'openai'" in told[0]
    assert "'openai': False" in told[1], "this server lists no models"
    assert told[2].startswith("[('openai', 'gpt-5.4-mini'), ")
    assert told[3] == "1"
    assert told[4] == "[('openai', 'gpt-4'), ('anthropic', 'claude-3-opus'), ('mistral', 'mistral-large')]"
    assert told[5:7] == [
        "0.03",
        "['mistral/codestral-2508', 'mistral/deepseek-v4-1-flash-1017', 'mistral/ministral-14b-2512']",
    ]
    assert [(row["model"], row["cost_picousd"]) for row in rows(tmp_path)] == [("gpt-5.4-mini", 4 * 10**8)]


def test_a_program_asks_without_an_event_loop(server: ModelServer, tmp_path: Path) -> None:
    told = run_example("Without an event loop", tmp_path, server).splitlines()
    assert told[:2] == ["one two three"] * 2
    asked = rows(tmp_path)
    assert {(row["streaming"], row["status"]) for row in asked} == {(0, "ok"), (1, "ok")}
    (streamed,) = [row for row in asked if row["streaming"]]
    assert told[2] == f"{streamed['model']} {streamed['cost_usd']}"


def test_a_program_sends_through_its_own_client(server: ModelServer, tmp_path: Path) -> None:
    told = run_example("Use your own HTTP client", tmp_path, server).splitlines()
    assert told == ["200 /v1/chat/completions", "one two three"]


def test_a_program_reads_the_log_and_the_record_of_each_attempt(server: ModelServer, tmp_path: Path) -> None:
    told = run_example("Logging and attempt records", tmp_path, server).splitlines()
    assert [line for line in told if line.startswith("DEBUG llmroute.service: openai/gpt-5.4-mini: POST ")]
    (row,) = rows(tmp_path)
    assert f"openai gpt-5.4-mini ok {row['latency_ms']}" in told


def test_the_example_of_readme_prints_an_answer_and_its_cost(server: ModelServer, tmp_path: Path) -> None:
    printed = run_example("In Python", tmp_path, server).splitlines()
    (row,) = rows(tmp_path)
    assert printed == ["one two three", f"{row['provider']} {row['model']} {row['cost_usd']}"]


def test_a_program_gets_an_instance_of_its_class(server: ModelServer, tmp_path: Path) -> None:
    server.words = ('{"sender": "Acme", "total": 12.5}',)
    assert run_example("In the library", tmp_path, server) == "Acme 13.5\n"


def test_a_program_passes_its_own_keys(server: ModelServer, tmp_path: Path) -> None:
    assert run_example("Pass keys from code", tmp_path, server) == "one two three\n"


@pytest.mark.parametrize(("heading", "passed"), [("Test with pytest-httpx", 3), ("Test with an httpx transport", 1)])
def test_the_tests_of_a_program_pass_and_send_nothing(heading: str, passed: int, tmp_path: Path) -> None:
    (tmp_path / "test_program.py").write_text(EXAMPLES[heading])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_program.py"]
    # Whatever left this process would go to a proxy that is not there.
    settings = {"HTTPS_PROXY": f"http://127.0.0.1:{closed_port()}"}
    ended = subprocess.run(
        command,
        env=environment(tmp_path, **settings),
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
        check=False,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{passed} passed" in ended.stdout


def test_a_type_checker_accepts_every_example(tmp_path: Path) -> None:
    checked = type_checked(tmp_path, *EXAMPLES.values())
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_program_gets_the_answers_of_batch_jobs(server: ModelServer, tmp_path: Path) -> None:
    vendor = BatchVendor(polls_to_end=0)
    with serving(vendor.answer) as batches:
        settings = {**server.settings, "OPENAI_BASE_URL": f"{batches.url}/openai/v1"}
        told = run_program(EXAMPLES["Batch jobs"], tmp_path, **settings).split("\n")
    assert [line.split("\u2028")[0] for line in told[:-1]] == [f"Say {n}. answer" for n in range(20)]
    assert [row["service_tier"] for row in rows(tmp_path)] == ["batch"] * 20
