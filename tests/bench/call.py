"""One call as a complete process, compared with plain httpx scripts and with llm."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import baselines, third_party
from tests.bench.process import LLMROUTE, REPEATS, Command, ProcessUsage, run_interleaved
from tests.bench.report import BenchResult, Measurement
from tests.bench.server import serving

if TYPE_CHECKING:
    from collections.abc import Mapping

CHUNKS = 20_000
ONE_MODEL = ("hi", "-m", "openai/gpt-4o")
PLAIN = "plain httpx script"
LEAN = "plain httpx script without httpx._main"


def measure(repeats: int = REPEATS, chunks: int = CHUNKS) -> BenchResult:
    """Run each command `repeats` times; the long stream has `chunks` chunks."""
    found = BenchResult()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = stack.enter_context(serving())
        long = stack.enter_context(serving(chunks))
        usage = run_interleaved(_calls(home, settings), repeats)
        found.add(usage)
        found.measurements += [
            *_compare_baselines(usage),
            _own_cpu(usage),
            _compare_llm(found, home, settings, repeats),
        ]
        found.measurements.append(_long_stream(found, home, long, chunks, max(1, repeats // 3)))
    return found


def _ours(home: Path, settings: Mapping[str, str], command: str) -> Command:
    return Command((LLMROUTE, command, *ONE_MODEL), home, {**settings, "LLMROUTE_CONFIG_DIR": str(home)})


def _calls(home: Path, settings: Mapping[str, str]) -> dict[str, Command]:
    scripts = {
        "plain gen": baselines.PLAIN + baselines.GEN,
        "lean gen": baselines.LEAN + baselines.GEN,
        "lean stream": baselines.LEAN + baselines.STREAM,
        "floor": baselines.FLOOR,
    }
    return {
        "gen": _ours(home, settings, "gen"),
        "stream": _ours(home, settings, "stream"),
        **{name: Command((sys.executable, "-c", script), home, settings) for name, script in scripts.items()},
    }


def _compare_baselines(usage: Mapping[str, ProcessUsage]) -> list[Measurement]:
    gen, plain, lean = usage["gen"], usage["plain gen"], usage["lean gen"]
    stream, lean_stream = usage["stream"], usage["lean stream"]
    first_bytes = f"{1000 * stream.first_byte_s:.0f} ms / {1000 * lean_stream.first_byte_s:.0f} ms"
    return [
        Measurement("gen, wall", LEAN, 1.05, gen.wall_s / lean.wall_s, note=gen.compare_wall(lean)),
        Measurement("gen, wall", PLAIN, 0.85, gen.wall_s / plain.wall_s, note=gen.compare_wall(plain)),
        Measurement("stream, first byte", LEAN, 1.10, stream.first_byte_s / lean_stream.first_byte_s, note=first_bytes),
        Measurement("gen, peak memory", LEAN, 1.15, gen.peak_bytes / lean.peak_bytes, note=gen.compare_peak(lean)),
    ]


def _own_cpu(usage: Mapping[str, ProcessUsage]) -> Measurement:
    """Return the CPU time of `gen` minus that of python + typer + httpx + sqlite3: the share of llmroute itself.

    The floor is a process that imports typer, httpx without its command line and sqlite3, sends the same request on an
    `httpx.Client` that loads no certificates, because the server has an http URL, prints the answer, and exits without
    garbage collection.  The time is user and system time of all threads, from exec to exit.
    """
    gen, floor = usage["gen"], usage["floor"]
    what, baseline = "gen, CPU more than", "python + typer + httpx + sqlite3, one request"
    return Measurement(what, baseline, 45, 1000 * (gen.cpu_s - floor.cpu_s), "ms", note=gen.compare_cpu(floor))


def _compare_llm(found: BenchResult, home: Path, settings: Mapping[str, str], repeats: int) -> Measurement:
    """Compare with llm, configured for the server as for any other OpenAI-compatible one."""
    target = 0.25
    try:
        llm = third_party.install("llm", home) / "llm"
    except third_party.NotInstalledError as why:
        return Measurement("gen, wall", "llm --no-stream", target, None, note=str(why))
    model = f'- model_id: bench\n  model_name: gpt-4o\n  api_base: "{settings["OPENAI_BASE_URL"]}"\n'
    (home / "extra-openai-models.yaml").write_text(model)
    ask = Command((str(llm), "-m", "bench", "--no-stream", "hi"), home, {"LLM_USER_PATH": str(home)})
    usage = run_interleaved({"gen": _ours(home, settings, "gen"), "llm": ask}, repeats)
    found.add(usage)
    gen, theirs = usage["gen"], usage["llm"]
    return Measurement(
        "gen, wall", "llm --no-stream", target, gen.wall_s / theirs.wall_s, note=gen.compare_wall(theirs)
    )


def _long_stream(found: BenchResult, home: Path, settings: Mapping[str, str], chunks: int, repeats: int) -> Measurement:
    script = Command((sys.executable, "-c", baselines.LEAN + baselines.RAW_STREAM), home, settings)
    usage = run_interleaved({"stream all": _ours(home, settings, "stream"), "bare raw": script}, repeats)
    found.add(usage)
    ours, raw = usage["stream all"], usage["bare raw"]
    what, baseline = f"stream of {chunks:,} chunks, CPU", "httpx iter_raw + json"
    return Measurement(what, baseline, 1.5, ours.cpu_s / raw.cpu_s, note=ours.compare_cpu(raw))
