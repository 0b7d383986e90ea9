"""A process that has no descriptor or thread left for a connection: its provider is not blamed for that."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from llmroute.errors import UnreachableError
from tests.support.fault_server import serving
from tests.support.model_server import ModelServer
from tests.support.provider_servers import House, openai_answer
from tests.support.shell import environment, rows
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The second call needs a connection, as the server closes that of a stream.
PROGRAM = """
import asyncio, os, resource
from llmroute import UnreachableError, get_llm_service
from llmroute.execution import failures

def exhaust():
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return held

def blocking():
    with service.stream_sync("hi", model=MODEL) as stream:
        list(stream)
    held = exhaust()
    try:
        service.generate_sync("hi", model=MODEL, enable_fallback=False)
    except UnreachableError as error:
        return held, error

async def awaited():
    async for _ in service.stream_generate("hi", model=MODEL):
        pass
    held = exhaust()
    try:
        await service.generate("hi", model=MODEL, enable_fallback=False)
    except UnreachableError as error:
        return held, error

MODEL = "openai/gpt-5.4-mini"
service = get_llm_service()
held, error = CALL
for descriptor in held:
    os.close(descriptor)
print(error, error.hint)
"""


def open_circuits(ledger: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(ledger)) as db:
        return db.execute("SELECT provider, reason FROM breakers").fetchall()


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.mark.parametrize("call", ["blocking()", "asyncio.run(awaited())"])
def test_a_provider_is_not_skipped_because_a_process_had_no_descriptor_left(
    call: str, server: ModelServer, tmp_path: Path
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("CALL", call)],
        env=environment(tmp_path, **server.settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ran.stdout.startswith("no connection: [Errno 24] Too many open files (127.0.0.1:"), ran.stderr
    assert "ulimit -n" in ran.stdout
    assert [(row["status"], row["cost_picousd"]) for row in rows(tmp_path)][1:] == [("failed", 0)]
    assert open_circuits(tmp_path / "llmroute" / "ledger.db") == []


def test_a_provider_is_not_skipped_because_no_thread_could_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "llmroute-http":
            # As Python 3.12 and later do in threads that outlive the main thread.
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    with serving([openai_answer("hello")]) as server:
        service = House(tmp_path, openai=server).service()
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(UnreachableError, match="no thread can be started"):
                service.generate_sync("hi", model="openai/gpt-5.4-mini", enable_fallback=False)
        service.close()
    assert open_circuits(tmp_path / "ledger.db") == []
