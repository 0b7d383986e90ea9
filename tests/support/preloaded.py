"""A process that has imported all of llmroute, and forks for each run: a run is a process of its own, only faster.

Started by `tests.support.shell`; run as a program, it reads from the socket whose descriptor is its argument.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import llmroute

# What llmroute imports only in some runs, and what it has only in a program of its own.
ALSO = ("asyncio", "encodings.idna", "httpx", "rich.console", "sqlite3")
_APART = ("llmroute.__main__", "llmroute.catalogue_build", "llmroute.transport.aiohttp_transport")
_STANDARD = (0, 1, 2)


class Preloaded:
    """The process that forks, as seen from the tests."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._asking, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._turn = threading.Lock()
        with asked:
            # Pipes, as every run has them: Python decides by them how it writes.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.preloaded", str(asked.fileno())],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=Path(__file__).parents[1],
                pass_fds=[asked.fileno()],
            )
        atexit.register(self._close)

    def run(self, command: dict[str, Any], stdin: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
        """Run llmroute in a process of its own; return its exit code, negative for a signal, stdout and stderr."""
        pipes = [os.pipe() for _ in _STANDARD]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        ours, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, channel, ThreadPoolExecutor(3) as pool:
            writing = pool.submit(_write, pipes[0][1], stdin)
            reading = [pool.submit(_read, end) for end, _ in pipes[1:]]
            with self._turn:
                socket.send_fds(self._asking, [b"."], [*theirs, channel.fileno()])
            channel.close()
            for fd in theirs:
                os.close(fd)
            ours.sendall(json.dumps(command).encode() + b"\n")
            ours.settimeout(timeout_s)
            with ours.makefile("rb") as told:
                pid = int(told.readline())
                try:
                    code = int(told.readline())
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired(command["arguments"], timeout_s) from None
            writing.result()
            out, err = (one.result() for one in reading)
        return code, out, err

    def _close(self) -> None:
        self._asking.close()
        self._process.communicate()


def _write(fd: int, data: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(fd, "wb", buffering=0) as file:
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]


def _read(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as file:
        return file.read()


def import_all() -> None:
    """Import all of llmroute and what it imports in some runs only."""
    for module in ALSO:
        importlib.import_module(module)
    for found in pkgutil.walk_packages(llmroute.__path__, "llmroute."):
        if not found.name.startswith(_APART):
            importlib.import_module(found.name)
    gc.freeze()


def _serve(asked: socket.socket) -> None:
    """Fork at every request, and tell each one's channel how its process ended."""
    channels: dict[int, int] = {}
    ended, end = os.pipe()
    for fd in (ended, end):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(end, warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([asked.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _tell_the_ended(channels)
        if asked.fileno() in ready:
            request, fds, _, _ = socket.recv_fds(asked, 1, 4)
            if not request:
                return
            pid = os.fork()
            if pid == 0:
                _become_llmroute(fds, [asked.detach(), ended, end, *channels.values()])
            for fd in fds[:3]:
                os.close(fd)
            channels[pid] = fds[3]


def _tell_the_ended(channels: dict[int, int]) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            channel = channels.pop(pid)
            with suppress(OSError):
                os.write(channel, b"%d\n" % os.waitstatus_to_exitcode(status))
            os.close(channel)


def _become_llmroute(fds: list[int], others: list[int]) -> NoReturn:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for fd in others:
        os.close(fd)
    for target, fd in zip(_STANDARD, fds, strict=False):
        os.dup2(fd, target)
        os.close(fd)
    with socket.socket(fileno=fds[3]) as channel, channel.makefile("rb") as told:
        channel.sendall(b"%d\n" % os.getpid())
        command = json.loads(told.readline())
    os.environ.clear()
    os.environ.update(command["environment"])
    time.tzset()
    os.chdir(command["folder"])
    sys.path[0] = command["folder"]
    sys.argv = ["llmroute", *command["arguments"]]
    code = 1
    try:
        runpy.run_module("llmroute", run_name="__main__", alter_sys=True)
    finally:
        os._exit(code)


if __name__ == "__main__":
    import_all()
    _serve(socket.socket(fileno=int(sys.argv[1])))
