"""The benches run, and what they measure is what the program does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.util import find_spec
from statistics import mean
from typing import TYPE_CHECKING

import pytest

from llmroute.ledger.sqlite.maintenance.integrity import check
from tests.bench import bare, batch, call, faults, generate, ledgers, peers, scale, settled, start
from tests.bench.__main__ import BENCHES, main
from tests.bench.latency import CHOOSERS, DAY_S, SLOW_S, SLOWER, Learned, excesses, floor, world
from tests.bench.process import Command
from tests.bench.promise import Promise, table
from tests.support.model_server import ModelServer
from tests.support.shell import environment, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.promise import Measured


def test_the_benches_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in BENCHES)


def test_a_bench_prints_its_table_and_its_figures_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "1"]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    assert any("plan over 2000 models" in line for line in table)
    told = json.loads(last)
    assert [row["candidates"] for row in told["figures"]["plan"]] == [100, 2000]
    assert [(row["bench"], row["reach"]) for row in told["promises"]] == [("plan", 1.0), ("plan", 10.0)]
    assert {"date", "python", "cores"} <= set(told)


@pytest.fixture
def no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no peer be installed."""

    def nowhere(package: str, _folder: Path) -> Path:
        raise peers.MissingError(f"{package} could not be installed: no registry")

    monkeypatch.setattr(peers, "install", nowhere)


def test_a_promise_is_kept_broken_or_could_not_be_measured() -> None:
    assert [Promise("a", "b", 2, measured).kept for measured in (1.9, 2.1, None)] == [True, False, None]
    assert [Promise("a", "b", 2, measured, at_least=True).kept for measured in (1.9, 2.1)] == [False, True]
    shown = table([Promise("a", "b", 2, 2.04, "ms"), Promise("c", "d", 5, None, at_least=True, note="no registry")])
    assert shown.splitlines()[1:] == [
        "a     b       <= 2 ms  2.04 ms   NO",
        "c     d       >= 5     -         skipped  no registry",
    ]


def check_took(found: Measured, *names: str) -> None:
    """Check that these processes ran, and that what they took can be."""
    took = {name: one for row in found.figures for name, one in row.items()}
    assert {*names} <= took.keys()
    for one in took.values():
        assert 0 < one["first_byte_s"] <= one["wall_s"]
        assert 0 < one["cpu_s"] < 60
        assert 5e6 < one["peak_bytes"] < 5e8


@pytest.mark.usefixtures("no_registry")
def test_a_call_is_measured_beside_both_bare_scripts_and_a_peer_that_is_missing_is_told() -> None:
    found = call.measure(repeats=1, chunks=50)
    assert [(promise.what.partition(",")[0], promise.beside, promise.reach) for promise in found.promises] == [
        ("gen", "bare httpx script without httpx._main", 1.05),
        ("gen", "bare httpx script", 0.85),
        ("stream", "bare httpx script without httpx._main", 1.10),
        ("gen", "bare httpx script without httpx._main", 1.15),
        ("gen", "python + typer + httpx + sqlite3, one request", 45),
        ("gen", "llm --no-stream", 0.25),
        ("stream of 50 chunks", "httpx iter_raw + json", 1.5),
    ]
    skipped = [promise for promise in found.promises if promise.measured is None]
    assert [promise.note for promise in skipped] == ["llm could not be installed: no registry"]
    check_took(found, "gen", "stream", "plain gen", "lean gen", "lean stream", "floor", "stream all", "bare raw")


def test_a_home_of_years_is_measured_beside_a_new_one() -> None:
    found = settled.measure(repeats=1, rows=100)
    assert [promise.reach for promise in found.promises] == [1.15]
    check_took(found, "settled gen", "gen")


def test_what_calls_nothing_is_measured_beside_an_interpreter() -> None:
    found = start.measure(repeats=1)
    assert [promise.what.partition(",")[0] for promise in found.promises] == ["--help", "--version", "TAB"]
    check_took(found, "--help", "typer", "nothing")


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


@pytest.mark.parametrize(("imports", "loads"), [(bare.PLAIN, True), (bare.LEAN, False)])
def test_only_the_plain_script_imports_the_command_line_of_httpx(imports: str, loads: bool, tmp_path: Path) -> None:
    tell = "import sys\nprint(sys.modules.get('httpx._main') is not None, 'rich' in sys.modules)"
    assert python(imports + tell, tmp_path) == f"{loads} {loads}\n"


def test_bare_scripts_send_what_llmroute_sends_and_print_what_it_prints(tmp_path: Path) -> None:
    file = bare.prompts(tmp_path, 3)
    with ModelServer() as server:
        settings = server.settings
        for ours, script in (
            (("gen", *call.ONE_MODEL), bare.PLAIN + bare.GEN),
            (("gen", *call.ONE_MODEL), bare.FLOOR),
            (("stream", *call.ONE_MODEL), bare.LEAN + bare.STREAM),
        ):
            assert run(*ours, home=tmp_path, **settings).out == python(script, tmp_path, **settings)
            assert server.requests[-2] == server.requests[-1]
        told = python(bare.LEAN + bare.RAW_STREAM, tmp_path, **settings)
        assert (told, server.requests[-1]) == ("", server.requests[-2])
        server.requests.clear()
        bulk = ("gen", "--batch", str(file), "-m", "openai/gpt-4o", "--no-fallback", "-q", "--jobs", "2")
        answers = run(*bulk, home=tmp_path, **settings).out
        told = python(bare.TASKS, tmp_path, str(file), "2", **settings)
        generated = python(generate.GENERATE, tmp_path, str(file), "2", **settings, **generate.OTHERS)
    assert [json.loads(line)["content"] for line in answers.splitlines()] == ["one two three"] * 3
    assert told == generated == '{"content": "one two three"}\n' * 3
    sent = [sorted(json.dumps(body) for body in server.requests[first : first + 3]) for first in (0, 3, 6)]
    assert sent[0] == sent[1] == sent[2]


def test_bare_tasks_keep_their_connections(tmp_path: Path) -> None:
    file = bare.prompts(tmp_path, 40)
    with ModelServer() as server:
        python(bare.TASKS, tmp_path, str(file), "4", **server.settings)
        assert (len(server.requests), server.connections) == (40, 4)


def test_a_process_that_fails_is_no_measurement(tmp_path: Path) -> None:
    failing = Command((sys.executable, "-c", "raise SystemExit('it said why')"), tmp_path, {})
    with pytest.raises(RuntimeError, match="ended with 1: it said why"):
        failing.run()


def test_a_made_ledger_is_one_that_the_program_kept(tmp_path: Path) -> None:
    ledgers.fill(tmp_path / "ledger.db", 1000)
    report = check(tmp_path / "ledger.db", time.time_ns() // 10**6)
    assert report.sound, report.faults
    assert report.attempts == 1000


def test_a_batch_through_faults_and_kills_keeps_every_promise() -> None:
    found = faults.measure(prompts=80, kills=3, calls=24)
    assert [promise.kept for promise in found.promises] == [True] * 12, found.promises


@pytest.mark.usefixtures("no_registry")
def test_a_batch_is_measured_beside_bare_clients_and_a_peer_that_is_missing_is_told() -> None:
    found = batch.measure(prompts=20, few=5, many=10, repeats=1)
    missing = find_spec("httpx_aiohttp") is None
    assert [(promise.reach, promise.measured is None) for promise in found.promises] == [
        (0.95, False),
        (2.0, missing),
        (5.0, True),
        (1.2, False),
    ]
    check_took(found, "batch", "bare tasks", *(() if missing else ("batch on aiohttp", "more bare tasks")))


@pytest.mark.usefixtures("no_registry")
def test_without_the_aiohttp_transport_what_needs_it_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)
    (skipped,) = [one for one in batch.measure(20, 5, 10, 1).promises if one.reach == 2.0]
    assert (skipped.measured, skipped.note) == (None, "httpx-aiohttp is not installed")


def test_each_call_of_the_library_is_measured_beside_a_raw_request() -> None:
    found = generate.measure(few=20, many=220, jobs=4, repeats=1)
    (promise,) = found.promises
    assert promise.reach == 1.5
    assert promise.measured is not None
    assert promise.measured > 0
    check_took(found, "generate 20", "generate 220", "raw 20", "raw 220")


def test_a_ledger_of_years_is_measured_beside_a_young_one() -> None:
    found = scale.measure(rows=2_000, repeats=1, writes=2)
    assert [promise.reach for promise in found.promises] == [1.3, 1.3, 0.5]
    assert all(promise.measured is not None and promise.measured > 0 for promise in found.promises)
    assert "2,000 attempts" in found.details


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
