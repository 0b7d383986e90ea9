"""docs/configuration.md names every setting."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from llmroute.config import Timeouts
from llmroute.config.env import ADMIN_KEYS, VARIABLES
from llmroute.config.schema import Document
from llmroute.providers import PROVIDERS
from llmroute.routing.actions import MAX_ATTEMPTS
from llmroute.routing.plan import Balance
from llmroute.types import DEFAULT_PREFERENCE
from tests.docs.pages import ROOT, read

PAGE = read("configuration.md")


def names(text: str) -> set[str]:
    return set(re.findall(r"\b(?:LLM|LLMROUTE|OPENAI|ANTHROPIC|MISTRAL|TOGETHER|OLLAMA)_[A-Z_]+\b", text))


def keys(schema: dict[str, Any]) -> set[str]:
    """Return every key that config.toml takes; the weights of older versions are refused."""
    tables = (schema, *schema["$defs"].values())
    return {key for table in tables for key in table.get("properties", {})} - {"models", "workspaces", "weights"}


def test_every_variable_is_documented_and_those_of_env_files_are_in_the_example() -> None:
    keyed = [name for name, row in PROVIDERS.items() if row.needs_key]
    read_from_env_files = {*VARIABLES, *(f"{name.upper()}_API_KEY" for name in keyed)}
    read_from_env_files |= {f"{name.upper()}_BASE_URL" for name in (*keyed, "ollama")}
    read_from_env_files |= set(ADMIN_KEYS.values())
    own = {"LLMROUTE_LEDGER", "LLMROUTE_SCHEMA", "LLMROUTE_CONFIG_DIR", "LLMROUTE_LOCAL_MODEL"}
    assert names(PAGE) == read_from_env_files | own
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert names(example) - {"OPENAI_BASE_URL"} >= read_from_env_files - {"OLLAMA_HOST", "OPENAI_BASE_URL"}


def test_every_key_of_config_toml_is_documented() -> None:
    for key in keys(Document.model_json_schema()):
        assert f"`{key}`" in PAGE or f"[{key}" in PAGE or f"\n{key} = " in PAGE, key


def test_the_page_shows_the_default_of_every_limit_and_timeout() -> None:
    [block] = [text for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "[timeouts]" in text]
    shown = tomllib.loads(block)
    assert shown["timeouts"] == Timeouts()._asdict()
    assert shown["balance"] == Balance()._asdict()
    assert shown["default_preference"] == DEFAULT_PREFERENCE
    assert shown["max_attempts"] == MAX_ATTEMPTS
