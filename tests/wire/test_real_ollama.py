"""A real Ollama, where one is installed and a model of its own lies at hand: nothing is pulled from anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import pytest

from llmroute import errors
from llmroute.config import Timeouts
from llmroute.planning.local.engine import EngineFiles
from tests.support.ports import free_port
from tests.wire.calling import Outcome, call, config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.registry import ModelRegistry

OLLAMA = shutil.which("ollama")
NAME = "smollm2-test"
START_S = 30

pytestmark = pytest.mark.skipif(OLLAMA is None, reason="ollama is not on PATH")

either_way = pytest.mark.parametrize(
    "awaiting", [pytest.param(False, id="blocking"), pytest.param(True, id="awaiting")]
)
each_form = pytest.mark.parametrize("streaming", [pytest.param(False, id="gen"), pytest.param(True, id="stream")])


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Run a server with its models in a folder; yield its address and the environment of its commands."""
    host = f"127.0.0.1:{free_port()}"
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    environment = {**kept, "HOME": str(folder), "OLLAMA_HOST": host, "OLLAMA_MODELS": str(folder / "models")}
    assert OLLAMA is not None
    server = subprocess.Popen(
        [OLLAMA, "serve"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_version(f"http://{host}/api/version", server)
        yield f"http://{host}", environment
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _await_version(url: str, server: subprocess.Popen[bytes]) -> None:
    opener = build_opener(ProxyHandler({}))
    until = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < until:
        try:
            with opener.open(url, timeout=1) as answer:
                answer.read()
        except (URLError, OSError):
            time.sleep(0.1)
        else:
            return
    pytest.skip(f"ollama serve did not come up within {START_S} s")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that has one model, made of the weights that the embedded engine comes with."""
    weights = EngineFiles().find()
    if weights is None:
        pytest.skip("there are no weights to make a model of")
    folder = tmp_path_factory.mktemp("ollama")
    (folder / "Modelfile").write_text(f"FROM {Path(weights).resolve()}\n")
    with serving(folder) as (url, environment):
        assert OLLAMA is not None
        made = subprocess.run(
            [OLLAMA, "create", NAME, "-f", str(folder / "Modelfile")],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )
        if made.returncode != 0:
            pytest.skip(f"ollama makes no model of the weights: {made.stderr.decode(errors='replace')[-200:]}")
        yield url


def ask(
    address: str, home: Path, registry: ModelRegistry, *, streaming: bool, awaiting: bool, **asked: object
) -> Outcome:
    here = config(home, {"ollama": address}, Timeouts(total_s=120))
    asked = {"model": f"ollama/{NAME}", "temperature": 0, "max_tokens": 16} | asked
    return call(here, registry, streaming=streaming, awaiting=awaiting, label="real", **asked)


@either_way
@each_form
def test_a_real_server_answers_with_its_tokens(
    address: str, tmp_path: Path, registry: ModelRegistry, *, streaming: bool, awaiting: bool
) -> None:
    outcome = ask(address, tmp_path / "c", registry, streaming=streaming, awaiting=awaiting)
    assert outcome.response is not None, outcome.error
    assert outcome.response.content.strip()
    assert outcome.response.finish_reason in ("stop", "length")
    row = outcome.row
    assert (row["status"], row["cost_picousd"]) == ("ok", 0)
    assert 0 < row["output_tokens"] <= 16
    assert row["input_tokens"] > 0
    if streaming:
        assert "".join(outcome.pieces) == outcome.response.content


def test_a_real_server_runs_its_models_here(address: str, tmp_path: Path, registry: ModelRegistry) -> None:
    outcome = ask(address, tmp_path / "c", registry, streaming=False, awaiting=False, local_only=True)
    assert outcome.error is None


def test_a_real_server_names_a_model_that_is_not_pulled(address: str, tmp_path: Path, registry: ModelRegistry) -> None:
    outcome = ask(address, tmp_path / "c", registry, streaming=False, awaiting=False, model="ollama/no-such-model:1b")
    assert type(outcome.error) is errors.ModelGoneError
    assert "ollama pull no-such-model:1b" in (outcome.error.hint or "")


def test_a_prompt_that_a_real_server_cuts_is_warned_of_or_refused(
    address: str, tmp_path: Path, registry: ModelRegistry
) -> None:
    # The weights were trained for a window of 8,192 tokens; this is about 12,000.
    outcome = ask(address, tmp_path / "c", registry, streaming=False, awaiting=False, prompt="word " * 12_000)
    if outcome.error is None:
        assert any("cut" in note for note in outcome.notes)
    else:
        assert type(outcome.error) is errors.ContextLengthError
