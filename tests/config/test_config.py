"""Settings come from where they should, and a key goes only where it may."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.config import Timeouts, loading, schema
from llmroute.config import env as config_sources
from llmroute.config import file as config_file
from llmroute.errors import ConfigError
from llmroute.urls import is_base_url, is_loopback, is_loopback_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.config import Config

PROVIDERS = ("openai", "anthropic", "mistral", "ollama", "together", "builtin")
KEY = "sk-secret-0123456789"


class Places:
    """The places that settings live in, all below one folder."""

    def __init__(self, root: Path) -> None:
        self.working = root / "work"
        self.config = root / "config"
        self.working.mkdir()
        self.config.mkdir()
        self.environ: dict[str, str] = {"LLMROUTE_CONFIG_DIR": str(self.config)}

    def load(self, **environ: str) -> Config:
        return loading.load(PROVIDERS, environ=self.environ | environ, working_directory=self.working)

    def toml(self, text: str) -> Path:
        path = self.config / "config.toml"
        path.write_text(text)
        return path


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_without_any_setting_the_defaults_hold(places: Places) -> None:
    loaded = places.load()
    assert loaded.strategy == "balanced"
    assert loaded.enable_fallback
    assert not loaded.prefer_local
    assert (loaded.default_provider, loaded.max_latency_ms, loaded.workspace, loaded.local_model) == (None,) * 4
    assert loaded.timeouts == Timeouts(300.0, 5.0, 60.0, 300.0, 60.0)
    assert loaded.ledger_path == places.config / "ledger.db"
    assert set(loaded.providers) == set(PROVIDERS)
    assert all(settings.api_key is settings.base_url is None for settings in loaded.providers.values())


SETTINGS: list[tuple[str, str, list[tuple[str, Any]]]] = [
    ("LLM_ROUTING_STRATEGY", "strategy", [("cost_optimized", "cost_optimized"), ("LOCAL_FIRST", "local_first")]),
    ("LLM_DEFAULT_PROVIDER", "default_provider", [("mistral", "mistral"), ("OpenAI", "openai")]),
    ("LLM_ENABLE_FALLBACK", "enable_fallback", [("false", False), ("1", True), ("OFF", False), ("yes", True)]),
    ("LLM_PREFER_LOCAL", "prefer_local", [("true", True), ("0", False), ("on", True), ("No", False)]),
    ("LLM_MAX_LATENCY_MS", "max_latency_ms", [("1", 1), ("2500", 2500), (" 30 ", 30)]),
    ("LLM_WORKSPACE", "workspace", [("team a", "team a")]),
]


@pytest.mark.parametrize(
    ("name", "attribute", "written", "read"),
    [(name, attribute, *value) for name, attribute, values in SETTINGS for value in values],
)
def test_a_variable_sets_what_it_names(places: Places, name: str, attribute: str, written: str, read: object) -> None:
    assert getattr(places.load(**{name: written}), attribute) == read


def test_the_environment_wins_over_the_nearer_env_file_the_farther_one_the_toml_and_the_default(
    places: Places,
) -> None:
    def strategy(**environ: str) -> str:
        return places.load(**environ).strategy

    assert strategy() == "balanced"
    places.toml('strategy = "cost_optimized"')
    assert strategy() == "cost_optimized"
    (places.config / ".env").write_text("LLM_ROUTING_STRATEGY=local_first")
    assert strategy() == "local_first"
    (places.working / ".env").write_text("LLM_ROUTING_STRATEGY=quality_optimized")
    assert strategy() == "quality_optimized"
    assert strategy(LLM_ROUTING_STRATEGY="latency_optimized") == "latency_optimized"
    assert strategy(LLM_ROUTING_STRATEGY=" ") == "quality_optimized"


def test_false_in_a_nearer_place_wins_over_true_in_a_farther_one(places: Places) -> None:
    places.toml("prefer_local = true\nenable_fallback = true")
    loaded = places.load(LLM_PREFER_LOCAL="false", LLM_ENABLE_FALLBACK="0")
    assert not loaded.prefer_local
    assert not loaded.enable_fallback


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("LLM_ROUTING_STRATEGY", "cheapest", "one of balanced, cost_optimized"),
        ("LLM_DEFAULT_PROVIDER", "google", "one of openai, anthropic"),
        ("LLM_ENABLE_FALLBACK", "maybe", "true or false"),
        ("LLM_PREFER_LOCAL", "2", "true or false"),
        *(
            ("LLM_MAX_LATENCY_MS", value, "an integer number of milliseconds above 0")
            for value in ("0", "-5", "1.5", "2s", "\u0662", "9" * 5000)
        ),
        *(
            (f"{provider}_BASE_URL", value, "a URL like https://host/v1")
            for provider in ("OPENAI", "OLLAMA")
            for value in (
                "api.example.com",
                "ftp://example.com",
                "https://",
                "https://:443",
                "http://[::1",
                "http://[::1]evil.com",
                "https://host:99999",
                "https://host:0",
                "https://host:port",
                "https://a b",
                "https://host/v1?key=1",
                "https://host/#v1",
                "http://127.0.0.1\\@evil.com",
                "http://127.0.0.1\t.evil.com",
                "https://b\u00fccher.example",
            )
        ),
        ("OLLAMA_HOST", "host name", "a URL like https://host/v1"),
        *(("OLLAMA_HOST", host, "a URL like https://host/v1") for host in ("u:pw@host", "http://127.0.0.1:x@evil.com")),
        ("OLLAMA_HOST", "unix:///run/ollama.sock", "a URL like https://host/v1"),
    ],
)
@pytest.mark.parametrize("where", ["environment", "file"])
def test_an_invalid_value_is_told_with_its_name_its_place_and_what_was_expected(
    places: Places, name: str, value: str, expected: str, where: str
) -> None:
    if where == "file":
        (places.config / ".env").write_text(f'{name}="{value}"' if "\\" not in value else f"{name}={value}")
        place = str(places.config / ".env")
    else:
        place = "the environment"
    with pytest.raises(ConfigError) as caught:
        places.load(**({name: value} if where == "environment" else {}))
    assert caught.value.exit_code == 2
    message = caught.value.message
    assert name in message
    assert place in message
    assert expected in message


@pytest.mark.parametrize("url", ["https://user:geheim@host/v1", "https://:geheim@host", "http://geheim@127.0.0.1"])
def test_a_password_in_an_address_is_refused_and_not_told(places: Places, url: str) -> None:
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL") as caught:
        places.load(OPENAI_BASE_URL=url)
    assert "geheim" not in caught.value.message


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_ORGANIZATION"])
@pytest.mark.parametrize("value", ["sk-geheim\nx-evil: 1", "sk-geheim\r", "sk-geh\u2011eim", "sk-geheim\x00", "sk\x7f"])
def test_what_cannot_be_one_header_is_refused_and_not_told(places: Places, name: str, value: str) -> None:
    if value.strip() == "sk-geheim":
        assert places.load(**{name: value}).providers  # white space around it is nobody's intention
        return
    with pytest.raises(ConfigError, match=f"{name}: the value in the environment is not one line") as caught:
        places.load(**{name: value})
    assert "geh" not in caught.value.message + str(caught.value.hint)


def test_an_env_file_sets_only_the_names_that_are_meant_for_it(places: Places, tmp_path: Path) -> None:
    text = (
        f"LLMROUTE_LEDGER={tmp_path}/stolen.db\nLLMROUTE_LOCAL_MODEL={tmp_path}/evil.gguf\n"
        f"LLMROUTE_CONFIG_DIR={tmp_path}/elsewhere\nHTTPS_PROXY=http://evil.example\nLLM_WORKSPACE=mine\n"
    )
    for folder in (places.working, places.config):
        (folder / ".env").write_text(text)
    loaded = places.load()
    assert loaded.ledger_path == places.config / "ledger.db"
    assert loaded.local_model is None
    assert loaded.config_dir == places.config
    assert loaded.workspace == "mine"
    assert "HTTPS_PROXY" not in os.environ or "evil" not in os.environ["HTTPS_PROXY"]


def test_an_env_file_is_taken_word_for_word(places: Places) -> None:
    (places.working / ".env").write_bytes(
        b"\xef\xbb\xbfexport OPENAI_API_KEY='sk-${HOME}-x'\nMOTTO=\xff\xfe\n# LLM_WORKSPACE=a comment\n"
    )
    loaded = places.load()
    assert loaded.providers["openai"].api_key == "sk-${HOME}-x"
    assert loaded.workspace is None


def test_an_env_file_that_cannot_be_read_is_told(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    path = places.working / ".env"
    path.write_text("LLM_WORKSPACE=x")
    read_bytes = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self == path:
            raise PermissionError(13, "Permission denied")
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigError, match=r"\.env: cannot be read: Permission denied"):
        places.load()


def test_a_line_that_is_no_setting_is_told_by_its_number_and_the_others_count(
    places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    (places.config / ".env").write_text('LLM_WORKSPACE=mine\nOPENAI_API_KEY="sk-secret\n')
    loaded = places.load()
    assert loaded.workspace == "mine"
    assert loaded.notice == f"{places.config / '.env'}: line 2 does not parse and is ignored"
    assert caplog.records == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be"])
def test_an_env_file_in_another_encoding_is_refused(places: Places, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("be") else ""
    (places.working / ".env").write_bytes(f"{mark}OPENAI_API_KEY=sk-x\n".encode(encoding))
    with pytest.raises(ConfigError, match=r"\.env: is not UTF-8"):
        places.load()


def test_what_only_the_environment_sets_is_told_where_an_env_file_has_it(places: Places, tmp_path: Path) -> None:
    (places.config / ".env").write_text("LLMROUTE_LEDGER=other.db\nLLMROUTE_LOCAL_MODEL=a.gguf\n")
    told = f"LLMROUTE_LEDGER and LLMROUTE_LOCAL_MODEL in {places.config / '.env'} are ignored"
    assert str(places.load().notice).startswith(told)
    assert "LLMROUTE_LEDGER" not in str(places.load(LLMROUTE_LEDGER=str(tmp_path / "my.db")).notice)


def linked(path: Path, target: str) -> None:
    path.symlink_to(target)


def piped(path: Path, _target: str) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("folder", ["working", "config"])
@pytest.mark.parametrize(
    ("make", "target"), [(linked, "/dev/zero"), (linked, "/dev/stdin"), (linked, "/dev/null"), (piped, "")]
)
def test_an_env_file_that_is_no_file_is_refused_and_not_read(
    places: Places, folder: str, make: Callable[[Path, str], None], target: str
) -> None:
    path = getattr(places, folder) / ".env"
    make(path, target)
    with pytest.raises(ConfigError, match=r"\.env: is not a regular file"):
        places.load()


def test_stdin_is_no_file_of_settings_even_where_a_file_is_redirected_into_it(places: Places) -> None:
    (places.working / "prompt").write_text("LLM_ROUTING_STRATEGY=local_first")
    (places.working / ".env").symlink_to("link")
    (places.working / "link").symlink_to("/dev/stdin")
    code = (
        "import sys; from pathlib import Path; from llmroute.config import loading; "
        "loading.load((), environ={'LLMROUTE_CONFIG_DIR': sys.argv[1]}, working_directory=Path(sys.argv[2]))"
    )
    with (places.working / "prompt").open() as prompt:
        ran = subprocess.run(
            [sys.executable, "-c", code, str(places.config), str(places.working)],
            stdin=prompt,
            capture_output=True,
            text=True,
            check=False,
        )
    assert "is not a regular file" in ran.stderr


@pytest.mark.parametrize("name", [".env", "config.toml"])
def test_a_file_of_settings_without_end_is_refused(places: Places, name: str) -> None:
    with (places.config / name).open("wb") as file:
        file.truncate(2 * 1024 * 1024)
    with pytest.raises(ConfigError, match="is larger than 1 MiB"):
        places.load()


def test_a_working_directory_chooses_no_workspace_and_sends_no_prompts_to_another_machine(places: Places) -> None:
    env = places.working / ".env"
    for name in (
        "OLLAMA_BASE_URL=http://evil.example:11434",
        "OLLAMA_HOST=evil.example",
        "OLLAMA_HOST=127.0.0.010",
        "OLLAMA_BASE_URL=http://0.0.0.0:1",
    ):
        env.write_text(
            f"{name}\nLLM_ROUTING_STRATEGY=local_first\nLLM_DEFAULT_PROVIDER=ollama\nLLM_WORKSPACE=theirs\n"
            "LLM_MAX_LATENCY_MS=900\n"
        )
        loaded = places.load()
        assert loaded.providers["ollama"].base_url is None
        assert (loaded.strategy, loaded.default_provider, loaded.workspace) == ("balanced", None, None)
        assert loaded.max_latency_ms == 900
        assert str(loaded.notice).startswith(
            f"{name.partition('=')[0]}, LLM_ROUTING_STRATEGY, LLM_DEFAULT_PROVIDER and LLM_WORKSPACE in {env} are"
        )


@pytest.mark.parametrize("stored", ["", f"OLLAMA_API_KEY={KEY}"])
@pytest.mark.parametrize("address", ["OLLAMA_BASE_URL=https://192.0.2.1", "OLLAMA_HOST=https://evil.example"])
def test_a_key_beside_an_address_of_ollama_sends_no_prompts_there(places: Places, address: str, stored: str) -> None:
    (places.working / ".env").write_text(f"{address}\nOLLAMA_API_KEY=anything\nLLM_ROUTING_STRATEGY=local_first\n")
    (places.config / ".env").write_text(stored)
    loaded = places.load()
    assert (loaded.providers["ollama"].base_url, loaded.strategy) == (None, "balanced")
    assert str(loaded.notice).startswith(f"{address.partition('=')[0]} and LLM_ROUTING_STRATEGY in ")


def test_ollamas_cloud_is_called_with_the_key_beside_its_address_and_with_none_not_at_all(places: Places) -> None:
    (places.working / ".env").write_text(f"OLLAMA_BASE_URL=https://ollama.com\nOLLAMA_API_KEY={KEY}")
    settings = places.load().providers["ollama"]
    assert (settings.base_url, settings.api_key, settings.problem) == ("https://ollama.com", KEY, None)
    (places.working / ".env").write_text("OLLAMA_BASE_URL=https://ollama.com")
    assert places.load().providers["ollama"].base_url is None


@pytest.mark.parametrize("name", ["OPENAI", "ANTHROPIC", "MISTRAL", "TOGETHER"])
def test_a_file_with_another_machines_address_does_not_choose_among_providers(places: Places, name: str) -> None:
    steering = (
        f"LLM_DEFAULT_PROVIDER={name.lower()}\nLLM_ROUTING_STRATEGY=cost_optimized\nLLM_PREFER_LOCAL=yes\n"
        "LLM_MAX_LATENCY_MS=900\n"
    )
    (places.working / ".env").write_text(f"{name}_BASE_URL=https://192.0.2.1\n{name}_API_KEY={KEY}\n{steering}")
    loaded = places.load()
    settings = loaded.providers[name.lower()]
    assert (settings.base_url, settings.api_key, settings.problem) == ("https://192.0.2.1", KEY, None)
    assert (loaded.default_provider, loaded.strategy, loaded.prefer_local) == (None, "balanced", False)
    assert loaded.max_latency_ms is None
    assert str(loaded.notice).startswith(
        "LLM_DEFAULT_PROVIDER, LLM_ROUTING_STRATEGY, LLM_PREFER_LOCAL and LLM_MAX_LATENCY_MS in "
    )
    assert places.load(**{f"{name}_BASE_URL": "https://gateway.example"}).default_provider == name.lower()


def test_what_a_working_directory_may_say_is_heeded_without_a_word(places: Places) -> None:
    (places.working / ".env").write_text(
        f"OLLAMA_HOST=0.0.0.0:1234\nOPENAI_API_KEY={KEY}\nOPENAI_BASE_URL=http://127.0.0.1:8000/v1\n"
        "LLM_ROUTING_STRATEGY=local_first\nLLM_DEFAULT_PROVIDER=openai\nLLM_PREFER_LOCAL=yes\nLLM_ENABLE_FALLBACK=no\n"
    )
    loaded = places.load()
    assert loaded.providers["ollama"].base_url == "http://127.0.0.1:1234"
    assert loaded.providers["openai"].base_url == "http://127.0.0.1:8000/v1"
    assert (loaded.strategy, loaded.default_provider) == ("local_first", "openai")
    assert (loaded.prefer_local, loaded.enable_fallback, loaded.notice) == (True, False, None)


def test_what_is_trusted_stands_beside_what_is_ignored(places: Places) -> None:
    (places.working / ".env").write_text("LLM_WORKSPACE=theirs\nOLLAMA_HOST=evil.example")
    (places.config / ".env").write_text("LLM_WORKSPACE=mine")
    loaded = places.load(OLLAMA_HOST="gpu.example")
    assert (loaded.workspace, loaded.providers["ollama"].base_url) == ("mine", "http://gpu.example:11434")
    assert str(loaded.notice).startswith("LLM_WORKSPACE in ")
    assert places.load(LLM_WORKSPACE="mine", OLLAMA_HOST="gpu.example").notice is None


def test_a_fallback_that_is_forbidden_is_not_allowed_by_a_working_directory(places: Places) -> None:
    (places.working / ".env").write_text("LLM_ENABLE_FALLBACK=true")
    assert places.load().notice is None
    places.toml("enable_fallback = false")
    loaded = places.load()
    assert not loaded.enable_fallback
    assert str(loaded.notice).startswith("LLM_ENABLE_FALLBACK in ")
    assert places.load(LLM_ENABLE_FALLBACK="true").enable_fallback


def test_the_config_directory_trusts_its_own_env_file_when_it_is_the_working_directory(places: Places) -> None:
    (places.config / ".env").write_text("LLM_WORKSPACE=mine\nOLLAMA_HOST=gpu.example")
    loaded = loading.load(PROVIDERS, environ=places.environ, working_directory=places.config)
    assert (loaded.workspace, loaded.notice) == ("mine", None)


def test_a_folder_called_env_is_no_file_of_settings(places: Places) -> None:
    (places.working / ".env").mkdir()
    assert places.load().workspace is None


@pytest.mark.parametrize("key_from", ["environment", "config folder"])
@pytest.mark.parametrize("name", ["OPENAI", "ANTHROPIC", "MISTRAL", "TOGETHER", "OLLAMA"])
def test_an_address_from_the_working_directory_gets_no_key_from_elsewhere(
    places: Places, name: str, key_from: str
) -> None:
    (places.working / ".env").write_text(f"{name}_BASE_URL=https://evil.example/v1")
    environ = {}
    if key_from == "environment":
        environ[f"{name}_API_KEY"] = KEY
    else:
        (places.config / ".env").write_text(f"{name}_API_KEY={KEY}")
    settings = places.load(**environ).providers[name.lower()]
    assert settings.api_key is None
    assert settings.problem is not None
    assert str(places.working / ".env") in settings.problem
    assert "would receive a key from another source" in settings.problem
    assert KEY not in settings.problem


def test_an_ollama_host_from_the_working_directory_gets_no_key_from_elsewhere(places: Places) -> None:
    (places.working / ".env").write_text("OLLAMA_HOST=https://evil.example")
    settings = places.load(OLLAMA_API_KEY=KEY).providers["ollama"]
    assert settings.api_key is None
    assert "would receive a key from another source" in str(settings.problem)


def test_an_address_from_the_working_directory_gets_the_key_beside_it_or_one_for_this_machine(places: Places) -> None:
    env = places.working / ".env"
    env.write_text(f"OPENAI_BASE_URL=https://gateway.example/v1\nOPENAI_API_KEY={KEY}")
    settings = places.load().providers["openai"]
    assert (settings.api_key, settings.problem) == (KEY, None)
    env.write_text("OPENAI_BASE_URL=http://127.0.0.1:8000/v1")
    settings = places.load(OPENAI_API_KEY=KEY).providers["openai"]
    assert (settings.api_key, settings.problem) == (KEY, None)


def test_an_address_from_a_trusted_place_gets_the_key_over_https(places: Places) -> None:
    settings = places.load(OPENAI_BASE_URL="https://gateway.example/v1", OPENAI_API_KEY=KEY).providers["openai"]
    assert (settings.api_key, settings.base_url, settings.problem) == (KEY, "https://gateway.example/v1", None)


@pytest.mark.parametrize(
    "url", ["http://gateway.example", "HTTP://gateway.example", "http://localhost.evil.com", "http://10.0.0.1:8000"]
)
@pytest.mark.parametrize("where", ["environment", "toml"])
def test_a_key_does_not_go_over_plain_http_to_another_machine(places: Places, url: str, where: str) -> None:
    if where == "toml":
        places.toml(f'[providers.openai]\nbase_url = "{url}"')
        settings = places.load(OPENAI_API_KEY=KEY).providers["openai"]
    else:
        settings = places.load(OPENAI_API_KEY=KEY, OPENAI_BASE_URL=url).providers["openai"]
    assert settings.api_key is None
    assert "plain http" in str(settings.problem)


def test_plain_http_without_a_key_is_allowed(places: Places) -> None:
    settings = places.load(OLLAMA_BASE_URL="http://10.0.0.1:11434").providers["ollama"]
    assert (settings.base_url, settings.problem) == ("http://10.0.0.1:11434", None)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("gpu-box", "http://gpu-box:11434"),
        ("gpu-box:", "http://gpu-box:11434"),
        ("gpu-box:1234/", "http://gpu-box:1234"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://gpu-box", "https://gpu-box:443"),
        ("https://gpu-box/ollama", "https://gpu-box:443/ollama"),
        ("https://gpu-box:8443/ollama/", "https://gpu-box:8443/ollama"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:1234", "http://[::1]:1234"),
        ("::1", "http://[::1]:11434"),
        ("[::]:1234", "http://127.0.0.1:1234"),
        ("::", "http://127.0.0.1:11434"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(places: Places, host: str, url: str) -> None:
    assert places.load(OLLAMA_HOST=host).providers["ollama"].base_url == url


def test_ollama_base_url_wins_over_ollama_host(places: Places) -> None:
    loaded = places.load(OLLAMA_HOST="a", OLLAMA_BASE_URL="http://b:1")
    assert loaded.providers["ollama"].base_url == "http://b:1"


def test_the_config_folder_is_the_named_one_else_below_xdg_else_below_home(tmp_path: Path) -> None:
    def folder(**environ: str) -> Path:
        return loading.load(PROVIDERS, environ=environ, working_directory=tmp_path).config_dir

    assert folder(LLMROUTE_CONFIG_DIR=str(tmp_path / "a"), XDG_CONFIG_HOME=str(tmp_path)) == tmp_path / "a"
    assert folder(LLMROUTE_CONFIG_DIR="", XDG_CONFIG_HOME=str(tmp_path)) == tmp_path / "llmroute"
    code = (
        "import os, sys, pathlib; from llmroute.config import loading; "
        "os.environ.pop('XDG_CONFIG_HOME', None); os.environ.pop('LLMROUTE_CONFIG_DIR', None); "
        "os.environ['HOME'] = sys.argv[1]; print(loading.load(()).config_dir); "
        "os.environ['XDG_CONFIG_HOME'] = 'relative'; print(loading.load(()).config_dir)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / ".config/llmroute")] * 2


def test_a_home_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-user-here"):
        loading.load(PROVIDERS, environ={"LLMROUTE_CONFIG_DIR": "~no-such-user-here/x"}, working_directory=tmp_path)


def test_a_workspace_of_the_environment_that_no_cap_can_name_is_refused(places: Places) -> None:
    with pytest.raises(ConfigError, match="LLM_WORKSPACE in the environment has 257 characters"):
        places.load(LLM_WORKSPACE="w" * 257)
    assert places.load(LLM_WORKSPACE="w" * 256).workspace == "w" * 256


def test_a_working_directory_that_was_removed_has_no_settings(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import os; os.rmdir(os.getcwd()); from llmroute.config.loading import load; print(load(('openai',)).strategy)"
    )
    environ = os.environ | {"LLMROUTE_CONFIG_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=gone, env=environ, capture_output=True, text=True, check=False
    )
    assert done.stdout == "balanced\n", done.stderr


def test_the_ledger_goes_where_it_is_told(places: Places, tmp_path: Path) -> None:
    assert places.load(LLMROUTE_LEDGER=str(tmp_path / "x.db")).ledger_path == tmp_path / "x.db"
    assert places.load(LLMROUTE_LEDGER="  ").ledger_path == places.load().ledger_path
    assert places.load(LLMROUTE_LOCAL_MODEL=" ").local_model is None


@pytest.mark.parametrize("kind", ["a device", "a pipe", "a folder", "below a file", "a link to a device"])
def test_a_ledger_that_can_be_no_file_is_refused(kind: str, places: Places, tmp_path: Path) -> None:
    path = tmp_path / "taken"
    if kind == "a device":
        path = Path(os.devnull)
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "below a file":
        path.touch()
        path /= "ledger.db"
    else:
        path.symlink_to(os.devnull)
    with pytest.raises(ConfigError, match=f"LLMROUTE_LEDGER={path} is not a regular file") as caught:
        places.load(LLMROUTE_LEDGER=str(path))
    assert caught.value.exit_code == 2


def test_config_toml_sets_everything_that_it_may(places: Places) -> None:
    places.toml(
        'default_provider = "mistral"\nstrategy = "local_first"\nenable_fallback = false\nprefer_local = true\n'
        'max_latency_ms = 900\nworkspace = "w"\n[timeouts]\ntotal_s = 10\nconnect_s = 0.5\n'
        '[providers.openai]\nbase_url = "https://gateway.example/v1"\norganization = "org-1"\n'
    )
    loaded = places.load(OPENAI_API_KEY=KEY)
    assert (loaded.default_provider, loaded.strategy, loaded.workspace) == ("mistral", "local_first", "w")
    assert (loaded.enable_fallback, loaded.prefer_local, loaded.max_latency_ms) == (False, True, 900)
    assert (loaded.timeouts.total_s, loaded.timeouts.connect_s, loaded.timeouts.stall_s) == (10, 0.5, 60)
    openai = loaded.providers["openai"]
    assert (openai.base_url, openai.organization, openai.api_key) == ("https://gateway.example/v1", "org-1", KEY)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('strategy = "cheapest"', "strategy"),
        ('default_provider = "google"', "default_provider"),
        ("[providers.google]", "google"),
        ('[providers.openai]\napi_key = "sk-geheim"', "providers.openai.api_key"),
        ('[providers.openai]\nbase_url = "api.example.com"', "providers.openai.base_url"),
        ('[providers.openai]\nbase_url = "http://[::1"', "providers.openai.base_url"),
        ('[providers.openai]\nbase_url = "https://host:99999/v1"', "providers.openai.base_url"),
        ('[providers.openai]\norganization = "a\\nb"', "providers.openai.organization"),
        ('prefer_local = "yes"', "prefer_local"),
        ("max_latency_ms = 0", "max_latency_ms"),
        ("max_latency_ms = 1.5", "max_latency_ms"),
        ("[timeouts]\ntotal_s = 0", "timeouts.total_s"),
        ("[timeouts]\ntotal_s = inf", "timeouts.total_s"),
        ("[timeouts]\nforever_s = 1", "timeouts.forever_s"),
        ("colour = true", "colour"),
        ("strategy = ", "does not parse"),
    ],
)
def test_a_wrong_config_toml_is_told_with_its_key_and_its_file(places: Places, text: str, key: str) -> None:
    path = places.toml(text)
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            places.load()
        assert key in caught.value.message
        assert str(path) in caught.value.message
        assert "geheim" not in caught.value.message
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('stratgy = "balanced"', "stratgy is not a known name", "did you mean strategy?"),
        ("[timeouts]\ntotals = 1", "timeouts.totals is not a known name", "did you mean total_s?"),
        ("[budgets.workspaces.x]\ndays = 1", "budgets.workspaces.x.days is not a known name", "did you mean day?"),
        (
            '[providers.openai]\napi_key = "sk-geheim"',
            "providers.openai.api_key: API keys are not read from this file",
            "set OPENAI_API_KEY in the environment or in a .env file beside it",
        ),
        (
            'api_key = "sk-geheim"',
            "api_key: API keys are not read from this file",
            (
                "set OPENAI_API_KEY, ANTHROPIC_API_KEY, MISTRAL_API_KEY or TOGETHER_API_KEY"
                " in the environment or in a .env file beside it"
            ),
        ),
        (
            'mistral_api_key = "sk-geheim"',
            "mistral_api_key: API keys are not read from this file",
            "set MISTRAL_API_KEY in the environment or in a .env file beside it",
        ),
        ('[openai]\napi_key = "sk-geheim"', "[openai] is not a known table", "did you mean [providers.openai]?"),
        ("[chains]\nmine = []", "chains.mine is empty", None),
        ('[chains]\nmine = ["nope"]', "chains.mine[0] must be provider/model, such as anthropic/", None),
        ("[balance]\nsecond_usd = -1", "balance.second_usd must be at least 0", None),
        ('prefer_local = "yes"', "prefer_local must be true or false", None),
        ("max_attempts = 0", "max_attempts must be at least 1", None),
        (f'workspace = "{"w" * 257}"', "workspace has 257 characters; the longest label has 256", None),
        ("timeouts = 1", "timeouts must be a table", None),
        ('strategy = "balancd"', "strategy 'balancd' is not one of balanced", "did you mean balanced?"),
    ],
)
def test_an_invalid_config_toml_says_what_is_expected_and_the_nearest_name(
    places: Places, text: str, message: str, hint: str | None
) -> None:
    path = places.toml(text)
    with pytest.raises(ConfigError) as caught:
        places.load()
    assert caught.value.message.startswith(f"{path}: {message}")
    assert caught.value.hint == hint


def test_a_config_toml_that_is_no_text_file_is_told(places: Places) -> None:
    path = places.config / "config.toml"
    path.write_bytes(b"workspace = '\xff'")
    with pytest.raises(ConfigError, match="does not parse"):
        places.load()
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        places.load()


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each time that config.toml is really parsed."""
    seen: list[str] = []
    validate = schema.validate

    def noted(document: dict[str, Any], place: str) -> dict[str, Any]:
        seen.append(place)
        return validate(document, place)

    monkeypatch.setattr(schema, "validate", noted)
    return seen


def test_config_toml_is_parsed_once_until_it_changes(places: Places, parses: list[str]) -> None:
    path = places.toml('workspace = "a"')
    assert [places.load().workspace for _ in range(3)] == ["a"] * 3
    assert len(parses) == 1
    path.write_text('workspace = "b"')
    os.utime(path, ns=(1, 1))
    assert places.load().workspace == "b"
    stamp = path.stat()
    path.write_text('workspace = "longer"')
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert places.load().workspace == "longer"
    assert len(parses) == 3


def test_a_change_within_one_moment_and_of_equal_size_is_seen(places: Places) -> None:
    path = places.toml('workspace = "a"')
    os.utime(path, ns=(10**18, 10**18))
    assert places.load().workspace == "a"
    with path.open("r+") as file:  # the same file, in place
        file.write('workspace = "b"')
    os.utime(path, ns=(10**18, 10**18))
    assert places.load().workspace == "b"


def test_a_byte_order_mark_in_config_toml_is_fine(places: Places) -> None:
    path = places.toml("")
    path.write_bytes(b'\xef\xbb\xbfworkspace = "a"\r\n')
    assert [places.load().workspace for _ in range(2)] == ["a", "a"]


def test_another_version_of_the_program_parses_again(
    places: Places, parses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    places.toml('workspace = "a"')
    places.load()
    monkeypatch.setattr(config_file, "__version__", "999")
    assert places.load().workspace == "a"
    assert len(parses) == 2


def test_the_snapshot_is_for_its_owner_alone_and_leaves_nothing_beside_it(places: Places) -> None:
    places.toml('workspace = "a"')
    places.load()
    snapshot = places.config / "config.snapshot.json"
    assert stat.S_IMODE(snapshot.stat().st_mode) == 0o600
    assert {path.name for path in places.config.iterdir()} == {"config.toml", "config.snapshot.json"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b'{"stamp": 1}', b"\xff\x00"])
def test_a_broken_snapshot_is_harmless_and_is_replaced(places: Places, content: bytes) -> None:
    places.toml('workspace = "a"')
    snapshot = places.config / "config.snapshot.json"
    snapshot.write_bytes(content)
    assert places.load().workspace == "a"
    assert json.loads(snapshot.read_bytes())["settings"] == {"workspace": "a"}


def test_a_snapshot_that_cannot_be_written_is_harmless(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    places.toml('workspace = "a"')
    (places.config / "config.snapshot.json").mkdir()
    assert places.load().workspace == "a"
    assert [path.name for path in places.config.iterdir() if path.is_file()] == ["config.toml"]

    def read_only(*_args: object, **_kwargs: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    monkeypatch.setattr(Path, "unlink", read_only)
    assert places.load().workspace == "a"


def test_keys_are_in_no_repr(places: Places) -> None:
    loaded = places.load(OPENAI_API_KEY=KEY)
    assert loaded.providers["openai"].api_key == KEY
    assert KEY not in repr(loaded)
    assert KEY not in repr(config_sources.Setting("OPENAI_API_KEY", KEY, "the environment"))


@pytest.mark.parametrize("url", [f"postgresql://user:{KEY}@127.0.0.1/db", f"postgresql://127.0.0.1/db?password={KEY}"])
def test_the_password_of_a_ledger_is_in_no_repr(url: str, places: Places) -> None:
    loaded = places.load(LLMROUTE_LEDGER=url)
    assert loaded.ledger.server is not None
    assert loaded.ledger.server.url == url
    assert KEY not in repr(loaded)
    assert KEY not in repr(loaded.ledger)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.255.0.3", "::1", "[::1]", "0:0:0:0:0:0:0:1"])
def test_this_machine_is_loopback(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost.evil.com",
        "localhost.",
        "127.0.0.1.evil.com",
        "127.evil.com",
        "127.1",
        "127.0.0.1 ",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "128.0.0.1",
        "0.0.0.0",
        "::",
        "::2",
        "::1%.evil.com",
        "::1%eth0",
        "\u2460\u2461\u2466.0.0.1",
        "127\u30020\u30020\u30021",
    ],
)
def test_what_only_looks_like_this_machine_is_not_loopback(host: str) -> None:
    assert not is_loopback_host(host)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1@evil.com/",
        "http://evil.com/127.0.0.1",
        "http://evil.com#127.0.0.1",
        "http://evil.com?127.0.0.1",
        "http://[::1",
        "127.0.0.1",
        "",
    ],
)
def test_an_address_is_loopback_by_its_host_alone(url: str) -> None:
    assert not is_loopback(url)
    assert is_loopback("http://LOCALHOST:1234/evil.com")
    assert is_loopback("http://[::1]:80/x")


def test_an_address_that_is_accepted_has_the_same_host_for_the_judge_and_for_the_sender() -> None:
    import httpx

    hosts = ("127.0.0.1", "localhost", "[::1]", "evil.com")
    marks = ("", "@", "\\", "#", "?", "%", ";", ":", "/", ".", "\t", " ", "[", "]", "\u3002", "%2e", ":80", "//")
    for scheme in ("http://", "HTTPS://", "http:", "http:///"):
        for first in hosts:
            for mark in marks:
                for second in ("", *hosts):
                    url = f"{scheme}{first}{mark}{second}"
                    if is_base_url(url):
                        called = httpx.URL(url).host
                        assert is_loopback(url) == is_loopback_host(called), url
