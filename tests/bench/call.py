"""One call as a whole process, beside a bare script that does the same and beside llm; and what is never a call."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import ledgers, peers
from tests.bench.process import REPEATS, Command, Took, in_turns
from tests.bench.promise import Measured, Promise
from tests.bench.server import serving

if TYPE_CHECKING:
    from collections.abc import Mapping

CHUNKS = 20_000
ROWS = 1_000_000
LLMROUTE = str(Path(sys.executable).with_name("llmroute"))
# What a call needs whoever makes it: the address and the key come from the environment.
ASK = """
import os, httpx
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
headers = {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
"""
BARE_GEN = (
    ASK
    + """
print(httpx.post(url, headers=headers, json=body).json()["choices"][0]["message"]["content"])
"""
)
BARE_STREAM = (
    ASK
    + """
import json
with httpx.stream("POST", url, headers=headers, json=body | {"stream": True}) as response:
    for line in response.iter_lines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                print(choice["delta"].get("content", ""), end="", flush=True)
print()
"""
)
BARE_RAW = (
    ASK
    + r"""
import json
rest = b""
with httpx.stream("POST", url, headers=headers, json=body | {"stream": True}) as response:
    for piece in response.iter_raw():
        *events, rest = (rest + piece).split(b"\n\n")
        for event in events:
            if event != b"data: [DONE]":
                json.loads(event[6:])
"""
)
ONE_MODEL = ("hi", "-m", "openai/gpt-4o")
SETTINGS = """
strategy = "balanced"
workspace = "bench"
[timeouts]
total_s = 120
[budgets]
month = 1000
"""
# What no command line that stands on typer can do without, and the soonest way out.
TYPER = "import gc, os; gc.disable(); import typer; os._exit(0)"
TAB = {"_LLMROUTE_COMPLETE": "complete_bash", "COMP_WORDS": "llmroute gen --mo", "COMP_CWORD": "2"}


def measure(repeats: int = REPEATS, chunks: int = CHUNKS, rows: int = ROWS) -> Measured:
    """Run each of them so many times, in turns; a stream has so many chunks, the large ledger so many rows."""
    found = Measured()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = stack.enter_context(serving())
        long = stack.enter_context(serving(chunks))
        call = _in_turns(found, _calls(folder, settings), repeats)
        gen, bare = call["gen"], call["bare gen"]
        stream, bare_stream = call["stream"], call["bare stream"]
        found.promises += [
            Promise("gen, wall", "bare script", 0.80, gen.wall_s / bare.wall_s, note=_ms(gen, bare)),
            Promise("stream, first byte", "bare script", 0.85, stream.first_byte_s / bare_stream.first_byte_s),
            Promise("gen, peak memory", "bare script", 1.15, gen.peak_bytes / bare.peak_bytes, note=_mb(gen, bare)),
        ]
        found.promises += [
            _beside_llm(found, folder, settings, repeats),
            _settled(found, folder, settings, repeats, rows),
        ]
        found.promises += _answered_here(found, folder, repeats)
        took = _in_turns(found, _streams(folder, long), max(1, repeats // 3))
        ours, raw = took["stream all"], took["bare raw"]
        found.promises.append(
            Promise(
                f"stream of {chunks:,} chunks, CPU",
                "httpx iter_raw + json",
                1.5,
                ours.cpu_s / raw.cpu_s,
                note=_cpu(ours, raw),
            )
        )
    return found


def _calls(folder: Path, settings: Mapping[str, str]) -> dict[str, Command]:
    home = _home(folder / "plain")
    own = {**settings, "LLMROUTE_CONFIG_DIR": str(home)}
    return {
        "gen": Command((LLMROUTE, "gen", *ONE_MODEL), home, own),
        "bare gen": Command((sys.executable, "-c", BARE_GEN), home, settings),
        "stream": Command((LLMROUTE, "stream", *ONE_MODEL), home, own),
        "bare stream": Command((sys.executable, "-c", BARE_STREAM), home, settings),
    }


def _streams(folder: Path, settings: Mapping[str, str]) -> dict[str, Command]:
    home = _home(folder / "plain")
    own = {**settings, "LLMROUTE_CONFIG_DIR": str(home)}
    return {
        "stream all": Command((LLMROUTE, "stream", *ONE_MODEL), home, own),
        "bare raw": Command((sys.executable, "-c", BARE_RAW), home, settings),
    }


def _beside_llm(found: Measured, folder: Path, settings: Mapping[str, str], repeats: int) -> Promise:
    """Measure beside llm, which is told of the server as of any other that speaks the format."""
    reach = 0.25
    try:
        llm = peers.install("llm", folder) / "llm"
    except peers.MissingError as why:
        return Promise("gen, wall", "llm --no-stream", reach, None, note=str(why))
    home = _home(folder / "llm")
    model = f'- model_id: bench\n  model_name: gpt-4o\n  api_base: "{settings["OPENAI_BASE_URL"]}"\n'
    (home / "extra-openai-models.yaml").write_text(model)
    ask = Command((str(llm), "-m", "bench", "--no-stream", "hi"), home, {"LLM_USER_PATH": str(home)})
    took = _in_turns(found, {"gen": _calls(folder, settings)["gen"], "llm": ask}, repeats)
    ratio = took["gen"].wall_s / took["llm"].wall_s
    return Promise("gen, wall", "llm --no-stream", reach, ratio, note=_ms(took["gen"], took["llm"]))


def _settled(found: Measured, folder: Path, settings: Mapping[str, str], repeats: int, rows: int) -> Promise:
    """Measure at the home of somebody who has used it for years beside a new one."""
    home = _home(folder / "settled")
    (home / "config.toml").write_text(SETTINGS)
    (home / ".env").write_text("ANTHROPIC_API_KEY=sk-ant-bench-0123456789\n")
    ledgers.fill(home / "ledger.db", rows)
    old = Command((LLMROUTE, "gen", *ONE_MODEL), home, {**settings, "LLMROUTE_CONFIG_DIR": str(home)})
    took = _in_turns(found, {"settled gen": old, "gen": _calls(folder, settings)["gen"]}, repeats)
    ratio = took["settled gen"].wall_s / took["gen"].wall_s
    what = f"gen, wall, with config.toml, .env and {rows:,} rows"
    return Promise(what, "gen bare", 1.15, ratio, note=_ms(took["settled gen"], took["gen"]))


def _answered_here(found: Measured, folder: Path, repeats: int) -> list[Promise]:
    home = _home(folder / "plain")
    own = {"LLMROUTE_CONFIG_DIR": str(home)}
    took = _in_turns(
        found,
        {
            "nothing": Command((sys.executable, "-c", "pass"), home, {}),
            "--help": Command((LLMROUTE, "--help"), home, own),
            "--version": Command((LLMROUTE, "--version"), home, own),
            "TAB": Command((LLMROUTE,), home, {**own, **TAB}),
            "typer": Command((sys.executable, "-c", TYPER), home, {}),
        },
        repeats,
    )
    nothing_s = took.pop("nothing").cpu_s
    least = f"+{1000 * (took.pop('typer').cpu_s - nothing_s):.0f} ms to import typer and leave"
    return [
        Promise(f"{name}, CPU more than", "python -c pass", 60, 1000 * (one.cpu_s - nothing_s), "ms", note=least)
        for name, one in took.items()
    ]


def _home(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _in_turns(found: Measured, commands: Mapping[str, Command], repeats: int) -> dict[str, Took]:
    took = in_turns(commands, repeats)
    found.figures.append({name: one._asdict() for name, one in took.items()})
    return took


def _ms(ours: Took, theirs: Took) -> str:
    return f"{1000 * ours.wall_s:.0f} ms / {1000 * theirs.wall_s:.0f} ms"


def _mb(ours: Took, theirs: Took) -> str:
    return f"{ours.peak_bytes / 1e6:.1f} MB / {theirs.peak_bytes / 1e6:.1f} MB"


def _cpu(ours: Took, theirs: Took) -> str:
    return f"{ours.cpu_s:.2f} s / {theirs.cpu_s:.2f} s"
