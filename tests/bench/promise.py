"""What a bench returns: what is promised, beside what it was measured, and whether it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.bench.process import Took


@dataclass(frozen=True)
class Promise:
    """One line of the table.  `measured` None means that it could not be measured; `note` says why, or tells more.

    `unit` is empty for a ratio of `what` to `beside`.
    """

    what: str
    beside: str
    reach: float
    measured: float | None
    unit: str = ""
    at_least: bool = False
    note: str = ""

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; None where it could not be measured."""
        if self.measured is None:
            return None
        return self.measured >= self.reach if self.at_least else self.measured <= self.reach

    def cells(self) -> tuple[str, ...]:
        """Return what, beside, reach, measured, verdict and note as the table shows them."""
        unit = f" {self.unit}" if self.unit else ""
        measured = "-" if self.measured is None else f"{self.measured:.3g}{unit}"
        verdict = {None: "skipped", True: "yes", False: "NO"}[self.kept]
        return (
            self.what,
            self.beside,
            f"{'>=' if self.at_least else '<='} {self.reach:g}{unit}",
            measured,
            verdict,
            self.note,
        )


@dataclass
class Measured:
    """What one bench found: its promises, what else there is to be read, and every figure for a program."""

    promises: list[Promise] = field(default_factory=list)
    details: str = ""
    figures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, took: Mapping[str, Took]) -> None:
        """Keep what processes took among the figures."""
        self.figures.append({name: one._asdict() for name, one in took.items()})


def table(promises: list[Promise]) -> str:
    """Return the promises as aligned text."""
    rows = [("what", "beside", "reach", "measured", "kept", ""), *(promise.cells() for promise in promises)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)
