"""The first signal raises an exception, so that the open attempt is settled; the second exits at once.

Python runs a handler only between two bytecode instructions, and a wait for a locked ledger is one instruction. So a
thread listens too: it ends the program at the second signal in any state.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

from llmroute import exit_codes
from llmroute.cli.standard_streams import OutputFailed, ReaderGone

GRACE_S = 20.0
"""The maximum time for open work to end after the first signal."""
SETTLE_S = 3.0
_ENDING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


class Interrupted(BaseException):
    """A signal ended the program."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def install() -> None:
    """Handle the signals that end a program, except those that its parent set to be ignored."""
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _first)
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    _thread.start_new_thread(_leave_at_the_second, (read_end,))


def run_until_signal(work: Coroutine[Any, Any, None], wind_down: Callable[[], None]) -> int | None:
    """Run a coroutine; return the signal that ended it, None if it ended by itself.

    A handler that raises would raise anywhere in the event loop.  Here the first signal calls `wind_down`, after which
    the work begins nothing and has GRACE_S to end; then, or at the second signal, it is cancelled, and settles what it
    has begun.  The program leaves at the third signal, and SETTLE_S after the second in any case.
    """
    import asyncio

    ended_by: list[int] = []
    taken = [number for number in _ENDING if signal.getsignal(number) is _first]
    listening = signal.set_wakeup_fd(-1)
    try:
        asyncio.run(_watched(work, wind_down, taken, ended_by))
    finally:
        # The loop has given the signals back to the system.
        signal.set_wakeup_fd(listening, warn_on_full_buffer=False)
        for number in taken:
            signal.signal(number, _second if ended_by else _first)
    return ended_by[0] if ended_by else None


async def _watched(
    work: Coroutine[Any, Any, None], wind_down: Callable[[], None], taken: Sequence[int], ended_by: list[int]
) -> None:
    """Await the work, and append to `ended_by` each of the signals `taken` that arrives."""
    import asyncio

    loop = asyncio.get_running_loop()
    working = asyncio.ensure_future(work)

    def end(number: int) -> None:
        ended_by.append(number)
        if len(ended_by) == 1:
            wind_down()
            loop.call_later(GRACE_S, working.cancel)
        elif len(ended_by) == 2:  # noqa: PLR2004 (the second)
            working.cancel()
            _thread.start_new_thread(_leave_after, (SETTLE_S, 128 + number))
        else:
            os._exit(128 + number)

    for number in taken:
        loop.add_signal_handler(number, end, number)
    try:
        await working
    except asyncio.CancelledError:
        if not ended_by:
            raise


def _first(number: int, _frame: object) -> None:
    for other in _ENDING:
        if signal.getsignal(other) is _first:
            signal.signal(other, _second)
    raise Interrupted(number)


def _leave_at_the_second(read_end: int) -> None:
    ending = 0
    while numbers := os.read(read_end, 64):
        for number in numbers:
            ending += number in _ENDING
            if ending > 1:
                os._exit(128 + number)


def _leave_after(seconds: float, code: int) -> None:
    time.sleep(seconds)
    os._exit(code)


def _second(number: int, _frame: object) -> None:
    os._exit(128 + number)


def leave(number: int) -> NoReturn:
    """Exit with the shell's code for a program that ended by a signal; SIGHUP counts as SIGTERM."""
    if number == signal.SIGINT and sys.stderr.isatty():
        sys.stderr.write("\n")
    exit_now(exit_codes.INTERRUPTED if number == signal.SIGINT else exit_codes.TERMINATED)


def exit_now(code: int) -> NoReturn:
    """Flush the output and exit, without waiting for anything else."""
    _drop_output()
    os._exit(code)


def leave_quietly() -> NoReturn:
    """Exit as after SIGPIPE: the reader has closed the pipe."""
    _drop_output()
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    os._exit(1)


def _drop_output() -> None:
    """Flush the output; write errors were reported when they occurred."""
    with suppress(OutputFailed, ReaderGone):
        sys.stdout.flush()
    sys.stderr.flush()
