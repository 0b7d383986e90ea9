"""What a local server told of its models holds for a while, and never for another model of the same name."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from llmroute.planning.local.model_cache import FILE, KEPT_S, KEPT_UNSEEN_S, LOADED_S, LocalModelCache
from llmroute.providers import ListedModel

if TYPE_CHECKING:
    from pathlib import Path

TOLD = ListedModel("m:latest", context_window=8192, own_window=4096, capabilities=frozenset({"vision"}))


class Clock:
    now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def shown(folder: Path, clock: Clock, mark: str = "here") -> LocalModelCache:
    return LocalModelCache(folder / FILE, lambda: mark, clock)


def test_another_process_knows_what_was_told(tmp_path: Path, clock: Clock) -> None:
    shown(tmp_path, clock).keep("m:latest", "d1", TOLD)
    assert shown(tmp_path, clock).find("m:latest", "d1") == TOLD
    assert shown(tmp_path, clock, "elsewhere").find("m:latest", "d1") is None
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_a_model_that_was_made_anew_is_another(tmp_path: Path, clock: Clock) -> None:
    shown(tmp_path, clock).keep("m:latest", "d1", TOLD)
    assert shown(tmp_path, clock).find("m:latest", "d2") is None


@pytest.mark.parametrize(("digest", "holds_s"), [("d1", KEPT_S), (None, KEPT_UNSEEN_S)])
def test_what_was_told_grows_old_sooner_where_nothing_shows_that_the_model_is_the_same(
    tmp_path: Path, clock: Clock, digest: str | None, holds_s: float
) -> None:
    known = shown(tmp_path, clock)
    known.keep("m:latest", digest, TOLD)
    clock.now_s += holds_s - 1
    assert known.find("m:latest", digest) == TOLD
    clock.now_s += 1
    assert known.find("m:latest", digest) is None
    clock.now_s = 0
    assert known.find("m:latest", digest) is None, "a clock that was set back proves nothing"


def test_a_model_is_taken_to_be_loaded_for_as_long_as_servers_keep_it(tmp_path: Path, clock: Clock) -> None:
    known = shown(tmp_path, clock)
    known.keep("m:latest", "d1", TOLD)
    known.keep_window("m:latest", 16_384)
    found = shown(tmp_path, clock).find("m:latest", "d1")
    assert found is not None
    assert found.own_window == 16_384
    clock.now_s += LOADED_S
    assert known.find("m:latest", "d1") == TOLD
    known.keep_window("unknown", 16_384)
    assert known.find("unknown", None) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        json.dumps({"here m:latest": {"at_s": "x"}}).encode(),
        json.dumps({"here m:latest": {"at_s": 1_000_000, "context_window": -1}}).encode(),
        json.dumps({"here m:latest": {"at_s": 1_000_000, "digest": 3}}).encode(),
    ],
)
def test_a_file_that_is_none_is_as_no_file(tmp_path: Path, clock: Clock, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    known = shown(tmp_path, clock)
    assert known.find("m:latest", None) is None
    known.keep("m:latest", None, TOLD)
    assert shown(tmp_path, clock).find("m:latest", None) == TOLD


def test_what_cannot_be_written_is_known_in_this_process(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").touch()
    known = shown(tmp_path / "file" / "folder", clock)
    known.keep("m:latest", "d1", TOLD)
    assert known.find("m:latest", "d1") == TOLD
