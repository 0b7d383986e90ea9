"""Many prompts at once: the throughput of a whole batch beside a bare client's and beside litellm's, and its memory."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import peers
from tests.bench.process import Command, Took, in_turns
from tests.bench.promise import Measured, Promise
from tests.bench.server import serving

if TYPE_CHECKING:
    from collections.abc import Mapping

PROMPTS = 5_000
JOBS = 64
REPEATS = 5
LINES = (1_000, 100_000)
LLMROUTE = str(Path(sys.executable).with_name("llmroute"))
READ = """
import asyncio, json, os, sys
prompts = [json.loads(line)["prompt"] for line in open(sys.argv[1])]
jobs = asyncio.Semaphore(int(sys.argv[2]))
key = os.environ["OPENAI_API_KEY"]
"""
# The limits and time-outs are those that llmroute sends with.
BARE = (
    READ
    + """
import httpx
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
headers = {"authorization": "Bearer " + key, "accept-encoding": "identity"}

async def ask(client, prompt):
    async with jobs:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]}
        answer = await client.post(url, headers=headers, json=body)
        return answer.json()["choices"][0]["message"]["content"]

async def main():
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    async with httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(None, connect=5), trust_env=False) as client:
        for answer in await asyncio.gather(*(ask(client, prompt) for prompt in prompts)):
            print(json.dumps({"content": answer}))

asyncio.run(main())
"""
)
LITELLM = (
    READ
    + """
import litellm
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
)


def measure(prompts: int = PROMPTS, few: int = LINES[0], many: int = LINES[1], repeats: int = REPEATS) -> Measured:
    """Run a batch of so many prompts beside the others, in turns; then one of few lines and one of many, for memory."""
    found = Measured()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = stack.enter_context(serving())
        file = _prompts(folder, prompts)
        batch = _batch(folder, settings, file)
        took = in_turns(
            {
                "batch": batch,
                "bare gather": Command((sys.executable, "-c", BARE, str(file), str(JOBS)), folder, settings),
            },
            repeats,
        )
        found.figures.append({name: one._asdict() for name, one in took.items()})
        ours, bare = took["batch"], took["bare gather"]
        found.promises += [
            Promise(
                f"batch of {prompts:,}, {JOBS} at once, throughput",
                "bare httpx gather, no ledger",
                0.80,
                bare.wall_s / ours.wall_s,
                at_least=True,
                note=f"{prompts / ours.wall_s:,.0f}/s and {prompts / bare.wall_s:,.0f}/s",
            ),
            _beside_litellm(found, batch, file, prompts, min(repeats, 3)),
            _memory(found, folder, settings, few, many),
        ]
    return found


def _batch(folder: Path, settings: Mapping[str, str], file: Path, *flags: str) -> Command:
    own = {**settings, "LLMROUTE_CONFIG_DIR": str(folder / "config")}
    asked = ("gen", "--batch", str(file), "--jobs", str(JOBS), "-m", "openai/gpt-4o", "--no-fallback", "-q")
    return Command((LLMROUTE, *asked, *flags), folder, own)


def _prompts(folder: Path, count: int) -> Path:
    file = folder / f"prompts-{count}.jsonl"
    with file.open("w") as lines:
        for number in range(count):
            lines.write(json.dumps({"id": f"request-{number}", "prompt": f"Say {number}."}) + "\n")
    return file


def _beside_litellm(found: Measured, batch: Command, file: Path, prompts: int, repeats: int) -> Promise:
    """Measure beside litellm, which must not fetch its price map, for nothing leaves the machine."""
    what, beside = f"batch of {prompts:,}, {JOBS} at once, throughput", "litellm acompletion"
    try:
        programs = peers.install("litellm", batch.home)
    except peers.MissingError as error:
        return Promise(what, beside, 5.0, None, at_least=True, note=str(error))
    arguments = (str(programs / "python"), "-c", LITELLM, str(file), str(JOBS))
    own = {**batch.settings, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    took = in_turns({"batch": batch, "litellm": Command(arguments, batch.home, own)}, repeats)
    found.figures.append({name: one._asdict() for name, one in took.items()})
    ours, theirs = took["batch"], took["litellm"]
    note = f"{prompts / ours.wall_s:,.0f}/s and {prompts / theirs.wall_s:,.0f}/s"
    return Promise(what, beside, 5.0, theirs.wall_s / ours.wall_s, at_least=True, note=note)


def _memory(found: Measured, folder: Path, settings: Mapping[str, str], few: int, many: int) -> Promise:
    took: dict[str, Took] = {}
    for count in (few, many):
        results = folder / f"results-{count}.jsonl"
        command = _batch(folder, settings, _prompts(folder, count), "-o", str(results))
        took[f"batch of {count:,} lines"] = command.run()
    found.figures.append({name: one._asdict() for name, one in took.items()})
    small, large = took.values()
    return Promise(
        f"batch of {many:,} lines, peak memory",
        f"batch of {few:,} lines",
        1.2,
        large.peak_bytes / small.peak_bytes,
        note=f"{large.peak_bytes / 1e6:.0f} and {small.peak_bytes / 1e6:.0f} MB",
    )
