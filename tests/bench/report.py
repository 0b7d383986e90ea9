"""The result of a benchmark: measurements with their targets, details and raw figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.bench.process import ProcessUsage


@dataclass(frozen=True)
class Measurement:
    """One row of the table.  `measured` is None if it was skipped; `note` gives the reason or details.

    `unit` is empty for a ratio of `what` to `baseline`.
    """

    what: str
    baseline: str
    target: float
    measured: float | None
    unit: str = ""
    at_least: bool = False
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the target is met; None if the measurement was skipped."""
        if self.measured is None:
            return None
        return self.measured >= self.target if self.at_least else self.measured <= self.target

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the row: what, baseline, target, measured, passed and note."""
        unit = f" {self.unit}" if self.unit else ""
        measured = "-" if self.measured is None else f"{self.measured:.3g}{unit}"
        verdict = {None: "skipped", True: "yes", False: "NO"}[self.passed]
        return (
            self.what,
            self.baseline,
            f"{'>=' if self.at_least else '<='} {self.target:g}{unit}",
            measured,
            verdict,
            self.note,
        )


@dataclass
class BenchResult:
    """The measurements of one benchmark, further text for people, and every figure for programs."""

    measurements: list[Measurement] = field(default_factory=list)
    details: str = ""
    figures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, usage: Mapping[str, ProcessUsage]) -> None:
        """Add the usage of processes to the figures."""
        self.figures.append({name: one._asdict() for name, one in usage.items()})


def table(measurements: list[Measurement]) -> str:
    """Return the measurements as an aligned table."""
    rows = [
        ("measurement", "baseline", "target", "measured", "passed", ""),
        *(measurement.cells() for measurement in measurements),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)
