"""One call as a whole process, beside bare scripts that do the same and beside llm."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import bare, peers
from tests.bench.process import LLMROUTE, REPEATS, Command, Took, in_turns
from tests.bench.promise import Measured, Promise
from tests.bench.server import serving

if TYPE_CHECKING:
    from collections.abc import Mapping

CHUNKS = 20_000
ONE_MODEL = ("hi", "-m", "openai/gpt-4o")
PLAIN = "bare httpx script"
LEAN = "bare httpx script without httpx._main"


def measure(repeats: int = REPEATS, chunks: int = CHUNKS) -> Measured:
    """Run each of them so many times, in turns; the long stream has so many chunks."""
    found = Measured()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = stack.enter_context(serving())
        long = stack.enter_context(serving(chunks))
        took = in_turns(_calls(home, settings), repeats)
        found.add(took)
        found.promises += [*_beside_bare(took), _own_share(took), _beside_llm(found, home, settings, repeats)]
        found.promises.append(_long_stream(found, home, long, chunks, max(1, repeats // 3)))
    return found


def _ours(home: Path, settings: Mapping[str, str], command: str) -> Command:
    return Command((LLMROUTE, command, *ONE_MODEL), home, {**settings, "LLMROUTE_CONFIG_DIR": str(home)})


def _calls(home: Path, settings: Mapping[str, str]) -> dict[str, Command]:
    scripts = {
        "plain gen": bare.PLAIN + bare.GEN,
        "lean gen": bare.LEAN + bare.GEN,
        "lean stream": bare.LEAN + bare.STREAM,
        "floor": bare.FLOOR,
    }
    return {
        "gen": _ours(home, settings, "gen"),
        "stream": _ours(home, settings, "stream"),
        **{name: Command((sys.executable, "-c", script), home, settings) for name, script in scripts.items()},
    }


def _beside_bare(took: Mapping[str, Took]) -> list[Promise]:
    gen, plain, lean = took["gen"], took["plain gen"], took["lean gen"]
    stream, lean_stream = took["stream"], took["lean stream"]
    first_bytes = f"{1000 * stream.first_byte_s:.0f} ms / {1000 * lean_stream.first_byte_s:.0f} ms"
    return [
        Promise("gen, wall", LEAN, 1.05, gen.wall_s / lean.wall_s, note=gen.wall_beside(lean)),
        Promise("gen, wall", PLAIN, 0.85, gen.wall_s / plain.wall_s, note=gen.wall_beside(plain)),
        Promise("stream, first byte", LEAN, 1.10, stream.first_byte_s / lean_stream.first_byte_s, note=first_bytes),
        Promise("gen, peak memory", LEAN, 1.15, gen.peak_bytes / lean.peak_bytes, note=gen.peak_beside(lean)),
    ]


def _own_share(took: Mapping[str, Took]) -> Promise:
    """Return the CPU of `gen` less that of python + typer + httpx + sqlite3: what llmroute itself adds.

    The floor is a process that imports typer, httpx without its command line and sqlite3, sends the same request on an
    `httpx.Client` that loads no certificates, since the server has a plain http address, prints the answer, and leaves
    at once without having collected garbage.  User and system time of all threads, from exec to exit.
    """
    gen, floor = took["gen"], took["floor"]
    what, beside = "gen, CPU more than", "python + typer + httpx + sqlite3, one request"
    return Promise(what, beside, 45, 1000 * (gen.cpu_s - floor.cpu_s), "ms", note=gen.cpu_beside(floor))


def _beside_llm(found: Measured, home: Path, settings: Mapping[str, str], repeats: int) -> Promise:
    """Measure beside llm, which is told of the server as of any other that speaks the format."""
    reach = 0.25
    try:
        llm = peers.install("llm", home) / "llm"
    except peers.MissingError as why:
        return Promise("gen, wall", "llm --no-stream", reach, None, note=str(why))
    model = f'- model_id: bench\n  model_name: gpt-4o\n  api_base: "{settings["OPENAI_BASE_URL"]}"\n'
    (home / "extra-openai-models.yaml").write_text(model)
    ask = Command((str(llm), "-m", "bench", "--no-stream", "hi"), home, {"LLM_USER_PATH": str(home)})
    took = in_turns({"gen": _ours(home, settings, "gen"), "llm": ask}, repeats)
    found.add(took)
    gen, theirs = took["gen"], took["llm"]
    return Promise("gen, wall", "llm --no-stream", reach, gen.wall_s / theirs.wall_s, note=gen.wall_beside(theirs))


def _long_stream(found: Measured, home: Path, settings: Mapping[str, str], chunks: int, repeats: int) -> Promise:
    script = Command((sys.executable, "-c", bare.LEAN + bare.RAW_STREAM), home, settings)
    took = in_turns({"stream all": _ours(home, settings, "stream"), "bare raw": script}, repeats)
    found.add(took)
    ours, raw = took["stream all"], took["bare raw"]
    what, beside = f"stream of {chunks:,} chunks, CPU", "httpx iter_raw + json"
    return Promise(what, beside, 1.5, ours.cpu_s / raw.cpu_s, note=ours.cpu_beside(raw))
