"""`--check`: a shell command that reads an answer on stdin and accepts it by exiting with 0."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NoReturn

from llmroute import exit_codes
from llmroute.cli.errors import fail
from llmroute.config.provider_variables import key_variable
from llmroute.errors import CheckError, CheckFaultError, RequestError
from llmroute.providers import PROVIDERS
from llmroute.text.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

    from llmroute.cli.arguments import RequestArguments
    from llmroute.types import LLMResponse

TIMEOUT_S: Final = 60.0
LEAST_TIMEOUT_S, MOST_TIMEOUT_S = 0.001, 86_400
ADMIN_KEYS: Final = ("OPENAI_ADMIN_KEY", "ANTHROPIC_ADMIN_KEY")
MOST_STDERR_BYTES: Final = 4096
"""The maximum length of the command's stderr that is kept; its first line is reported."""
MOST_LINE: Final = 200
PIPE_WAIT_S: Final = 1.0
"""The maximum wait for the rest of stderr after the command has ended."""
NOT_STARTED: Final = (126, 127)
"""The exit statuses of a shell for a command that it cannot execute or find (POSIX, Shell Command Language 2.8.2)."""
_KILLED_FROM, _KILLED_TO = 129, 192
"""A shell reports a command that was killed by a signal as 128 plus the signal number."""


@contextmanager
def checking(arguments: RequestArguments, timeout_s: float | None) -> Iterator[RequestArguments]:
    """Yield the arguments with the command of --check as a check; its processes are killed at the end of the block."""
    command = arguments.request["check"]
    if not command.strip():
        fail(RequestError("--check: the command is empty", option="check"), as_json=arguments.as_json)
    if timeout_s is not None and not LEAST_TIMEOUT_S <= timeout_s <= MOST_TIMEOUT_S:
        expected = f"between {LEAST_TIMEOUT_S} and {MOST_TIMEOUT_S:,} seconds"
        fail(RequestError(f"--check-timeout: {timeout_s:g} is not {expected}"), as_json=arguments.as_json)
    check = CheckCommand(command, timeout_s=timeout_s or TIMEOUT_S, hidden=[*map(key_variable, PROVIDERS), *ADMIN_KEYS])
    try:
        yield arguments._replace(request={**arguments.request, "check": check})
    finally:
        check.close()


class CheckCommand:
    """Runs a shell command for each answer, in a process group of its own; a `types.Check`.  Safe between threads.

    `hidden` are environment variables that are removed from its environment.  `unjudged` is the last answer that was
    checked, unless the command rejected it.
    """

    def __init__(self, command: str, *, timeout_s: float, hidden: Iterable[str]) -> None:
        self._command = command
        self._timeout_s = timeout_s
        self._hidden = frozenset(hidden)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False
        self.unjudged: LLMResponse | None = None

    def __call__(self, response: LLMResponse) -> None:
        """Check a response.

        Raises:
            CheckError: the command exits with another status than 0.
            CheckFaultError: it cannot be started, is killed, or takes too long.
        """
        self.unjudged = response
        try:
            # A file, because a command need not read its stdin.
            with tempfile.TemporaryFile() as stdin:
                stdin.write(response.content.encode("utf-8", "replace"))
                stdin.seek(0)
                process = self._started(response, stdin)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._fault(f"cannot be started: {reason}", "test it in a shell", exit_codes.USAGE)
        stderr = _Beginning(process.stderr)
        try:
            status = process.wait(self._timeout_s)
        except subprocess.TimeoutExpired:
            self._fault(f"took longer than {self._timeout_s:g} s", "allow more with --check-timeout")
        finally:
            self._ended(process)
        self._judge(status, stderr.first_line())

    def _started(self, response: LLMResponse, stdin: IO[bytes]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                self._fault("was stopped", "run the command again")
            process = subprocess.Popen(  # noqa: S602 (the caller's own command)
                self._command,
                shell=True,
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=self._environment(response),
                start_new_session=True,
            )
            self._running.add(process)
            return process

    def _environment(self, response: LLMResponse) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in self._hidden}
        return kept | {
            "LLMROUTE_PROVIDER": response.provider,
            "LLMROUTE_MODEL": response.model,
            "LLMROUTE_ATTEMPT": str(len(response.attempts)),
        }

    def _judge(self, status: int, line: str) -> None:
        if status in NOT_STARTED:
            self._fault(f"cannot be started: {line or f'exit {status}'}", "test it in a shell", exit_codes.USAGE)
        if status < 0 or _KILLED_FROM <= status <= _KILLED_TO:
            number = -status if status < 0 else status - 128
            self._fault(f"was killed by signal {number}", "the answer was not checked")
        if status:
            self.unjudged = None
            raise CheckError(f"the check rejects the answer: {line}" if line else f"the check exits with {status}")

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the remaining processes of a command."""
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with self._lock:
            self._running.discard(process)

    def close(self) -> None:
        """Kill all commands, and start no more."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)

    def _fault(self, reason: str, hint: str, exit_code: int = exit_codes.SETUP) -> NoReturn:
        fault = CheckFaultError(f"the check {reason}", hint=hint, option="check")
        fault.exit_code = exit_code
        raise fault


class _Beginning:
    """Reads a pipe to its end and keeps its beginning."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        assert pipe is not None
        self._pipe = pipe
        self._kept = b""
        # A daemon thread: a process that left the command's group may keep the pipe open.
        self._thread = threading.Thread(target=self._read, name="llmroute-check-stderr", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            self._kept = self._pipe.read(MOST_STDERR_BYTES)
            while self._pipe.read(MOST_STDERR_BYTES):
                pass

    def first_line(self) -> str:
        """Return the first line that is not blank, shortened and harmless to a terminal."""
        self._thread.join(PIPE_WAIT_S)
        for line in self._kept.decode("utf-8", "replace").splitlines():
            if plain := one_line(line):
                return plain[:MOST_LINE]
        return ""
