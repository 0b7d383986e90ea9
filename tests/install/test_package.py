"""What is in the wheel and in the sdist, and what the metadata says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.pages import PAGES, README
from tests.install.plain import COMPLETIONS, ROOT, uv, wheel_in
from tests.install.test_declared import without_extras

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path

    from tests.install.plain import PlainInstall

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(dist: Path) -> dict[str, bytes]:
    return contents(wheel_in(dist))


@pytest.fixture(scope="module")
def metadata(wheel: dict[str, bytes]) -> Message:
    (name,) = (name for name in wheel if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(wheel[name])


@pytest.fixture(scope="module")
def sdist(dist: Path) -> set[str]:
    (path,) = dist.glob("llmroute-*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_the_wheel_holds_the_package_its_completions_its_manual_pages_and_its_metadata(wheel: dict[str, bytes]) -> None:
    places = {re.sub(r"^llmroute-[^/]*\.", ".", name).partition("/")[0] for name in wheel}
    assert places == {"llmroute", ".data", ".dist-info"}
    shared = {name.partition(".data/data/share/")[2] for name in wheel if ".data/" in name}
    assert shared == {*COMPLETIONS.values(), *(f"man/man1/{page.name}" for page in (ROOT / "man").iterdir())}
    assert {"llmroute/py.typed", "llmroute/registry/catalogue.json"} <= wheel.keys()
    templates = ROOT / "llmroute" / "cli" / "costs_page" / "templates"
    assert {path.relative_to(ROOT).as_posix() for path in templates.iterdir()} <= wheel.keys()


def test_the_compiler_of_the_catalogue_is_in_the_sdist_and_not_in_the_wheel(
    wheel: dict[str, bytes], sdist: set[str]
) -> None:
    assert not [name for name in wheel if "catalogue_build" in name or name.endswith(".toml")]
    compiler = {"__init__.py", "__main__.py", "compile.py", "sources.py", "overlay.toml"}
    assert {f"llmroute/catalogue_build/{name}" for name in compiler} <= sdist


def test_the_sdist_holds_what_a_contributor_needs(sdist: set[str]) -> None:
    kept = {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml", ".ci/run"}
    pages = {page.relative_to(ROOT).as_posix() for page in PAGES}
    assert kept | pages | {"tests/conftest.py", "completions/_llmroute"} <= sdist
    assert not [name for name in sdist if "__pycache__" in name or name.startswith((".venv", "uv.lock"))]


def test_the_sdist_builds_the_wheel_that_the_source_tree_builds(wheel: dict[str, bytes], tmp_path: Path) -> None:
    uv("build", "--quiet", "--wheel", "--out-dir", tmp_path, ROOT)
    assert contents(wheel_in(tmp_path)) == wheel


def test_completions_are_installed_where_shells_look(plain: PlainInstall) -> None:
    shipped = {"bash": "llmroute.bash", "zsh": "_llmroute", "fish": "llmroute.fish"}
    assert shipped.keys() == COMPLETIONS.keys()
    for shell, name in shipped.items():
        assert plain.completion(shell).read_text() == (ROOT / "completions" / name).read_text()


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_shows_the_installed_page_of_a_command(plain: PlainInstall) -> None:
    command = ["man", "-M", str(plain.prefix / "share" / "man"), "llmroute-costs-calls"]
    done = subprocess.run(command, env={**os.environ, "MANPAGER": "cat"}, capture_output=True, text=True, check=True)
    assert "List the last attempts, newest last." in done.stdout


def test_every_module_and_every_public_name_can_be_imported(plain: PlainInstall, tmp_path: Path) -> None:
    names = [name for name in without_extras(plain) if name != "llmroute.__main__"]
    code = f"""
from importlib import import_module
for name in {names!r}:
    import_module(name)
import llmroute
for name in llmroute.__all__:
    getattr(llmroute, name)
print(len(llmroute.__all__))
"""
    ran = plain.program("-W", "error", "-c", code, home=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert int(ran.out) > 30


def test_the_metadata_describes_the_package(metadata: Message) -> None:
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Keywords"]
    classifiers = metadata.get_all("Classifier", [])
    assert "Typing :: Typed" in classifiers
    assert sorted(metadata.get_all("Provides-Extra", [])) == sorted(PROJECT["optional-dependencies"])


def test_every_direct_dependency_has_a_floor() -> None:
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    for line in (*PROJECT["dependencies"], *extras):
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,-]+\])?>=[0-9]", line), line


def test_the_description_is_readme(metadata: Message) -> None:
    text = metadata.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert text.decode() == README.read_text(encoding="utf-8")
