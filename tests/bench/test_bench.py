"""The benches run, and what they measure is what the program does."""

from __future__ import annotations

import json
from statistics import mean
from typing import TYPE_CHECKING

import pytest

from tests.bench.__main__ import BENCHES, main
from tests.bench.latency import CHOOSERS, DAY_S, SLOW_S, SLOWER, Learned, excesses, floor, world

if TYPE_CHECKING:
    from pathlib import Path


def test_the_benches_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(BENCHES)


def test_a_bench_prints_its_table_and_writes_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "1", "--json", str(tmp_path / "plan.json")]) == 0
    assert "2000 candidates" in capsys.readouterr().out
    told = json.loads((tmp_path / "plan.json").read_text())
    assert [row["candidates"] for row in told["figures"]] == [100, 2000]
    assert {"date", "python", "cores"} <= set(told)


@pytest.mark.parametrize(("every_s", "share"), [(300, 0.4), (1800, 0.75)])
def test_what_is_learned_beats_both_baselines_by_far_and_never_the_oracle(every_s: int, share: float) -> None:
    found = dict(zip(CHOOSERS, zip(*(excesses(3, every_s, seed) for seed in range(40)), strict=True), strict=True))
    ours = found.pop("llmroute")
    assert mean(ours) > mean(floor(3, every_s, seed) for seed in range(40)) > 0
    assert min(ours) >= 0
    for values in found.values():
        assert mean(ours) < share * mean(values)


def test_a_world_is_as_it_is_described_and_the_same_each_time() -> None:
    for seed in range(50):
        here = world(3, seed)
        assert here == world(3, seed)
        assert 3 <= len(here.sigmas) <= 6
        assert all(0.3 <= sigma <= 0.7 for sigma in here.sigmas)
        assert max(here.medians[0]) <= 3 * min(here.medians[0])
        best = [who for who, _ in here.slow]
        assert best[0] != best[1] == best[2] == best[3], "another becomes the best on the second day"
        for day, (who, since) in enumerate(here.slow):
            assert day * DAY_S <= since <= since + SLOW_S <= (day + 1) * DAY_S
            calm = here.means(since - 1 if since - 1 >= day * DAY_S else since + SLOW_S)
            assert here.means(since)[who] == pytest.approx(calm[who] * SLOWER)


def test_what_is_learned_comes_from_the_program_and_keeps_to_the_faster() -> None:
    chooser = Learned(2)
    for now_s in range(0, 3000, 30):
        chosen = chooser.choose(now_s)
        chooser.learn(chosen, (2.0, 1.0)[chosen], now_s)
    assert chooser.choose(3000) == 1
