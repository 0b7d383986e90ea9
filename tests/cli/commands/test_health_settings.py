"""`health --settings` prints what is in force and where it is set, never a key, without a request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-0123456789abcdef"
CONFIG = """# mine
strategy = "cost_optimized"
workspace = "of-the-file"
max_attempts = 3
[timeouts]

total_s = 60
[budgets.workspaces.nightly]
day = 0.5
[providers.openai]
base_url = "https://gateway.example/sk-abcdef1234567890/v1"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "llmroute"
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIG)
    (folder / ".env").write_text(f"MISTRAL_API_KEY={KEY}2\n\n# mine\n\nLLM_WORKSPACE=of-the-env-file\n")
    (tmp_path / ".env").write_text(f"TOGETHER_API_KEY={KEY}3\nLLM_ENABLE_FALLBACK=true\n")
    return tmp_path


def found(home: Path, **variables: str) -> dict[str, dict[str, Any]]:
    ran = run("health", "--settings", "--json", home=home, **variables)
    assert (ran.code, KEY in ran.out + ran.err) == (0, False)
    return {one.pop("name"): one for one in json.loads(ran.out)["settings"]}


def origin(
    source: str, variable: str | None = None, file: Path | None = None, line: int | None = None, *, value: Any
) -> dict[str, Any]:
    return {"value": value, "source": source, "variable": variable, "file": file and str(file), "line": line}


def test_each_setting_has_its_value_and_its_origin(home: Path) -> None:
    told = found(home, OPENAI_API_KEY=KEY, LLM_DEFAULT_PROVIDER="openai")
    toml, own, here = home / "llmroute" / "config.toml", home / "llmroute" / ".env", home / ".env"
    assert told["default_provider"] == origin("environment", "LLM_DEFAULT_PROVIDER", value="openai")
    assert told["strategy"] == origin("config.toml", None, toml, 2, value="cost_optimized")
    assert told["workspace"] == origin(".env", "LLM_WORKSPACE", own, 5, value="of-the-env-file")
    assert told["max_attempts"] == origin("config.toml", None, toml, 4, value=3)
    assert told["enable_fallback"] == origin(".env", "LLM_ENABLE_FALLBACK", here, 2, value=True)
    assert told["timeouts.total_s"] == origin("config.toml", None, toml, 7, value=60)
    assert told["timeouts.connect_s"] == origin("default", value=5.0)
    assert told["budgets.workspaces.nightly.day"] == origin("config.toml", None, toml, 9, value=0.5)
    assert told["providers.openai.api_key"] == origin("environment", "OPENAI_API_KEY", value="set")
    assert told["providers.mistral.api_key"] == origin(".env", "MISTRAL_API_KEY", own, 1, value="set")
    assert told["providers.together.api_key"] == origin(".env", "TOGETHER_API_KEY", here, 1, value="set")
    assert told["providers.anthropic.api_key"] == origin("default", value=None)
    address = "https://gateway.example/[key]/v1"
    assert told["providers.openai.base_url"] == origin("config.toml", None, toml, 11, value=address)


def test_a_setting_that_is_not_allowed_there_is_not_the_origin(home: Path) -> None:
    (home / "llmroute" / "config.toml").write_text("enable_fallback = false\n")
    told = found(home)
    assert told["enable_fallback"] == origin("config.toml", None, home / "llmroute" / "config.toml", 1, value=False)


def test_a_key_that_is_not_used_says_why(home: Path) -> None:
    told = found(home, OPENAI_API_KEY=KEY, OPENAI_BASE_URL="http://gateway.example/v1")
    assert told["providers.openai.api_key"]["value"].startswith("set, not used: OPENAI_BASE_URL")


def test_admin_keys_are_listed_and_never_shown(home: Path) -> None:
    far = {"ANTHROPIC_ADMIN_KEY": f"{KEY}4", "ANTHROPIC_BASE_URL": "http://far.example"}
    told = found(home, OPENAI_ADMIN_KEY=KEY, **far)
    assert told["providers.openai.admin_key"] == origin("environment", "OPENAI_ADMIN_KEY", value="set")
    assert told["providers.anthropic.admin_key"]["value"].startswith("set, not used: ANTHROPIC_BASE_URL")
    assert "providers.mistral.admin_key" not in told


def test_the_table_has_a_line_for_each_setting(home: Path) -> None:
    ran = run("health", "--settings", home=home, OPENAI_API_KEY=KEY)
    assert (ran.code, KEY in ran.out) == (0, False)
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in ran.out.splitlines()}
    assert lines["strategy"] == f"cost_optimized {home / 'llmroute' / 'config.toml'}:2"
    assert lines["workspace"] == f"of-the-env-file LLM_WORKSPACE in {home / 'llmroute' / '.env'}:5"
    assert lines["upgrade"] == "true default"
    assert lines["providers.openai.api_key"] == "set OPENAI_API_KEY in the environment"
    assert lines.keys() >= found(home).keys()


@pytest.mark.parametrize("other", ["--provider", "--reset"])
def test_with_another_purpose_it_is_2(other: str, home: Path) -> None:
    ran = run("health", "--settings", other, "openai", home=home)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)


def test_a_key_that_is_the_value_of_another_setting_is_hidden(tmp_path: Path) -> None:
    key = "sk-SECRETabcdefgh123"
    settings = {"OPENAI_API_KEY": key, "OPENAI_ORGANIZATION": key, "LLM_WORKSPACE": f"team {key}"}
    for form in ((), ("--json",)):
        told = run("health", "--settings", *form, home=tmp_path, **settings)
        assert told.code == 0
        assert key not in told.out
        assert "[key]" in told.out


def test_a_key_that_is_not_used_is_hidden_in_names_lists_and_values(tmp_path: Path) -> None:
    key, overridden = "sk-SECRETabcdefgh123", "sk-OTHERabcdefgh4567"
    (tmp_path / "llmroute").mkdir()
    (tmp_path / "llmroute" / ".env").write_text(f"OPENAI_API_KEY={overridden}\n")
    (tmp_path / "llmroute" / "config.toml").write_text(
        f'workspace = "{overridden}"\n[chains]\n{key} = ["openai/{key}", "openai/gpt-5"]\n'
        f'[budgets.workspaces."{key}"]\nday = 1\n[models."openai/{key}"]\ninput = 1.0\noutput = 2.0\n'
    )
    settings = {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": "http://gateway.example/v1", "LLM_DEFAULT_PROVIDER": "openai"}
    told = run("health", "--settings", home=tmp_path, **settings)
    assert told.code == 0
    assert (key in told.out, overridden in told.out) == (False, False)
    for name in ("chains.[key]", "budgets.workspaces.[key].day", "models.openai/[key]", "openai/[key], openai/gpt-5"):
        assert name in told.out


def test_a_key_that_is_the_name_of_its_provider_hides_no_name_of_a_setting(tmp_path: Path) -> None:
    assert "providers.ollama.api_key" in found(tmp_path, OLLAMA_API_KEY="ollama")


def test_a_variable_of_blanks_is_not_set(tmp_path: Path) -> None:
    told = found(tmp_path, LLMROUTE_LEDGER="  ", LLMROUTE_LOCAL_MODEL=" ", LLM_WORKSPACE=" ")
    assert told["ledger"] == origin("default", value=str(tmp_path / "llmroute" / "ledger.db"))
    assert (told["local_model"], told["workspace"]) == (origin("default", value=None),) * 2


def test_what_is_ignored_in_a_file_is_said(home: Path) -> None:
    (home / ".env").write_text("LLM_WORKSPACE=of-the-project\n")
    told = run("health", "--settings", home=home)
    assert (told.code, "LLM_WORKSPACE in" in told.err, "is ignored" in told.err) == (0, True, True)


def test_the_schema_of_a_ledger_on_a_server_has_an_origin_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    server = {"LLMROUTE_LEDGER": "postgresql://me:secret-word@127.0.0.1:1/team"}
    assert "schema" not in found(tmp_path)
    assert found(tmp_path, **server)["schema"] == origin("default", value="llmroute")
    told = found(tmp_path, **server, LLMROUTE_SCHEMA="of_search")
    assert told["schema"] == origin("environment", "LLMROUTE_SCHEMA", value="of_search")
    assert "secret-word" not in str(told)


def test_a_token_of_a_base_url_that_is_in_another_setting_is_hidden(tmp_path: Path) -> None:
    token = "t0ken-ABCdef123456"
    settings = {"OPENAI_BASE_URL": f"https://gateway.example/{token}/v1", "LLM_WORKSPACE": f"team {token}"}
    told = run("health", "--settings", home=tmp_path, **settings)
    assert told.code == 0
    assert token not in told.out
    assert "team [key]" in told.out
