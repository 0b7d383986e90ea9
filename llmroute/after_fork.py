"""What a forked child must not share with its parent: connections, locks that a thread may hold, pools of threads."""

from __future__ import annotations

import os
from typing import Any, Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """Holds something that is one process's own."""

    def start_anew(self) -> None:
        """Begin with nothing open, in a child just forked; what the parent has open is neither used nor closed."""


_owners: WeakSet[Forkable] = WeakSet()
# What a parent has open must not be closed by the child's garbage collection, which would tell the other side.
_inherited: list[Any] = []


def start_anew_in_children(owner: Forkable) -> None:
    """Have an owner start anew in every child that is forked while it lives."""
    _owners.add(owner)


def leave_to_parent(*inherited: Any) -> None:
    """Keep what belongs to the parent as it is until the child ends."""
    _inherited.extend(inherited)


def _in_child() -> None:
    for owner in [*_owners]:
        owner.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
