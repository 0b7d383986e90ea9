"""Runs of `llmroute` that are killed at a step, each in a home of its own: `python -m tests.cli.killed`.

Reads from stdin, as JSON, for each run its folder, environment and arguments, and before which operation the process
kills itself: its name and how many of that name come before, None where something else kills it.  Prints how each
ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from llmroute.__main__ import run
from llmroute.execution.drivers import _Driver
from tests.support.preloaded import import_all


def kill_before(name: str, earlier: int) -> None:
    """Let this process kill itself before an operation."""
    perform, counts = _Driver.perform, [earlier]

    def killing(driver: _Driver, operation: Any) -> Any:
        if type(operation).__name__ == name:
            if counts[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            counts[0] -= 1
        return perform(driver, operation)

    _Driver.perform = killing  # type: ignore[method-assign,assignment]


def ended(folder: str, environment: dict[str, str], arguments: list[str], before: tuple[str, int] | None) -> int:
    """Run in a forked process, with its stdout in a file; return its exit code, negative for a signal."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for name, fd in (("out", 1), ("err", 2)):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600), fd)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if before is not None:
            kill_before(*before)
        sys.argv = ["llmroute", *arguments]
        run()
    finally:
        os._exit(1)


if __name__ == "__main__":
    import_all()
    sys.stdout.write(json.dumps([ended(*one) for one in json.load(sys.stdin)]))
