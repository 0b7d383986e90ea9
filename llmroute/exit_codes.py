"""What the exit codes of the command line mean: the one place that says so."""

from __future__ import annotations

from typing import Final

OK: Final = 0
BUG: Final = 1
USAGE: Final = 2
NEEDS_A_PERSON: Final = 3
TRY_LATER: Final = 4
BUDGET: Final = 5
INCOMPLETE: Final = 6
DEADLINE: Final = 7
INTERRUPTED: Final = 130
TERMINATED: Final = 143

MEANINGS: Final = {
    OK: "ok",
    BUG: "a bug",
    USAGE: "usage, or a request that no model can serve",
    NEEDS_A_PERSON: "needs a person: provider, key, credit, model, ledger, or output that cannot be written",
    TRY_LATER: "every provider failed, try later",
    BUDGET: "budget, or its ledger cannot be written; nothing was sent",
    INCOMPLETE: "an incomplete or refused answer",
    DEADLINE: "the deadline (--timeout)",
    INTERRUPTED: "SIGINT",
    TERMINATED: "SIGTERM or SIGHUP",
}
