"""Batch jobs that are killed at every step, each in a home of its own, and resumed: `python -m tests.jobs.killed ...`.

A step is before or after a change of the journal, or after the response of a provider.  The arguments are the folder of
the homes, the model, of how many steps one is tried, and the arguments of `llmroute`.  Prints the exit code of each
resumed run, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx  # noqa: F401 (imported once for all runs)
import rich  # noqa: F401

import llmroute.cli.batch.job_command
import llmroute.jobs.run
import llmroute.jobs.submitting.submission
import llmroute.service.client
from llmroute.__main__ import run
from llmroute.jobs.vendor import Vendor
from llmroute.ledger.sqlite.journal.jobs import SQLiteJobs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KILLED = 99
MOST_STEPS = 200
CHANGES = ("add", "save", "reserve", "settle", "release", "lose", "drop")


def prompts(step: int) -> list[str]:
    """Return the prompts of the run that is killed at a step; the last one gets an error."""
    return [f"one {step}", f"two {step}", f"fail {step}"]


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
        for name in CHANGES:
            setattr(SQLiteJobs, name, self.around(getattr(SQLiteJobs, name)))
        call = Vendor.call

        async def called(vendor: Vendor, request: Any) -> bytes:
            body = await call(vendor, request)
            self.step()
            return body

        Vendor.call = called  # type: ignore[method-assign,assignment]


def in_child(home: Path, arguments: Sequence[str], steps: Steps | None) -> int:
    """Run `llmroute` in a forked process, and return its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        os.chdir(home)
        os.environ |= {"HOME": str(home), "LLMROUTE_CONFIG_DIR": str(home)}
        out = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        llmroute.jobs.submitting.submission.LOOK_S = 0.0
        if steps is not None:
            steps.install()
        sys.argv = ["llmroute", *arguments]
        run()
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
        if in_child(home, arguments, Steps(step)) != KILLED:
            break
        codes.append(in_child(home, (*arguments, "--resume"), None))
    sys.stdout.write(json.dumps(codes))


if __name__ == "__main__":
    main(*sys.argv[1:])
