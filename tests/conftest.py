"""What holds for every test: no test touches the real home directory or anything beyond this machine."""

from __future__ import annotations

import itertools
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# No test asserts on wall time.
settings.register_profile("at any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("at any speed")

REAL_HOME = Path.home().resolve()
PROJECT = Path(__file__).resolve().parent.parent
# What a home directory may hold and a test must read: the interpreter, its packages, this project, its test data.
_READABLE = tuple(
    str(Path(folder).resolve())
    for folder in (sys.prefix, sys.base_prefix, sys.exec_prefix, str(PROJECT), *filter(None, sys.path))
)
_WATCHED = {"open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "sqlite3.connect"}
_guarding = False
_numbers = itertools.count()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _guarding:
        return
    if event in ("socket.connect", "socket.sendto"):
        _refuse_far_address(arguments[1])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        _refuse_far_address((arguments[0],))
    elif event in _WATCHED and isinstance(arguments[0], str | bytes | os.PathLike):
        _refuse_home(os.fsdecode(arguments[0]))


sys.addaudithook(_audit)


class ReachedTooFarError(RuntimeError):
    """A test left its room.  Not an OSError: that would be taken for a fault of the disk or the network."""


def _refuse_far_address(address: Any) -> None:
    if not isinstance(address, tuple):
        return
    host = os.fsdecode(address[0]) if address[0] is not None else "localhost"
    if not (host in ("localhost", "::1") or host.startswith("127.")):
        raise ReachedTooFarError(f"a test reaches for {host}, which is not this machine")


def _refuse_home(name: str) -> None:
    path = os.path.realpath(name)
    inside = path == str(REAL_HOME) or path.startswith(f"{REAL_HOME}{os.sep}")
    if inside and not path.startswith(_READABLE):
        raise ReachedTooFarError(f"a test touches {path}, which is in the real home directory")


def _new_folder(beside: pytest.TempPathFactory, name: str) -> Path:
    """Make a folder that is numbered by counting; pytest's own looks through those of all tests before it."""
    folder = beside.getbasetemp() / f"{name}-{next(_numbers)}"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _new_folder(tmp_path_factory, re.sub(r"\W", "_", request.node.name)[:30])


@pytest.fixture(autouse=True)
def guarded(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Give the test a home of its own and no settings, and make it fail where it reaches beyond."""
    global _guarding  # noqa: PLW0603 (an audit hook cannot be taken away, only told to rest)
    for name in list(os.environ):
        ends = ("_API_KEY", "_ADMIN_KEY", "_BASE_URL", "_proxy", "_PROXY")
        if name.startswith(("LLM", "XDG_")) or name.endswith(ends):
            monkeypatch.delenv(name)
    home = _new_folder(tmp_path_factory, "home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    _guarding = True
    yield home
    _guarding = False
