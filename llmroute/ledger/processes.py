"""Identify processes, and check whether one is alive although pids are reused."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19


class Process(NamedTuple):
    """The identity of a process.  `mark` is its boot, pid namespace and start time, None where unknown."""

    pid: int
    host: str
    mark: str | None


def this_process() -> Process:
    """Return the current process, also after a fork."""
    return _process(os.getpid())


@lru_cache(maxsize=1)
def _process(pid: int) -> Process:
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    return Process(pid, host, _mark(pid))


def lives(process: Process) -> bool | None:
    """Whether a process is alive; None where this is unknown: on another host or in another container."""
    here = this_process()
    if process.host != here.host:
        return None
    if process.mark and here.mark:
        if process.mark.rpartition("/")[0] != here.mark.rpartition("/")[0]:
            return None
        now = _mark(process.pid)
        if now is not None:
            return now == process.mark
    if sys.platform == "win32":  # os.kill would end the process there
        return None
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return None
    return False if _state(process.pid) in ("Z", "X") else None


def _mark(pid: int) -> str | None:
    fields = _stat(pid)
    if not fields or fields[_STATE] in ("Z", "X"):
        return None
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').readlink()}/{fields[_STARTED]}"
    except OSError:
        return None


def _state(pid: int) -> str | None:
    fields = _stat(pid)
    return fields[_STATE] if fields else None


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the command's name, None where there is none."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
