"""config.toml: validated once, then kept as a compiled snapshot until it or the program changes."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from llmroute.config import settings_file
from llmroute.errors import ConfigError
from llmroute.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    CheckModels = Callable[[dict[str, Any]], dict[str, Any]]


def read(path: Path, check_models: CheckModels) -> dict[str, Any]:
    """Return what config.toml says, checked; empty when there is none.

    `check_models` returns the rows under `models` as plain data, or raises what is wrong with them.

    Raises:
        ConfigError: the file cannot be read, does not parse, or holds what no setting is called.
    """
    settings_file.check(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        # TOML knows no byte order mark; some editors write one.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: does not parse: {error}") from error
    # The text itself: two versions may be of one size and of one moment.
    stamp = [__version__, text]
    snapshot = path.with_name("config.snapshot.json")
    if (kept := _kept(snapshot, stamp)) is not None:
        return kept
    settings = _parse(text, path, check_models)
    _keep(snapshot, stamp, settings)
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
            raise ConfigError(f"{error.message} (in {path})", hint=error.hint) from error
    return settings


def _kept(snapshot: Path, stamp: list[Any]) -> dict[str, Any] | None:
    try:
        kept = json.loads(snapshot.read_bytes())
        return dict(kept["settings"]) if kept["stamp"] == stamp else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(snapshot: Path, stamp: list[Any], settings: dict[str, Any]) -> None:
    """Write the snapshot; a folder that cannot be written only costs the time it would have saved."""
    from llmroute import files

    with suppress(OSError):
        files.replace(snapshot, json.dumps({"stamp": stamp, "settings": settings}).encode())
