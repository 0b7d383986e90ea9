"""Benchmarks run, and their baselines send the same requests as llmroute."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from statistics import mean
from typing import TYPE_CHECKING

import pytest

from tests.bench import baselines, batch, call, faults, generate, jobs, scale, settled, start, third_party
from tests.bench.__main__ import BENCHES, main
from tests.bench.latency import CHOOSERS, DAY_S, SLOW_S, SLOWER, Learned, excesses, floor, world
from tests.bench.process import Command
from tests.bench.report import Measurement, table
from tests.support.model_server import ModelServer
from tests.support.shell import environment, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.report import BenchResult


def test_the_help_lists_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in BENCHES)


def test_a_benchmark_prints_its_table_and_its_figures_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "1"]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    assert any("plan over 2000 models" in line for line in table)
    told = json.loads(last)
    assert [row["candidates"] for row in told["figures"]["plan"]] == [100, 2000]
    assert [(row["bench"], row["target"]) for row in told["measurements"]] == [("plan", 1.0), ("plan", 10.0)]
    assert {"date", "python", "cores"} <= set(told)


@pytest.fixture
def no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no package be installed."""

    def nowhere(package: str, _folder: Path) -> Path:
        raise third_party.NotInstalledError(f"{package} could not be installed: no registry")

    monkeypatch.setattr(third_party, "install", nowhere)


def test_a_measurement_passes_fails_or_is_skipped() -> None:
    assert [Measurement("a", "b", 2, measured).passed for measured in (1.9, 2.1, None)] == [True, False, None]
    assert [Measurement("a", "b", 2, measured, at_least=True).passed for measured in (1.9, 2.1)] == [False, True]
    shown = table(
        [Measurement("a", "b", 2, 2.04, "ms"), Measurement("c", "d", 5, None, at_least=True, note="no registry")]
    )
    assert shown.splitlines()[1:] == [
        "a            b         <= 2 ms  2.04 ms   NO",
        "c            d         >= 5     -         skipped  no registry",
    ]


def check_usage(found: BenchResult, *names: str) -> None:
    """Check that these processes ran, and that their usage is plausible."""
    usage = {name: one for row in found.figures for name, one in row.items()}
    assert {*names} <= usage.keys()
    for one in usage.values():
        assert 0 < one["first_byte_s"] <= one["wall_s"]
        assert 0 < one["cpu_s"] < 60
        assert 5e6 < one["peak_bytes"] < 5e8


@pytest.mark.usefixtures("no_registry")
def test_a_call_is_compared_with_both_scripts_and_a_missing_package_is_reported() -> None:
    found = call.measure(repeats=1, chunks=50)
    assert [
        (measurement.what.partition(",")[0], measurement.baseline, measurement.target)
        for measurement in found.measurements
    ] == [
        ("gen", "plain httpx script without httpx._main", 1.05),
        ("gen", "plain httpx script", 0.85),
        ("stream", "plain httpx script without httpx._main", 1.10),
        ("gen", "plain httpx script without httpx._main", 1.15),
        ("gen", "python + typer + httpx + sqlite3, one request", 45),
        ("gen", "llm --no-stream", 0.25),
        ("stream of 50 chunks", "httpx iter_raw + json", 1.5),
    ]
    skipped = [measurement for measurement in found.measurements if measurement.measured is None]
    assert [measurement.note for measurement in skipped] == ["llm could not be installed: no registry"]
    check_usage(found, "gen", "stream", "plain gen", "lean gen", "lean stream", "floor", "stream all", "bare raw")


def test_a_large_ledger_is_compared_with_a_new_home() -> None:
    found = settled.measure(repeats=1, rows=100)
    assert [measurement.target for measurement in found.measurements] == [1.15]
    check_usage(found, "settled gen", "gen")


def test_commands_without_a_call_are_compared_with_an_interpreter() -> None:
    found = start.measure(repeats=1)
    assert [measurement.what.partition(",")[0] for measurement in found.measurements] == ["--help", "--version", "TAB"]
    check_usage(found, "--help", "typer", "nothing")


def python(script: str, home: Path, *arguments: str, **settings: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environment(home, **settings),
        cwd=home,
        capture_output=True,
        timeout=60,
        check=True,
        text=True,
    )
    return ended.stdout


@pytest.mark.parametrize(("imports", "loads"), [(baselines.PLAIN, True), (baselines.LEAN, False)])
def test_only_the_plain_script_imports_the_command_line_of_httpx(imports: str, loads: bool, tmp_path: Path) -> None:
    tell = "import sys\nprint(sys.modules.get('httpx._main') is not None, 'rich' in sys.modules)"
    assert python(imports + tell, tmp_path) == f"{loads} {loads}\n"


def test_bare_scripts_send_what_llmroute_sends_and_print_what_it_prints(tmp_path: Path) -> None:
    file = baselines.prompts(tmp_path, 3)
    with ModelServer() as server:
        settings = server.settings
        for ours, script in (
            (("gen", *call.ONE_MODEL), baselines.PLAIN + baselines.GEN),
            (("gen", *call.ONE_MODEL), baselines.FLOOR),
            (("stream", *call.ONE_MODEL), baselines.LEAN + baselines.STREAM),
        ):
            assert run(*ours, home=tmp_path, **settings).out == python(script, tmp_path, **settings)
            assert server.requests[-2] == server.requests[-1]
        told = python(baselines.LEAN + baselines.RAW_STREAM, tmp_path, **settings)
        assert (told, server.requests[-1]) == ("", server.requests[-2])
        server.requests.clear()
        bulk = ("gen", "--batch", str(file), "-m", "openai/gpt-4o", "--no-fallback", "-q", "--jobs", "2")
        answers = run(*bulk, home=tmp_path, **settings).out
        told = python(baselines.TASKS, tmp_path, str(file), "2", **settings)
        generated = python(generate.GENERATE, tmp_path, str(file), "2", **settings, **generate.OTHERS)
    assert [json.loads(line)["content"] for line in answers.splitlines()] == ["one two three"] * 3
    assert told == generated == '{"content": "one two three"}\n' * 3
    sent = [sorted(json.dumps(body) for body in server.requests[first : first + 3]) for first in (0, 3, 6)]
    assert sent[0] == sent[1] == sent[2]


def test_baseline_tasks_reuse_their_connections(tmp_path: Path) -> None:
    file = baselines.prompts(tmp_path, 40)
    with ModelServer() as server:
        python(baselines.TASKS, tmp_path, str(file), "4", **server.settings)
        assert (len(server.requests), server.connections) == (40, 4)


def test_a_process_that_fails_is_an_error(tmp_path: Path) -> None:
    failing = Command((sys.executable, "-c", "raise SystemExit('it said why')"), tmp_path, {})
    with pytest.raises(RuntimeError, match="ended with 1: it said why"):
        failing.run()


def test_a_batch_through_faults_and_kills_meets_every_target() -> None:
    found = faults.measure(prompts=80, kills=3, calls=24)
    assert [measurement.passed for measurement in found.measurements] == [True] * 12, found.measurements


@pytest.mark.usefixtures("no_registry")
def test_a_batch_is_compared_with_plain_clients_and_a_missing_package_is_reported() -> None:
    found = batch.measure(prompts=20, few=5, many=10, repeats=1)
    missing = find_spec("httpx_aiohttp") is None
    assert [(measurement.target, measurement.measured is None) for measurement in found.measurements] == [
        (0.95, False),
        (2.0, missing),
        (5.0, True),
        (1.2, False),
    ]
    check_usage(found, "batch", "bare tasks", *(() if missing else ("batch on aiohttp", "more bare tasks")))


@pytest.mark.usefixtures("no_registry")
def test_without_the_aiohttp_transport_its_measurement_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)
    (skipped,) = [one for one in batch.measure(20, 5, 10, 1).measurements if one.target == 2.0]
    assert (skipped.measured, skipped.note) == (None, "httpx-aiohttp is not installed")


def test_many_lines_in_batch_jobs_are_compared_with_few() -> None:
    found = jobs.measure(few=4, many=12)
    assert [(one.unit, one.target, one.measured is None) for one in found.measurements] == [
        ("", 1.2, False),
        ("ms", 2.0, False),
    ]
    check_usage(found, "jobs of 4 lines", "jobs of 12 lines")


def test_a_library_call_is_compared_with_a_plain_request() -> None:
    found = generate.measure(few=20, many=220, jobs=4, repeats=1)
    (measurement,) = found.measurements
    assert measurement.target == 1.5
    assert measurement.measured is not None
    assert measurement.measured > 0
    check_usage(found, "generate 20", "generate 220", "raw 20", "raw 220")


def test_a_large_ledger_is_compared_with_a_small_one() -> None:
    found = scale.measure(rows=2_000, repeats=1, writes=2)
    assert [measurement.target for measurement in found.measurements] == [1.3, 1.3, 0.5]
    assert all(measurement.measured is not None and measurement.measured > 0 for measurement in found.measurements)
    assert "2,000 attempts" in found.details


@pytest.mark.parametrize(("every_s", "share"), [(300, 0.4), (1800, 0.75)])
def test_learned_latencies_beat_both_baselines_by_far_and_never_the_oracle(every_s: int, share: float) -> None:
    found = dict(zip(CHOOSERS, zip(*(excesses(3, every_s, seed) for seed in range(40)), strict=True), strict=True))
    ours = found.pop("llmroute")
    assert mean(ours) > mean(floor(3, every_s, seed) for seed in range(40)) > 0
    assert min(ours) >= 0
    for values in found.values():
        assert mean(ours) < share * mean(values)


def test_a_world_is_as_described_and_deterministic() -> None:
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


def test_learned_latencies_choose_the_faster_model() -> None:
    chooser = Learned(2)
    for now_s in range(0, 3000, 30):
        chosen = chooser.choose(now_s)
        chooser.learn(chosen, (2.0, 1.0)[chosen], now_s)
    assert chooser.choose(3000) == 1
