"""The environment under test: the one that LLMROUTE_PLAIN_PYTHON names, or one that is made here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.install.plain import PlainInstall, build, install, wheel_in
from tests.install.servers import Providers, providers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with sdist and wheel: LLMROUTE_DIST, or a new one."""
    if given := os.environ.get("LLMROUTE_DIST"):
        return Path(given)
    folder = tmp_path_factory.mktemp("dist")
    build(folder)
    return folder


@pytest.fixture(scope="session")
def plain(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> PlainInstall:
    """The environment into which the wheel alone was installed."""
    if given := os.environ.get("LLMROUTE_PLAIN_PYTHON"):
        return PlainInstall(Path(given))
    return PlainInstall(install(wheel_in(dist), tmp_path_factory.mktemp("plain") / "venv"))


@pytest.fixture(scope="module")
def five() -> Iterator[Providers]:
    with providers() as running:
        yield running


@pytest.fixture
def served(five: Providers) -> Providers:
    """The five providers on loopback, as they are when nothing is wrong."""
    five.reset()
    return five
