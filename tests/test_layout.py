"""Package layout: no import cycle, small packages, a docstring per module and one name per class."""

from __future__ import annotations

import ast
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import llmroute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(llmroute.__file__).parent
MAX_MODULES = 14


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}


def imported(node: ast.AST, known: Mapping[str, str]) -> Iterator[str]:
    """Yield the modules that a statement imports: of `from package import module` that is the module."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "an import is absolute"
        inside = [f"{node.module}.{alias.name}" for alias in node.names]
        names = [name if name in known else str(node.module) for name in inside]
    else:
        names = []
    yield from (name for name in names if name in known)


def imports(source: str, known: Mapping[str, str]) -> set[str]:
    """Return the modules that a module imports: when it is loaded, when a function is called, or for type checkers."""
    return {name for node in ast.walk(ast.parse(source)) for name in imported(node, known)}


def circle(sources: Mapping[str, str]) -> list[str]:
    """Return the modules of a circle of imports, its first one last again; none where there is none."""
    graph = {name: imports(source, sources) - {name} for name, source in sources.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        ("import a.two", True),
        ("from a import two", True),
        ("from a.two import x", True),
        ("def f():\n    from a.two import x", True),
        ("class C:\n    async def f(self):\n        import a.two", True),
        ("if TYPE_CHECKING:\n    from a.two import x", True),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    from a.two import x", True),
        ("import b", False),
    ],
)
def test_a_circle_is_found_wherever_its_imports_stand(one: str, expected: bool) -> None:
    assert bool(circle({"a": "", "a.one": one, "a.two": "from a.one import y"})) is expected


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert len(SOURCES) > 100
    assert " -> ".join(reversed(circle(SOURCES))) == ""


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for module, source in SOURCES.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_no_package_has_more_than_14_modules() -> None:
    modules = {path.parent: 0 for path in ROOT.rglob("*.py")}
    for path in ROOT.rglob("*.py"):
        modules[path.parent] += path.name != "__init__.py"
    too_large = {str(folder.relative_to(ROOT)): count for folder, count in modules.items() if count > MAX_MODULES}
    assert too_large == {}


def test_every_module_has_a_docstring() -> None:
    assert [module for module, source in SOURCES.items() if not ast.get_docstring(ast.parse(source))] == []
