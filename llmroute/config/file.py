"""config.toml, validated once and cached as a snapshot until the file or the version of llmroute changes."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from llmroute.config import settings_file
from llmroute.errors import ConfigError
from llmroute.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    CheckModels = Callable[[dict[str, Any]], dict[str, Any]]

SNAPSHOT: Final = "config.snapshot.json"


def read(path: Path, check_models: CheckModels) -> dict[str, Any]:
    """Return the validated settings of config.toml; empty when the file does not exist.

    `check_models` validates the rows under `models` and returns them as plain data.

    Raises:
        ConfigError: the file cannot be read or parsed, or a setting is unknown or invalid.
    """
    settings_file.check(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        # TOML has no byte order mark, but some editors write one.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: does not parse: {error}") from error
    # The text itself, as two versions may have the same size and modification time.
    stamp = [__version__, text]
    snapshot = path.with_name(SNAPSHOT)
    if (cached := _read_snapshot(snapshot, stamp)) is not None:
        return cached
    settings = _parse(text, path, check_models)
    _write_snapshot(snapshot, stamp, settings)
    return settings


def _parse(text: str, path: Path, check_models: CheckModels) -> dict[str, Any]:
    import tomllib

    from llmroute.config.schema import validate

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: does not parse: {error}") from error
    settings = validate(document, str(path))
    if models := settings.get("models"):
        try:
            settings["models"] = check_models(models)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error.message}", hint=error.hint) from error
    return settings


def _read_snapshot(snapshot: Path, stamp: list[Any]) -> dict[str, Any] | None:
    try:
        cached = json.loads(snapshot.read_bytes())
        return dict(cached["settings"]) if cached["stamp"] == stamp else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_snapshot(snapshot: Path, stamp: list[Any], settings: dict[str, Any]) -> None:
    """Write the snapshot, unless the directory is read-only."""
    from llmroute import files

    with suppress(OSError):
        files.replace(snapshot, json.dumps({"stamp": stamp, "settings": settings}).encode())
