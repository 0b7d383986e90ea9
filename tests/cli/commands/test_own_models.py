"""`[models."provider/id"]` in config.toml, end to end."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.support.model_server import ModelServer
from tests.support.shell import rows, run

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-test-0123456789"
SOON = date.today() + timedelta(days=20)  # noqa: DTZ011 (the program's own calendar)


def configure(home: Path, text: str) -> None:
    (home / "llmroute").mkdir(exist_ok=True)
    (home / "llmroute" / "config.toml").write_text(text)


def test_a_models_price_is_billed_and_its_name_is_known(tmp_path: Path) -> None:
    configure(tmp_path, '[models."openai/ft:acme"]\naliases = ["mine"]\ninput = 2\noutput = 8\n')
    with ModelServer() as server:
        for _ in range(2):
            ran = run("gen", "hi", "-m", "mine", home=tmp_path, **server.settings)
            assert (ran.code, ran.err) == (0, "")
    assert [row["cost_picousd"] for row in rows(tmp_path)] == [(7 * 2 + 3 * 8) * 10**6] * 2
    assert server.requests[0]["model"] == "ft:acme"


def test_a_field_overrides_the_catalogues_and_dates_survive_the_snapshot(tmp_path: Path) -> None:
    configure(tmp_path, '[models."openai/gpt-6-luna"]\ncontext_window = 9000\nretires_on = 2099-01-02\n')
    for _ in range(2):
        told = json.loads(run("models", "--json", "-p", "openai", home=tmp_path).out)
        (luna,) = (one for one in told if one["id"] == "gpt-6-luna")
        assert (luna["context_window"], luna["lifecycle"]["retires_on"]) == (9000, "2099-01-02")
        assert luna["prices"]["input"] is not None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[models."openai/x"]\ninput = -1\n', 'models."openai/x".input'),
        ('[models."openai/x"]\nprise = 1\n', 'models."openai/x".prise'),
        ('[models."groq/x"]\ninput = 1\n', 'models."groq/x"'),
        ("models = 3\n", "models"),
    ],
)
def test_a_wrong_row_is_2_in_one_line_that_names_the_key_and_the_file(text: str, key: str, tmp_path: Path) -> None:
    configure(tmp_path, text)
    for _ in range(2):
        ran = run("models", home=tmp_path)
        assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
        assert ran.err.startswith(f"llmroute: {tmp_path / 'llmroute' / 'config.toml'}: {key}")
        assert "config.toml" in ran.err


def test_a_model_that_retires_soon_warns_when_it_is_used_by_name(tmp_path: Path) -> None:
    configure(tmp_path, f'[models."openai/house"]\nretires_on = {SOON}\nsuccessor = "gpt-6-luna"\n')
    with ModelServer() as server:
        ran = run("gen", "hi", "-m", "openai/house", home=tmp_path, **server.settings)
        quiet = run("gen", "hi", "-q", "-m", "openai/house", home=tmp_path, **server.settings)
    assert (ran.code, ran.out) == (0, "one two three\n")
    assert ran.err == f"llmroute: openai/house retires on {SOON}; its successor is openai/gpt-6-luna\n"
    assert (quiet.code, quiet.err) == (0, "")


def test_a_retired_model_without_a_living_successor_is_3_and_nothing_is_sent(tmp_path: Path) -> None:
    configure(tmp_path, '[models."openai/house"]\nretires_on = 2026-01-01\n')
    ran = run("gen", "hi", "-m", "openai/house", home=tmp_path, OPENAI_API_KEY=KEY)
    assert (ran.code, ran.out) == (3, "")
    assert "openai/house was retired on 2026-01-01; it has no successor" in ran.err
    assert not (tmp_path / "llmroute" / "ledger.db").exists()
