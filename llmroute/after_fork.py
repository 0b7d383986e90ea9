"""What a forked child must not share with its parent: connections, locks that a thread may hold, pools of threads."""

from __future__ import annotations

import os
from typing import Any, Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """Holds something that is one process's own."""

    def start_anew(self) -> None:
        """Begin with nothing open, in a child just forked; what the parent has open is neither used nor closed."""


class Holdable(Forkable, Protocol):
    """Must be at rest while a process is forked."""

    def hold(self) -> None:
        """Wait until nothing is under way, and let nothing begin."""

    def release(self) -> None:
        """Let what waits go on, in the parent."""


_owners: WeakSet[Forkable] = WeakSet()
_held: WeakSet[Holdable] = WeakSet()
_holding: list[Holdable] = []
# What a parent has open must not be closed by the child's garbage collection, which would tell the other side.
_inherited: list[Any] = []


def start_anew_in_children(owner: Forkable) -> None:
    """Have an owner start anew in every child that is forked while it lives."""
    _owners.add(owner)


def hold_while_forking(owner: Holdable) -> None:
    """Have an owner at rest whenever this process is forked, and start anew in the child."""
    _held.add(owner)
    start_anew_in_children(owner)


def leave_to_parent(*inherited: Any) -> None:
    """Keep what belongs to the parent as it is until the child ends."""
    _inherited.extend(inherited)


def _before() -> None:
    for owner in [*_held]:
        owner.hold()
        _holding.append(owner)


def _in_parent() -> None:
    while _holding:
        _holding.pop().release()


def _in_child() -> None:
    _holding.clear()
    for owner in [*_owners]:
        owner.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
