"""Read the catalogue that ships with llmroute, or the refreshed one when that is newer and sound."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from os import PathLike

SCHEMA = 1
SEAL = b'{\n"crc": "'
_SHIPPED = __file__.removesuffix("catalogue_file.py").removesuffix("catalogue_file.pyc") + "catalogue.json"


def shipped() -> dict[str, Any]:
    """Return the catalogue that this version of llmroute came with."""
    with open(_SHIPPED, "rb") as file:  # noqa: PTH123 (pathlib costs more to import than the rest of the registry)
        catalogue: dict[str, Any] = json.loads(file.read())
    return catalogue


def load(path: str | PathLike[str] | None) -> tuple[dict[str, Any], str | None]:
    """Return the refreshed catalogue at `path` when it is as new as the shipped one, else that; and a warning.

    A file that is missing is nothing to tell; one that cannot be used is told, and never stops the program.
    """
    own = shipped()
    if path is None:
        return own, None
    try:
        refreshed = _refreshed(path)
    except FileNotFoundError:
        return own, None
    except (OSError, ValueError) as error:
        return own, f"{path}: the refreshed catalogue is not used, the shipped one is: {error}"
    return (refreshed if refreshed["as_of"] >= own["as_of"] else own), None


def _refreshed(path: str | PathLike[str]) -> dict[str, Any]:
    with open(path, "rb") as file:  # noqa: PTH123 (as above)
        catalogue: dict[str, Any] = json.loads(unseal(file.read()))
    if catalogue["schema"] != SCHEMA:
        raise ValueError(f"its schema is {catalogue['schema']}, not {SCHEMA}")
    return catalogue


def seal(data: bytes) -> bytes:
    """Add the checksum by which `load` knows that a catalogue is as it was when it was found sound."""
    return SEAL + f"{zlib.crc32(data):08x}".encode() + b'",\n' + data.removeprefix(b"{\n")


def unseal(data: bytes) -> bytes:
    """Return what was sealed.

    Raises:
        ValueError: it was cut or edited since, or never sealed.
    """
    start = len(SEAL) + 8
    plain = b"{\n" + data[start + 3 :]
    if data != seal(plain):
        raise ValueError("it was cut or edited since it was written")
    return plain
