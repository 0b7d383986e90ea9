"""A batch in jobs takes no memory for each line."""

from __future__ import annotations

from tests.bench.jobs import run_lines

FEW = 400
PROMPT = "A prompt of a few kilobytes. " * 100


def test_ten_times_as_many_lines_over_four_providers_take_no_more_memory() -> None:
    small, large = run_lines(FEW, PROMPT), run_lines(10 * FEW, PROMPT)
    # The lines of a group that is reserved or settled at once are held: the small batch has less than a group.
    assert large.peak_bytes - small.peak_bytes < 1.5 * 9 * FEW * len(PROMPT), large.compare_peak(small)
