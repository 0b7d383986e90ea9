"""Corrections of costs: the attempt that a user names, and the costs before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Row ids are shorter than ids of requests, which have twenty-eight digits.
_LONGEST_ROW_ID = 18


class AttemptName(NamedTuple):
    """How an attempt is named: by `row_id`, or by its request, of several attempts with the number of one."""

    row_id: int | None
    request_id: str
    attempt: str


class Correction(NamedTuple):
    """An attempt with its old cost (None if unknown) and its new one, in pico-USD.

    `was_fact` says that the old cost was computed from the usage that the provider reported.
    """

    row_id: int
    request_id: str
    attempt: int
    provider: str
    model: str
    old_picousd: int | None
    new_picousd: int
    was_fact: bool


class FoundAttempt(NamedTuple):
    """An attempt that has the name; `was_fact` is as in `Correction`."""

    row_id: int
    request_id: str
    attempt: int
    provider: str
    model: str
    status: str
    old_picousd: int | None
    was_fact: bool

    def corrected(self, new_picousd: int) -> Correction:
        """Return the correction of its cost."""
        fact = bool(self.was_fact and self.old_picousd is not None)
        return Correction(*self[:5], self.old_picousd, new_picousd, fact)


def name_of(named: str) -> AttemptName:
    """Parse the row id of an attempt, or the id of its request, with `/2` for the second of several attempts."""
    request_id, _, number = named.partition("/")
    if not number and named.isascii() and named.isdecimal() and len(named) <= _LONGEST_ROW_ID:
        return AttemptName(int(named), "", "")
    return AttemptName(None, request_id, number)


def only_one(named: str, found: Sequence[FoundAttempt]) -> FoundAttempt:
    """Return the one attempt that was found by a name, in order of their numbers.

    Raises:
        RequestError: there is none, it is pending, or there are several.
    """
    if not found:
        raise RequestError(
            f"there is no attempt {named!r} in the ledger", hint="llmroute costs calls lists attempts with their ids"
        )
    if len(found) > 1:
        raise RequestError(
            f"request {found[0].request_id} has {len(found)} attempts",
            hint=f"name one of them, as in {found[0].request_id}/{found[0].attempt}",
        )
    if found[0].status == "pending":
        raise RequestError(f"attempt {named} is still pending", hint="correct it after it has ended")
    return found[0]
