"""Write a catalogue: as text in which a change reads as one, and to a file that is never half written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llmroute import files
from llmroute.registry.catalogue_file import seal

if TYPE_CHECKING:
    from pathlib import Path

PREVIOUS = "catalogue.previous.json"


def render(catalogue: dict[str, Any]) -> str:
    """Return the text of a catalogue, one fact a line."""
    lines = [f'"{key}": {_json(value)},' for key, value in catalogue.items() if key != "models"]
    models = [
        "{\n" + ",\n".join(f'  "{key}": {_json(value)}' for key, value in row.items()) + "\n }"
        for row in catalogue["models"]
    ]
    return "{\n" + "\n".join(lines) + '\n"models": [\n ' + ",\n ".join(models) + "\n]\n}\n"


def take(path: Path, catalogue: dict[str, Any]) -> None:
    """Put a catalogue that was checked at `path`, for the user's eyes only; keep the previous one beside it.

    Raises:
        OSError: it could not be written; what was there is untouched.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        files.replace(path.with_name(PREVIOUS), path.read_bytes())
    files.replace(path, seal(render(catalogue).encode()))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
