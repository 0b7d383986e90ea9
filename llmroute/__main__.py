"""Entry point of `python -m llmroute` and of the installed command."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# A short run allocates fewer objects than this and keeps nearly all; the default of 700 makes 60 collections of them.
GARBAGE_AFTER = 100_000
# A copy of `exit_codes.INTERRUPTED`: an interrupt may come during its import.
INTERRUPTED = 130


def run() -> NoReturn:
    """Run the command line and exit without garbage collection or interpreter shutdown.

    This saves a fifth of the CPU time of a call; open files and connections are closed before.
    """
    try:
        _leave_on_interrupt()
        import gc

        gc.set_threshold(GARBAGE_AFTER)
        from llmroute.cli import main
        from llmroute.cli.signals import Interrupted, exit_now, leave

        try:
            try:
                main()
            except SystemExit as ended:
                exit_now(int(ended.code or 0))
        except Interrupted as interruption:
            leave(interruption.number)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)


def _leave_on_interrupt() -> None:
    """Exit on SIGINT until `main` handles signals; an import may turn KeyboardInterrupt into another exception."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))


if __name__ == "__main__":
    run()
