"""Batch jobs that are killed at every step, each in a home of its own, and resumed: `python -m tests.jobs.killed ...`.

A step is before or after a change of the journal, or after the response of a provider.  The arguments are the folder of
the homes, the model, of how many steps one is tried, and the arguments of `llmroute`; without any, a program calls
`generate_batch`.  Prints the exit code of each resumed run, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx  # noqa: F401 (imported once for all runs)
import rich  # noqa: F401

import llmroute.cli.batch.job_command
import llmroute.jobs.run
import llmroute.jobs.submitting.job_submission
import llmroute.service.batch_requests
import llmroute.service.client
from llmroute import LLMService
from llmroute.__main__ import run
from llmroute.jobs.vendor import Vendor
from llmroute.ledger.postgres.journal import PostgresJobs
from llmroute.ledger.sqlite.journal import SQLiteJobs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KILLED = 99
MOST_STEPS = 200
CHANGES = ("add", "save", "reserve", "settle", "release", "lose", "drop", "deliver")


def prompts(step: int) -> list[str]:
    """Return the prompts of the run that is killed at a step; the last one gets an error."""
    return [f"one {step}", f"two {step}", f"fail {step}"]


def schema_of(home: Path) -> str:
    """Return the schema of a home's ledger, where that is on a server."""
    return f"home_{home.name}"


class Steps:
    """Counts steps down to the one that ends the process."""

    def __init__(self, left: int) -> None:
        self._left = left

    def step(self) -> None:
        if self._left == 0:
            os._exit(KILLED)
        self._left -= 1

    def around(self, change: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(change)
        def changed(*arguments: Any) -> Any:
            self.step()
            result = change(*arguments)
            self.step()
            return result

        return changed

    def install(self) -> None:
        journal = PostgresJobs if "LLMROUTE_LEDGER" in os.environ else SQLiteJobs
        for name in CHANGES:
            setattr(journal, name, self.around(getattr(journal, name)))
        call = Vendor.call

        async def called(vendor: Vendor, request: Any, progress: Any = None) -> bytes:
            body = await call(vendor, request, progress)
            self.step()
            return body

        Vendor.call = called  # type: ignore[method-assign,assignment]


def run_command(arguments: Sequence[str]) -> None:
    """Run `llmroute`, which exits."""
    sys.argv = ["llmroute", *arguments]
    run()


def run_program() -> None:
    """Write the result of each request of `in.jsonl` as soon as there is one, unless all are there; exit."""
    requests = [json.loads(line) for line in Path("in.jsonl").read_text().splitlines()]
    requests = [{"prompt": each["prompt"], "model": each["model"], "max_tokens": 50} for each in requests]

    async def answer() -> None:
        with Path("out.jsonl").open("w") as file:  # noqa: ASYNC230 (one task)
            async with LLMService() as service:
                async for result in service.generate_batch(requests, poll_s=0.01):
                    content = None if result.response is None else result.response.content
                    file.write(json.dumps({"content": content, "error": {"message": str(result.error)}}) + "\n")
                    file.flush()

    out = Path("out.jsonl")
    if not out.exists() or len(out.read_text().splitlines()) < len(requests):
        asyncio.run(answer())
    os._exit(0)


def in_child(home: Path, call: Callable[[], None], steps: Steps | None) -> int:
    """Make a call in a forked process, and return its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        os.chdir(home)
        os.environ |= {"HOME": str(home), "LLMROUTE_CONFIG_DIR": str(home), "LLMROUTE_SCHEMA": schema_of(home)}
        out = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        llmroute.jobs.submitting.job_submission.LOOK_S = 0.0
        if steps is not None:
            steps.install()
        call()
    finally:
        os._exit(1)


def main(folder: str, model: str, stride: str, *arguments: str) -> None:
    codes = []
    for step in range(0, MOST_STEPS, int(stride)):
        home = Path(folder) / str(step)
        home.mkdir()
        (home / "config.toml").write_text((Path(folder) / "config.toml").read_text())
        lines = [{"id": n, "prompt": prompt, "model": model} for n, prompt in enumerate(prompts(step))]
        (home / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        first = partial(run_command, arguments) if arguments else run_program
        again = partial(run_command, (*arguments, "--resume")) if arguments else run_program
        if in_child(home, first, Steps(step)) != KILLED:
            break
        codes.append(in_child(home, again, None))
    sys.stdout.write(json.dumps(codes))


if __name__ == "__main__":
    main(*sys.argv[1:])
