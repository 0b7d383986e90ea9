"""Each import of each module in the wheel belongs to Python, to the package itself, or to a declared dependency."""

from __future__ import annotations

import ast
from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.install.plain import PlainInstall

_BY_NAME = {"import_module", "__import__", "find_spec"}
# Run as a program of its own, or known to type checkers alone; never imported.
TOOLS = {"pip", "_typeshed"}
# Imported only where their extra is installed, with the modules below them.
OF_EXTRAS = ("llmroute.transport.aiohttp_transport", "llmroute.ledger.postgres")
# Declared for another dependency, which takes it where it is there.
FOR_OTHERS = {"sniffio", "fqdn", "idna", "jsonpointer", "rfc3339-validator", "uri-template", "webcolors"}


def imported(source: str) -> Iterator[str]:
    """Yield the dotted name of each module that is imported, inside functions and by a literal name too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in _BY_NAME and node.args:
            named = node.args[0]
            if isinstance(named, ast.Constant) and isinstance(named.value, str):
                yield named.value


def without_extras(plain: PlainInstall) -> list[str]:
    """Return the modules that need no extra."""
    return sorted(name for name in plain.modules if not f"{name}.".startswith(tuple(f"{one}." for one in OF_EXTRAS)))


class Declared:
    """What the metadata of the installed package declares, and who brings each module."""

    def __init__(self, plain: PlainInstall) -> None:
        requirements = [Requirement(line) for line in plain.facts["requires"]]
        self.always = {canonicalize_name(each.name) for each in requirements if each.marker is None}
        self.extras = {canonicalize_name(each.name): str(each.marker) for each in requirements if each.marker}
        self._standard = set(plain.facts["standard"])
        # What only an extra brings is missing from a plain install, and is known here by the development group.
        self._distributions = {**packages_distributions(), **plain.facts["packages"]}

    def owner(self, module: str) -> str | None:
        """The declared dependency that a module comes from, "python" or "llmroute"; None where none is declared."""
        top = module.partition(".")[0]
        if top in self._standard:
            return "python"
        if top == "llmroute":
            return top
        # What is not installed at all goes by its own name.
        names = {canonicalize_name(name) for name in self._distributions.get(top, (top,))}
        declared = sorted(names & (self.always | self.extras.keys()))
        return declared[0] if declared else None


@pytest.fixture(scope="module")
def owners(plain: PlainInstall) -> dict[str, dict[str, str | None]]:
    """Of each module of the wheel, what it imports and where that comes from."""
    declared = Declared(plain)
    return {
        name: {module: declared.owner(module) for module in {*imported(path.read_text(encoding="utf-8"))} - TOOLS}
        for name, path in plain.modules.items()
    }


def test_every_import_is_of_a_declared_dependency(owners: dict[str, dict[str, str | None]]) -> None:
    assert len(owners) > 100
    undeclared = [
        f"{name} imports {module}" for name, found in owners.items() for module, owner in found.items() if owner is None
    ]
    assert undeclared == [], "\n".join(undeclared)


def test_every_declared_dependency_is_imported(plain: PlainInstall, owners: dict[str, dict[str, str | None]]) -> None:
    declared = Declared(plain)
    used = {owner for found in owners.values() for owner in found.values()}
    assert (declared.always | declared.extras.keys()) - used == FOR_OTHERS


def test_what_only_an_extra_brings_is_imported_inside_functions(plain: PlainInstall) -> None:
    declared = Declared(plain)
    for name in without_extras(plain):
        path = plain.modules[name]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = {
            node
            for each in ast.walk(tree)
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            for node in ast.walk(each)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom) and node not in inside:
                found = {declared.owner(module) for module in imported(ast.unparse(node))}
                assert not found & declared.extras.keys(), name


def test_every_module_that_is_imported_from_the_package_is_in_the_wheel(
    plain: PlainInstall, owners: dict[str, dict[str, str | None]]
) -> None:
    wanted = {module for found in owners.values() for module, owner in found.items() if owner == "llmroute"}
    assert wanted - plain.modules.keys() == set()


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import rpds", "rpds"),
        ("def f():\n    from pydantic_core.core_schema import str_schema", "pydantic_core.core_schema"),
        ("import os, click.core as c", "click.core"),
        ("from importlib import import_module\nimport_module('h11')", "h11"),
        ("from importlib import util\nutil.find_spec('mdurl')", "mdurl"),
    ],
)
def test_an_import_of_what_another_package_brings_is_found(source: str, module: str, plain: PlainInstall) -> None:
    assert module in set(imported(source))
    assert Declared(plain).owner(module) is None
