"""Fork safety: connections, locks and thread pools are not shared with a forked child process."""

from __future__ import annotations

import os
from typing import Any, Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """Holds resources of a single process."""

    def start_anew(self) -> None:
        """Reset, in a child just forked, without using or closing the parent's resources."""


class Holdable(Forkable, Protocol):
    """Must be idle while the process forks."""

    def hold(self) -> None:
        """Wait until no operation is running, and block new ones."""

    def release(self) -> None:
        """Unblock operations, in the parent."""


_owners: WeakSet[Forkable] = WeakSet()
_held: WeakSet[Holdable] = WeakSet()
_holding: list[Holdable] = []
# The child's garbage collection must not close the parent's connections: the peer would see it.
_inherited: list[Any] = []


def start_anew_in_children(owner: Forkable) -> None:
    """Call `owner.start_anew()` in each child that is forked while the owner exists."""
    _owners.add(owner)


def hold_while_forking(owner: Holdable) -> None:
    """Call `owner.hold()` before and `owner.release()` after each fork, and `start_anew()` in the child."""
    _held.add(owner)
    start_anew_in_children(owner)


def leave_to_parent(*inherited: Any) -> None:
    """Keep references to resources of the parent until the child exits, so that they are not closed."""
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
