"""`--local-only` in a process of its own: what only looks like this machine's address gets not even a question."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.fault_server import reply, serving
from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path

MODELS = json.dumps({"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest"}]}).encode()


@pytest.mark.parametrize(
    ("variable", "host"),
    [
        *(
            (variable, host)
            for variable in ("OLLAMA_HOST", "OLLAMA_BASE_URL")
            for host in ("127.0.0.010", "127.300.0.1")
        ),
        ("OLLAMA_BASE_URL", "0.0.0.0"),
        ("OLLAMA_BASE_URL", "[::]"),
    ],
)
def test_nothing_leaves_for_an_address_that_only_looks_like_this_machine(
    tmp_path: Path, variable: str, host: str
) -> None:
    with serving([reply(200, MODELS)]) as proxy:
        proxies = {"http_proxy": proxy.url, "all_proxy": proxy.url}
        asked = ("gen", "secret", "-m", "ollama/llama3.2", "--local-only", "--no-stdin")
        ran = run(*asked, home=tmp_path, **proxies, **{variable: f"http://{host}:11434"})
        assert (ran.code, ran.out, proxy.received) == (2, "", [])
        assert "does not run on this machine" in ran.err
