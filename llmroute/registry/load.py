"""Read the catalogue that ships with llmroute, or the refreshed one when that is newer and sound."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llmroute.registry.rows import model_from_row

if TYPE_CHECKING:
    from os import PathLike

SCHEMA = 1
_SHIPPED = __file__.removesuffix("load.py").removesuffix("load.pyc") + "catalogue.json"


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
        with open(path, "rb") as file:  # noqa: PTH123 (as above)
            refreshed = json.loads(file.read())
        _check(refreshed)
    except FileNotFoundError:
        return own, None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return own, f"{path}: not a catalogue, the shipped one is used ({type(error).__name__}: {error})"
    return (refreshed if refreshed["as_of"] >= own["as_of"] else own), None


def _check(catalogue: Any) -> None:
    """Build every model once: a file may have been cut or edited since it was written."""
    if catalogue["schema"] != SCHEMA:
        raise ValueError(f"its schema is {catalogue['schema']!r}, not {SCHEMA}")
    if not isinstance(catalogue["as_of"], str) or not isinstance(catalogue["providers"], dict):
        raise TypeError("as_of or providers is of the wrong kind")
    for row in catalogue["models"]:
        model = model_from_row(row)
        if not all(isinstance(word, str) for word in (model.provider, model.id, model.api_name, *model.aliases)):
            raise TypeError("a name is no text")
        if model.provider not in catalogue["providers"]:
            raise ValueError(f"{model.name} is of no provider")
