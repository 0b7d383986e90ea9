"""Baseline scripts on plain httpx that send the same requests to the same server.

They reuse their connections, and their limits and timeouts do not slow them down.  `python -c` runs them; the URL and
the key come from the environment, as for llmroute.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# httpx imports its own command line if rich, click and pygments are installed, which doubles the time of the import.
PLAIN = "import httpx\n"
LEAN = 'import sys\nsys.modules.setdefault("httpx._main", None)\nimport httpx\n'

_ASK = """
import os
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
headers = {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
streamed = body | {"stream": True, "stream_options": {"include_usage": True}}
"""
GEN = (
    _ASK
    + """
print(httpx.post(url, headers=headers, json=body).json()["choices"][0]["message"]["content"])
"""
)
STREAM = (
    _ASK
    + """
import json
with httpx.stream("POST", url, headers=headers, json=streamed) as response:
    for line in response.iter_lines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                print(choice["delta"].get("content", ""), end="", flush=True)
print()
"""
)
RAW_STREAM = (
    _ASK
    + r"""
import json
rest = b""
with httpx.stream("POST", url, headers=headers, json=streamed) as response:
    for piece in response.iter_raw():
        *events, rest = (rest + piece).split(b"\n\n")
        for event in events:
            if event != b"data: [DONE]":
                json.loads(event[6:])
"""
)

# The minimum for a call with typer, httpx and sqlite3, with the fastest exit.
FLOOR = (
    "import gc\ngc.disable()\n"
    + LEAN
    + "import sqlite3, typer\n"
    + _ASK
    + """
with httpx.Client(verify=False) as client:
    print(client.post(url, headers=headers, json=body).json()["choices"][0]["message"]["content"], flush=True)
os._exit(0)
"""
)

# Arguments: a file of prompts, and the number of tasks that send them on one client.
TASKS = (
    LEAN
    + """
import asyncio, json, os, sys
prompts = iter([json.loads(line)["prompt"] for line in open(sys.argv[1])])
jobs = int(sys.argv[2])
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
headers = {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "accept-encoding": "identity"}

async def work(client):
    for prompt in prompts:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]}
        answer = await client.post(url, headers=headers, json=body)
        print(json.dumps({"content": answer.json()["choices"][0]["message"]["content"]}))

async def main():
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=jobs)
    async with httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(None, connect=5), trust_env=False) as client:
        await asyncio.gather(*(work(client) for _ in range(jobs)))

asyncio.run(main())
"""
)


def prompts(folder: Path, count: int) -> Path:
    """Write `count` requests to a file of JSON lines, for TASKS and `gen --batch`; return its path."""
    file = folder / f"prompts-{count}.jsonl"
    with file.open("w") as lines:
        for number in range(count):
            lines.write(json.dumps({"id": f"request-{number}", "prompt": f"Say {number}."}) + "\n")
    return file
