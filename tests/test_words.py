"""Wording of messages, help, docstrings and documentation: the field's standard terms instead of private ones."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import llmroute

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGE = Path(llmroute.__file__).parent
PROJECT = PACKAGE.parent
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]

# A regular expression for each banned passage, case-insensitive, and what to write instead.
BANNED = {
    r"left alone": "skipped for 30 s; circuit open",
    r"\bnobody\b": "name the agent; unknown",
    r"\bwho\b": "name the agent: the caller, the provider, the process",
    r"\ba person\b": "the user, the caller; exit 3 is a configuration or account problem",
    r"asked again": "retried, requested again",
    r"\brest(s|ing)\b|\bbreakers? rests?\b": "circuit open; depends on",
    r"\bis no time\b": "is not a time",
    r"none of content": "is not content",
    r"\d tries\b|\btries (of|at|and)\b|\bafter \w+ tries\b": "attempts",
    r"\bdoors?\b": "a refused connection",
    r"\bthe house\b": "the package",
    r"\b(put|told|called) otherwise\b": "retried under the other name; differently",
    r"\bwhat (it|that|they) (is|are) worth\b": "name the value",
    r"\bknows? (what|nothing)\b": "unknown",
    r"\b(heed(s|ed)?|purse|piecewise|recollect\w*)\b": "use; request budget; streamed; statistics",
    r"\blets? go\b": "release, expire",
    r"\bunder way\b": "in progress, in flight",
    r"\bbites its own tail\b": "is circular",
    r"\btold\b|\bsaid\b": "reported, stated, named",
    r"\btells? (of|what|whether|how|when|by|apart)\b": "reports, describes, distinguishes",
    r"\b(everybody|somebody|strangers?)\b": "name the agent: all callers, another process, untrusted text",
    r"\b(at home|hung up on|no fact|the wall)\b": "on this machine; closed; uncertain; local time",
    r"\b(lends?|lent|lending)\b": "yields; passed, given",
    r"\btakes? in\b": "adds, folds",
    r"\b(in vain|honest(ly)?)\b": "without success; exact, plausible",
    r"\b(asked for|be asked)\b": "requested; be reached, queried",
    r"\bstands? in for\b": "replaces",
    r"\bgo(es)? on\b": "continues",
    r"\bfor good\b": "permanently",
    r"(?-i:^(What|Let|Have|Lend|Say)\b)": "a noun phrase; return, yield, check, make",
}
# Words of identifiers that are banned, and what to write instead.
BANNED_NAMES = {
    "told": "the content: reported, message, document, payload",
    "untold": "unreported",
    "said": "the content: message, reason, output",
    "asked": "requested, options, request",
    "ask": "fetch, request, confirm",
    "tell": "report, print, notify",
    "telling": "reporting, measured",
    "books": "ledger, amounts by day",
    "nobody": "none",
    "who": "owner, caller",
    "theirs": "the owner: vendor_name",
    "purse": "budget",
    "heard": "received",
}
_BANNED = re.compile("|".join(f"(?:{pattern})" for pattern in BANNED), re.IGNORECASE)
_SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE FROM|CREATE (TABLE|INDEX|TRIGGER)|ALTER TABLE)\b")


class Passage(NamedTuple):
    """A text and where it is."""

    path: str
    line: int
    text: str


def string_literals(source: str, path: str) -> Iterator[Passage]:
    """Yield the string literals of a module, with its docstrings and the parts of f-strings, without SQL."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not _SQL.search(node.value):
            yield Passage(path, node.lineno, " ".join(node.value.split()))


def comments(source: str, path: str) -> Iterator[Passage]:
    """Yield the comments of a module; lines that follow one another in one column are one comment."""
    whole: Passage | None = None
    place = (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, column = token.start
        words = token.string.lstrip("# ")
        if whole and place == (line - 1, column):
            whole = whole._replace(text=f"{whole.text} {words}")
        else:
            if whole:
                yield whole
            whole = Passage(path, line, words)
        place = (line, column)
    if whole:
        yield whole


def texts(source: str, path: str) -> Iterator[Passage]:
    yield from string_literals(source, path)
    yield from comments(source, path)


def paragraphs(text: str, path: str) -> Iterator[Passage]:
    """Yield the paragraphs of a page, each on one line; SQL is left out, as released migrations are final."""
    line = 1
    text = re.sub(r"```sql\n.*?```", lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL)
    for paragraph in text.split("\n\n"):
        yield Passage(path, line, " ".join(paragraph.split()))
        line += paragraph.count("\n") + 2


class Name(NamedTuple):
    """An identifier that a module defines, and where."""

    path: str
    line: int
    name: str


def names(source: str, path: str) -> Iterator[Name]:
    """Yield the names that a module defines: of classes, functions, parameters, variables, captures, aliases, ..."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield Name(path, node.lineno, name)
            case ast.arg(arg=name):
                yield Name(path, node.lineno, name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield Name(path, node.lineno, name)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield Name(path, node.lineno, name)
            case ast.ExceptHandler(name=str(name)) | ast.alias(asname=str(name)):
                yield Name(path, node.lineno, name)


def banned_names(found: Iterable[Name]) -> list[str]:
    return [
        f"{one.path}:{one.line}: {one.name} ({BANNED_NAMES[word]})"
        for one in found
        for word in map(str.lower, re.findall(r"[A-Z]?[a-z]+|[A-Z]+", one.name))
        if word in BANNED_NAMES
    ]


def violations(passages: Iterator[Passage]) -> list[str]:
    return [
        f"{passage.path}:{passage.line}: {found[0]!r}"
        for passage in passages
        for found in _BANNED.finditer(passage.text)
    ]


@pytest.mark.parametrize(
    "text",
    [
        'raise ValueError("it is left alone for 30 s")',
        'message = f"{name} is LEFT ALONE"',
        'def f():\n    """Ask nobody\n    anything."""',
        'text = "200 after 2 tries"',
        'hint = (\n    "twenty that need "\n    "a person"\n)',
        '"""The words of the house."""',
        'def f():\n    """Return what the server told."""',
        "# left alone",
        "if x:\n    # A model that is left\n    # alone.\n    f()",
        "x = 1  # a value of a stranger",
    ],
)
def test_a_banned_passage_is_found_in_each_kind_of_text(text: str) -> None:
    assert len(violations(texts(text, "module.py"))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "# skipped for 30 s",
        "x = 1  # left\ny = 2  # ended\n\n# alone",
        'query = "SELECT trips FROM breakers -- left alone"',
        'text = "the rest of the input; tries the next model; skipped for 30 s"',
    ],
)
def test_sql_and_plain_words_pass(text: str) -> None:
    assert violations(texts(text, "module.py")) == []


def test_a_banned_passage_is_found_across_the_lines_of_a_page() -> None:
    assert violations(paragraphs("# Title\n\nA model is left\nalone.\n", "page.md")) == ["page.md:3: 'left alone'"]


def test_strings_comments_and_pages_have_no_banned_passage() -> None:
    found = [
        violation
        for path in sorted(PACKAGE.rglob("*.py"))
        for violation in violations(texts(path.read_text(encoding="utf-8"), str(path.relative_to(PROJECT))))
    ]
    for path in PAGES:
        found += violations(paragraphs(path.read_text(encoding="utf-8"), str(path.relative_to(PROJECT))))
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "told = 1",
        "def f(asked): ...",
        "class Books: ...",
        "for who in x: ...",
        "self.is_said = 1",
        "UNTOLD_MS = 1",
        "import ledger as books",
        "from ledger import rows as books",
        "match x:\n    case Emit(told): ...",
        "match x:\n    case [first, *told]: ...",
        "match x:\n    case {'a': 1, **told}: ...",
        "try: ...\nexcept OSError as told: ...",
    ],
)
def test_a_banned_word_is_found_in_each_kind_of_name(source: str) -> None:
    assert len(banned_names(names(source, "module.py"))) == 1


@pytest.mark.parametrize("source", ["untouched = 1", "task = 1", "bookkeeping = 1", "print(told)", "whole = 1"])
def test_other_words_and_names_of_others_pass(source: str) -> None:
    assert banned_names(names(source, "module.py")) == []


def test_names_have_no_banned_word() -> None:
    found = [
        name
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in banned_names(names(path.read_text(encoding="utf-8"), str(path.relative_to(PROJECT))))
    ]
    assert found == []
