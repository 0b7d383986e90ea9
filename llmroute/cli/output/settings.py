"""The effective settings and their origins, as a table or JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.tables import cell, flowing
from llmroute.cli.output.terminal import terminal_width

if TYPE_CHECKING:
    from llmroute.service.effective_settings import EffectiveSetting


def show_settings(*, as_json: bool) -> None:
    """Print the effective settings.

    Raises:
        ConfigError: a setting is invalid, or a file cannot be read.
    """
    from llmroute.cli.configuration import load_noted
    from llmroute.service.effective_settings import effective_settings

    found = effective_settings(load_noted())
    if as_json:
        write_json({"settings": [asdict(one) for one in found]})
        return
    rows = [[cell(one.name), cell(_value(one.value)), cell(_origin(one))] for one in found]
    write_text(flowing(("setting", "value", "from"), rows, terminal_width()))


def _value(value: Any) -> str:
    match value:
        case None:
            return "not set"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.12f}".rstrip("0").rstrip(".")
        case list():
            return ", ".join(value)
        case _:
            return str(value)


def _origin(one: EffectiveSetting) -> str:
    match one.source:
        case "environment":
            return f"{one.variable} in the environment"
        case ".env":
            return f"{one.variable} in {one.file}:{one.line}"
        case "config.toml":
            return f"{one.file}:{one.line}"
        case _:
            return "default"
