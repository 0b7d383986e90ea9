"""Exit codes of the command line and their meanings; that of an error is in its class (`errors`)."""

from __future__ import annotations

from typing import Final

OK: Final = 0
BUG: Final = 1
USAGE: Final = 2
SETUP: Final = 3
TRY_LATER: Final = 4
BUDGET: Final = 5
INCOMPLETE: Final = 6
DEADLINE: Final = 7
INTERRUPTED: Final = 130
TERMINATED: Final = 143

MEANINGS: Final = {
    OK: "ok",
    BUG: "internal error",
    USAGE: "invalid usage, or a request that no model can serve",
    SETUP: "configuration or account problem: key, credit, model, provider, ledger, or output file",
    TRY_LATER: "all providers failed",
    BUDGET: "budget exceeded, or the ledger cannot be written",
    INCOMPLETE: "incomplete or refused answer",
    DEADLINE: "deadline exceeded (--timeout)",
    INTERRUPTED: "SIGINT",
    TERMINATED: "SIGTERM or SIGHUP",
}
