"""Catalogue files: the shipped and the refreshed catalogue, read, checksummed, rendered and written."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from llmroute import files

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

SCHEMA = 1
SEAL = b'{\n"crc": "'
PREVIOUS = "catalogue.previous.json"
_SHIPPED = __file__.removesuffix("catalogue_file.py").removesuffix("catalogue_file.pyc") + "catalogue.json"


def shipped_catalogue() -> dict[str, Any]:
    """Return the catalogue in the package."""
    with open(_SHIPPED, "rb") as file:  # noqa: PTH123 (pathlib costs more to import than the rest of the registry)
        catalogue: dict[str, Any] = json.loads(file.read())
    return catalogue


def load(path: str | PathLike[str] | None) -> tuple[dict[str, Any], str | None]:
    """Return the refreshed catalogue at `path`, or the shipped one where that is newer or `path` cannot be used.

    The second value is a warning about a file that exists and cannot be used, else None.
    """
    shipped = shipped_catalogue()
    if path is None:
        return shipped, None
    try:
        refreshed = _read_refreshed(path)
    except FileNotFoundError:
        return shipped, None
    except (OSError, ValueError) as error:
        return shipped, f"{path}: cannot use the refreshed catalogue, using the shipped one: {error}"
    return (refreshed if refreshed["as_of"] >= shipped["as_of"] else shipped), None


def _read_refreshed(path: str | PathLike[str]) -> dict[str, Any]:
    with open(path, "rb") as file:  # noqa: PTH123 (as above)
        catalogue: dict[str, Any] = json.loads(unseal(file.read()))
    if catalogue["schema"] != SCHEMA:
        raise ValueError(f"schema {catalogue['schema']} instead of {SCHEMA}")
    return catalogue


def seal(data: bytes) -> bytes:
    """Add a checksum, so that `load` need not validate the catalogue again."""
    return SEAL + f"{zlib.crc32(data):08x}".encode() + b'",\n' + data.removeprefix(b"{\n")


def unseal(data: bytes) -> bytes:
    """Return the data without its checksum.

    Raises:
        ValueError: the checksum is missing or does not match.
    """
    start = len(SEAL) + 8
    plain = b"{\n" + data[start + 3 :]
    if data != seal(plain):
        raise ValueError("its checksum does not match")
    return plain


def render_catalogue(catalogue: dict[str, Any]) -> str:
    """Return a catalogue as JSON with one fact per line, for readable diffs."""
    lines = [f'"{key}": {_json(value)},' for key, value in catalogue.items() if key != "models"]
    models = [
        "{\n" + ",\n".join(f'  "{key}": {_json(value)}' for key, value in row.items()) + "\n }"
        for row in catalogue["models"]
    ]
    return "{\n" + "\n".join(lines) + '\n"models": [\n ' + ",\n ".join(models) + "\n]\n}\n"


def write_catalogue(path: Path, catalogue: dict[str, Any]) -> None:
    """Replace the catalogue at `path`, readable by the owner only; keep the previous one beside it.

    Raises:
        OSError: it cannot be written; the old catalogue is unchanged.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        files.replace(path.with_name(PREVIOUS), path.read_bytes())
    files.replace(path, seal(render_catalogue(catalogue).encode()))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
