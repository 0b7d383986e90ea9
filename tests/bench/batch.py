"""Batches: throughput compared with plain httpx clients and litellm, and peak memory of many lines."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import baselines, third_party
from tests.bench.process import LLMROUTE, WITHOUT_AIOHTTP, Command, ProcessUsage, run_interleaved
from tests.bench.report import BenchResult, Measurement
from tests.bench.server import serving

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROMPTS = 5_000
JOBS = 64
MORE_JOBS = 256
REPEATS = 5
LINES = (1_000, 100_000)
BARE = "plain httpx.AsyncClient, no ledger"
INSTALLED = (LLMROUTE,)
WITHOUT_AIOHTTP_TRANSPORT = (sys.executable, "-c", WITHOUT_AIOHTTP + "from llmroute.__main__ import run\nrun()\n")
LITELLM = """
import asyncio, json, os, sys
import litellm
prompts = [json.loads(line)["prompt"] for line in open(sys.argv[1])]
jobs = asyncio.Semaphore(int(sys.argv[2]))
key = os.environ["OPENAI_API_KEY"]
litellm.suppress_debug_info = True

async def ask(prompt):
    async with jobs:
        answer = await litellm.acompletion(
            model="openai/gpt-4o", messages=[{"role": "user", "content": prompt}], api_key=key,
            api_base=os.environ["OPENAI_BASE_URL"],
        )
        return answer.choices[0].message.content

async def main():
    for answer in await asyncio.gather(*(ask(prompt) for prompt in prompts)):
        print(json.dumps({"content": answer}))

asyncio.run(main())
"""


def measure(prompts: int = PROMPTS, few: int = LINES[0], many: int = LINES[1], repeats: int = REPEATS) -> BenchResult:
    """Compare a batch of `prompts` prompts with the baselines, then the memory of `few` and of `many` lines."""
    found = BenchResult()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = stack.enter_context(serving())
        file = baselines.prompts(folder, prompts)
        found.measurements += [
            _compare_httpx(found, folder, settings, file, repeats),
            _compare_on_aiohttp(found, folder, settings, file, repeats),
            _compare_litellm(found, _batch(folder, settings, file), file, min(repeats, 3)),
            _memory(found, folder, settings, few, many),
        ]
    return found


def _batch(
    folder: Path,
    settings: Mapping[str, str],
    file: Path,
    *flags: str,
    jobs: int = JOBS,
    program: Sequence[str] = INSTALLED,
) -> Command:
    own = {**settings, "LLMROUTE_CONFIG_DIR": str(folder / "config")}
    command = ("gen", "--batch", str(file), "--jobs", str(jobs), "-m", "openai/gpt-4o", "--no-fallback", "-q")
    return Command((*program, *command, *flags), folder, own)


def _tasks(folder: Path, settings: Mapping[str, str], file: Path, jobs: int) -> Command:
    return Command((sys.executable, "-c", baselines.TASKS, str(file), str(jobs)), folder, settings)


def _compare_httpx(
    found: BenchResult, folder: Path, settings: Mapping[str, str], file: Path, repeats: int
) -> Measurement:
    """Measure both on httpx's own transport, even if the aiohttp transport is installed."""
    batch = _batch(folder, settings, file, program=WITHOUT_AIOHTTP_TRANSPORT)
    usage = run_interleaved({"batch": batch, "bare tasks": _tasks(folder, settings, file, JOBS)}, repeats)
    found.add(usage)
    return _throughput(file, JOBS, BARE, 0.95, tuple(usage.values()))


def _compare_on_aiohttp(
    found: BenchResult, folder: Path, settings: Mapping[str, str], file: Path, repeats: int
) -> Measurement:
    """Measure llmroute on the aiohttp transport, which it uses if installed, and httpx on its own."""
    baseline, target = f"{BARE}, without aiohttp", 2.0
    if find_spec("httpx_aiohttp") is None:
        return replace(_throughput(file, MORE_JOBS, baseline, target), note="httpx-aiohttp is not installed")
    batch = _batch(folder, settings, file, jobs=MORE_JOBS)
    usage = run_interleaved(
        {"batch on aiohttp": batch, "more bare tasks": _tasks(folder, settings, file, MORE_JOBS)}, repeats
    )
    found.add(usage)
    return _throughput(file, MORE_JOBS, baseline, target, tuple(usage.values()))


def _compare_litellm(found: BenchResult, batch: Command, file: Path, repeats: int) -> Measurement:
    """Compare with litellm, with its local price map, so that nothing leaves the machine."""
    baseline, target = "litellm acompletion", 5.0
    try:
        programs = third_party.install("litellm", batch.home)
    except third_party.NotInstalledError as error:
        return replace(_throughput(file, JOBS, baseline, target), note=str(error))
    arguments = (str(programs / "python"), "-c", LITELLM, str(file), str(JOBS))
    own = {**batch.settings, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    usage = run_interleaved({"batch": batch, "litellm": Command(arguments, batch.home, own)}, repeats)
    found.add(usage)
    return _throughput(file, JOBS, baseline, target, tuple(usage.values()))


def _throughput(
    file: Path, jobs: int, baseline: str, target: float, usage: tuple[ProcessUsage, ...] = ()
) -> Measurement:
    """Return the ratio of the throughputs; `usage` is ours and theirs, empty if it was not measured."""
    count = file.read_bytes().count(b"\n")
    what = f"batch of {count:,}, {jobs} at once, throughput"
    if not usage:
        return Measurement(what, baseline, target, None, at_least=True)
    ours, theirs = usage
    note = f"{count / ours.wall_s:,.0f}/s and {count / theirs.wall_s:,.0f}/s"
    return Measurement(what, baseline, target, theirs.wall_s / ours.wall_s, at_least=True, note=note)


def _memory(found: BenchResult, folder: Path, settings: Mapping[str, str], few: int, many: int) -> Measurement:
    usage: dict[str, ProcessUsage] = {}
    for count in (few, many):
        results = folder / f"results-{count}.jsonl"
        command = _batch(folder, settings, baselines.prompts(folder, count), "-o", str(results))
        usage[f"batch of {count:,} lines"] = command.run()
    found.add(usage)
    small, large = usage.values()
    return Measurement(
        f"batch of {many:,} lines, peak memory",
        f"batch of {few:,} lines",
        1.2,
        large.peak_bytes / small.peak_bytes,
        note=large.compare_peak(small),
    )
