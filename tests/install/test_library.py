"""The library in a plain install: whole and streamed answers, many at once, health; nothing is left open."""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.install.plain import ROOT
from tests.install.servers import ANSWER
from tests.support.shell import rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.install.plain import PlainInstall
    from tests.install.servers import Providers

ANSWERING = """
import asyncio
from llmroute import get_llm_service
async def main():
    async with get_llm_service() as service:
        whole = await service.generate("Hello", model="openai/gpt-5.4-mini")
        print(whole.content)
        stream = service.stream_generate("Hello", model="anthropic/claude-haiku-4-5")
        print("".join([piece async for piece in stream]))
        requests = [{"prompt": f"Say {number}.", "model": "ollama/mistral"} for number in range(5)]
        print([result.response.content async for result in service.generate_many(requests, jobs=3)])
        print(await service.health_check())
asyncio.run(main())
"""


def test_answers_streams_many_and_health_leave_nothing_open(
    plain: PlainInstall, served: Providers, tmp_path: Path
) -> None:
    ran = plain.program("-c", ANSWERING, home=tmp_path, **served.settings)
    assert (ran.code, ran.err) == (0, "")
    whole, streamed, many, health = ran.out.splitlines()
    assert (whole, streamed, many) == (ANSWER, ANSWER, repr([ANSWER] * 5))
    hosted = {"openai", "anthropic", "mistral", "together", "ollama"}
    assert {name for name in hosted if f"'{name}': True" in health} == hosted
    assert [len(served.bodies(name)) for name in ("openai", "anthropic", "ollama")] == [1, 1, 5]
    assert {row["status"] for row in rows(tmp_path)} == {"ok"}


def development_distributions() -> set[str]:
    """The names of what the development group and the extras ask for and the package itself does not."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [*project["dependency-groups"]["dev"], *chain(*project["project"]["optional-dependencies"].values())]
    names = [Requirement(line).name for line in asked]
    runtime = {canonicalize_name(Requirement(line).name) for line in project["project"]["dependencies"]}
    return {str(canonicalize_name(name)) for name in names} - runtime


def test_nothing_of_the_development_group_can_be_imported(plain: PlainInstall, tmp_path: Path) -> None:
    wanted = development_distributions()
    modules = sorted(
        module
        for module, distributions in packages_distributions().items()
        if wanted & {canonicalize_name(name) for name in distributions} and module.isidentifier()
    )
    assert {"pytest", "hypothesis", "mypy", "genai_prices", "xllamacpp"} <= set(modules)
    code = f"""
import importlib.util, json
print(json.dumps([name for name in {modules!r} if importlib.util.find_spec(name) is not None]))
"""
    ran = plain.program("-c", code, home=tmp_path)
    assert (json.loads(ran.out), ran.err) == ([], "")
    assert not wanted & {canonicalize_name(name) for name in plain.facts["distributions"]}
