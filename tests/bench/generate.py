"""Library calls with fallback in one process: the CPU time of each, compared with a plain httpx request."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import baselines
from tests.bench.process import WITHOUT_AIOHTTP, Command, ProcessUsage, run_interleaved
from tests.bench.report import BenchResult, Measurement
from tests.bench.server import serving

if TYPE_CHECKING:
    from collections.abc import Mapping

FEW, MANY = 200, 2_200
JOBS = 16
REPEATS = 5
# Keys of the fallbacks, which are not used.
OTHERS = {"ANTHROPIC_API_KEY": "sk-ant-bench-0123456789", "MISTRAL_API_KEY": "bench-0123456789"}
GENERATE = (
    WITHOUT_AIOHTTP
    + """
import asyncio, json, sys
from llmroute import get_llm_service
prompts = iter([json.loads(line)["prompt"] for line in open(sys.argv[1])])

async def work(service):
    for prompt in prompts:
        answer = await service.generate(prompt, model="openai/gpt-4o", enable_fallback=True)
        print(json.dumps({"content": answer.content}))

async def main():
    async with get_llm_service() as service:
        await asyncio.gather(*(work(service) for _ in range(int(sys.argv[2]))))

asyncio.run(main())
"""
)


def measure(few: int = FEW, many: int = MANY, jobs: int = JOBS, repeats: int = REPEATS) -> BenchResult:
    """Make `few` and `many` calls, `jobs` at once: the difference excludes the cost of starting."""
    found = BenchResult()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = stack.enter_context(serving())
        scripts = {
            "generate": (GENERATE, {**settings, **OTHERS, "LLMROUTE_CONFIG_DIR": str(folder)}),
            "raw": (baselines.TASKS, settings),
        }
        files = {count: baselines.prompts(folder, count) for count in (few, many)}
        usage = run_interleaved(
            {
                f"{name} {count}": Command((sys.executable, "-c", script, str(file), str(jobs)), folder, own)
                for name, (script, own) in scripts.items()
                for count, file in files.items()
            },
            repeats,
        )
    found.add(usage)
    ours, raw = (_each_s(usage, name, few, many) for name in scripts)
    found.measurements.append(
        Measurement(
            f"generate with fallback, {jobs} at once, CPU a request",
            "raw httpx.AsyncClient",
            1.5,
            ours / raw if raw > 0 else None,
            note=f"{1000 * ours:.2f} ms / {1000 * raw:.2f} ms",
        )
    )
    return found


def _each_s(usage: Mapping[str, ProcessUsage], name: str, few: int, many: int) -> float:
    return (usage[f"{name} {many}"].cpu_s - usage[f"{name} {few}"].cpu_s) / (many - few)
