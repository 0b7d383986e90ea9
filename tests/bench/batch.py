"""Many prompts at once: the throughput of a whole batch beside bare clients' and beside litellm's, and its memory."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import bare, peers
from tests.bench.process import LLMROUTE, WITHOUT_AIOHTTP, Command, Took, in_turns
from tests.bench.promise import Measured, Promise
from tests.bench.server import serving

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROMPTS = 5_000
JOBS = 64
MORE_JOBS = 256
REPEATS = 5
LINES = (1_000, 100_000)
BARE = "bare httpx.AsyncClient, no ledger"
WITH_WHAT_THERE_IS = (LLMROUTE,)
ON_HTTPX_ALONE = (sys.executable, "-c", WITHOUT_AIOHTTP + "from llmroute.__main__ import run\nrun()\n")
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


def measure(prompts: int = PROMPTS, few: int = LINES[0], many: int = LINES[1], repeats: int = REPEATS) -> Measured:
    """Run a batch of so many prompts beside the others, in turns; then one of few lines and one of many, for memory."""
    found = Measured()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = stack.enter_context(serving())
        file = bare.prompts(folder, prompts)
        found.promises += [
            _beside_bare(found, folder, settings, file, repeats),
            _on_aiohttp(found, folder, settings, file, repeats),
            _beside_litellm(found, _batch(folder, settings, file), file, min(repeats, 3)),
            _memory(found, folder, settings, few, many),
        ]
    return found


def _batch(
    folder: Path,
    settings: Mapping[str, str],
    file: Path,
    *flags: str,
    jobs: int = JOBS,
    program: Sequence[str] = WITH_WHAT_THERE_IS,
) -> Command:
    own = {**settings, "LLMROUTE_CONFIG_DIR": str(folder / "config")}
    asked = ("gen", "--batch", str(file), "--jobs", str(jobs), "-m", "openai/gpt-4o", "--no-fallback", "-q")
    return Command((*program, *asked, *flags), folder, own)


def _tasks(folder: Path, settings: Mapping[str, str], file: Path, jobs: int) -> Command:
    return Command((sys.executable, "-c", bare.TASKS, str(file), str(jobs)), folder, settings)


def _beside_bare(found: Measured, folder: Path, settings: Mapping[str, str], file: Path, repeats: int) -> Promise:
    """Measure both on httpx's own transport, whether the aiohttp one is installed or not."""
    batch = _batch(folder, settings, file, program=ON_HTTPX_ALONE)
    took = in_turns({"batch": batch, "bare tasks": _tasks(folder, settings, file, JOBS)}, repeats)
    found.add(took)
    return _throughput(file, JOBS, BARE, 0.95, tuple(took.values()))


def _on_aiohttp(found: Measured, folder: Path, settings: Mapping[str, str], file: Path, repeats: int) -> Promise:
    """Measure llmroute on the aiohttp transport, which it uses where it is installed, beside httpx on its own."""
    beside, reach = f"{BARE}, without aiohttp", 2.0
    if find_spec("httpx_aiohttp") is None:
        return replace(_throughput(file, MORE_JOBS, beside, reach), note="httpx-aiohttp is not installed")
    batch = _batch(folder, settings, file, jobs=MORE_JOBS)
    took = in_turns({"batch on aiohttp": batch, "more bare tasks": _tasks(folder, settings, file, MORE_JOBS)}, repeats)
    found.add(took)
    return _throughput(file, MORE_JOBS, beside, reach, tuple(took.values()))


def _beside_litellm(found: Measured, batch: Command, file: Path, repeats: int) -> Promise:
    """Measure beside litellm, which must not fetch its price map, for nothing leaves the machine."""
    beside, reach = "litellm acompletion", 5.0
    try:
        programs = peers.install("litellm", batch.home)
    except peers.MissingError as error:
        return replace(_throughput(file, JOBS, beside, reach), note=str(error))
    arguments = (str(programs / "python"), "-c", LITELLM, str(file), str(JOBS))
    own = {**batch.settings, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    took = in_turns({"batch": batch, "litellm": Command(arguments, batch.home, own)}, repeats)
    found.add(took)
    return _throughput(file, JOBS, beside, reach, tuple(took.values()))


def _throughput(file: Path, jobs: int, beside: str, reach: float, took: tuple[Took, ...] = ()) -> Promise:
    """Return how many times the throughput ours is; `took` is ours and theirs, empty where it was not measured."""
    count = file.read_bytes().count(b"\n")
    what = f"batch of {count:,}, {jobs} at once, throughput"
    if not took:
        return Promise(what, beside, reach, None, at_least=True)
    ours, theirs = took
    note = f"{count / ours.wall_s:,.0f}/s and {count / theirs.wall_s:,.0f}/s"
    return Promise(what, beside, reach, theirs.wall_s / ours.wall_s, at_least=True, note=note)


def _memory(found: Measured, folder: Path, settings: Mapping[str, str], few: int, many: int) -> Promise:
    took: dict[str, Took] = {}
    for count in (few, many):
        results = folder / f"results-{count}.jsonl"
        command = _batch(folder, settings, bare.prompts(folder, count), "-o", str(results))
        took[f"batch of {count:,} lines"] = command.run()
    found.add(took)
    small, large = took.values()
    return Promise(
        f"batch of {many:,} lines, peak memory",
        f"batch of {few:,} lines",
        1.2,
        large.peak_bytes / small.peak_bytes,
        note=large.peak_beside(small),
    )
