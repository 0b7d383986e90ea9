"""`chains`: the user's own are kept in config.toml beside what its owner wrote, and are really called."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.model_server import ModelServer
from tests.support.pseudo_terminal import run_on_terminal
from tests.support.shell import rows, run

if TYPE_CHECKING:
    from pathlib import Path

OWN = """# what I like
strategy = "balanced"   # for now

[chains]  # mine
# the careful one
CAREFUL = [
    "anthropic/claude-haiku-4-5",  # first
    "openai/gpt-5.4-mini",
]
cheap = ["ollama/mistral"] # free

[timeouts]
total_s = 60
"""
MINE = ("openai/gpt-5.4-mini", "openai/gpt-4o")


def config(home: Path, text: str | None = None) -> str:
    path = home / "llmroute" / "config.toml"
    if text is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return path.read_text()


def test_setting_and_removing_a_chain_leaves_every_other_byte_as_it_was(tmp_path: Path) -> None:
    config(tmp_path, OWN)
    assert run("chains", "set", "NEW", *MINE, home=tmp_path).code == 0
    line = f"NEW = {json.dumps(list(MINE))}\n"
    assert config(tmp_path) == OWN.replace("# free\n", f"# free\n{line}")
    assert run("chains", "remove", "NEW", home=tmp_path).code == 0
    assert config(tmp_path) == OWN
    assert run("chains", "set", "Cheap", "ollama/llama3.2", home=tmp_path).code == 0
    assert config(tmp_path) == OWN.replace('["ollama/mistral"]', '["ollama/llama3.2"]')


def test_a_chain_that_was_set_is_shown_listed_and_followed(tmp_path: Path) -> None:
    with ModelServer() as server:
        settings = server.settings
        assert run("chains", "set", "mine", "gpt-4o", "mistral/mistral-large", home=tmp_path, **settings).code == 0
        shown = json.loads(run("chains", "show", "MINE", "--json", home=tmp_path, **settings).out)
        assert shown["mine"]["entries"] == ["openai/gpt-4o", "mistral/mistral-large"]
        assert shown["mine"]["usable"] == [True, False]
        listed = json.loads(run("chains", "--json", home=tmp_path, **settings).out)
        assert listed["mine"] == shown["mine"]
        assert set(listed["mine"]) == {"entries", "resolved", "usable"}
        text = run("chains", "show", "mine", home=tmp_path, **settings).out
        assert "MISTRAL_API_KEY" in text
        ran = run("gen", "hi", "--chain", "Mine", "--json", home=tmp_path, **settings)
        answer = json.loads(ran.out)
        assert (answer["chain"], answer["model"], answer["strategy"]) == ("mine", "gpt-4o", None)
    assert [(row["chain"], row["model"]) for row in rows(tmp_path)] == [("mine", "gpt-4o")]


def test_fallback_models_build_a_chain_on_the_spot(tmp_path: Path) -> None:
    flags = ("-m", "mistral/mistral-large", "--fallback", "openai/gpt-4o", "--fallback", "openai/gpt-5.4-mini")
    with ModelServer() as server:
        ran = run("gen", "hi", *flags, "--dry-run", "--json", home=tmp_path, **server.settings)
        told = json.loads(ran.out)
        assert [one["model"] for one in told["candidates"]] == ["gpt-4o", "gpt-5.4-mini"]
        assert [(one["provider"], "MISTRAL_API_KEY" in one["reason"]) for one in told["excluded"]] == [
            ("mistral", True)
        ]
        assert run("gen", "hi", *flags, home=tmp_path, **server.settings).code == 0
    assert [request["model"] for request in server.requests] == ["gpt-4o"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", "mine", "gpt-4omni"), "did you mean"),
        (("set", "mine", "opneai/gpt-4o"), "opneai"),
        (("set", "mine", "openai/gpt 4"), "space"),
        (("set", "2nd", "openai/gpt-4o"), "cannot be the name of a chain"),
        (("set", "mine", "openai/gpt-4o", "openai/gpt-4o"), "twice"),
        (("set", "mine"), "missing argument"),
        (("remove", "cheep"), "did you mean cheap?"),
        (("remove", "HIGH_QUALITY"), "predefined and cannot be removed"),
        (("show", "LOCAL_ONY"), "did you mean LOCAL_ONLY?"),
        (("test", "nothing-like-it"), "there are HIGH_QUALITY"),
    ],
)
def test_what_cannot_be_is_2_in_one_line_and_changes_nothing(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    config(tmp_path, OWN)
    ran = run("chains", *arguments, home=tmp_path)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert said in ran.err
    assert config(tmp_path) == OWN


def test_a_name_that_nobody_lists_is_kept_as_asked_and_its_neighbour_is_named(tmp_path: Path) -> None:
    ran = run("chains", "set", "mine", "openai/gpt-5.4-mni", home=tmp_path)
    assert ran.code == 0
    assert "did you mean openai/gpt-5.4-mini" in ran.err
    assert 'mine = ["openai/gpt-5.4-mni"]' in config(tmp_path)


def test_a_predefined_chain_may_be_shadowed_and_comes_back(tmp_path: Path) -> None:
    before = json.loads(run("chains", "--json", home=tmp_path).out)
    ran = run("chains", "set", "fast_latency", *MINE, home=tmp_path)
    assert (ran.code, "stands before the predefined one" in ran.err) == (0, True)
    assert json.loads(run("chains", "--json", home=tmp_path).out)["FAST_LATENCY"]["entries"] == list(MINE)
    ran = run("chains", "remove", "FAST_LATENCY", home=tmp_path)
    assert (ran.code, "predefined chain again" in ran.err) == (0, True)
    assert json.loads(run("chains", "--json", home=tmp_path).out) == before


def test_an_entry_of_nobodys_is_told_and_hides_no_other_chain(tmp_path: Path) -> None:
    config(tmp_path, '[chains]\nodd = ["nobody/model", "openai/gpt-4o"]\n')
    told = json.loads(run("chains", "--json", home=tmp_path).out)
    assert told["odd"]["resolved"] == [None, "openai/gpt-4o"]
    assert "HIGH_QUALITY" in told


def test_a_test_calls_each_entry_once_and_tells_what_it_cost(tmp_path: Path) -> None:
    with ModelServer() as server:
        run("chains", "set", "mine", *MINE, home=tmp_path)
        ran = run("chains", "test", "mine", "--yes", home=tmp_path, **server.settings)
        assert (ran.code, ran.err.startswith("llmroute: mine: 2 calls, expected $")) == (0, True)
        assert [line.split()[:2] for line in ran.out.splitlines()] == [["ok", name] for name in MINE]
        assert [f"openai/{sent['model']}" for sent in server.requests] == list(MINE)
        assert all((sent.get("max_tokens") or sent["max_completion_tokens"]) <= 256 for sent in server.requests)
        told = run("chains", "test", "mine", "--yes", "--json", home=tmp_path, **server.settings)
    costs = [json.loads(line)["cost_usd"] for line in told.out.splitlines()]
    assert [row["cost_usd"] for row in rows(tmp_path)] == costs * 2


def test_a_test_of_what_cannot_be_called_is_4_and_calls_the_others(tmp_path: Path) -> None:
    with ModelServer() as server:
        run("chains", "set", "mine", "mistral/mistral-large", MINE[0], home=tmp_path)
        ran = run("chains", "test", "mine", "--yes", home=tmp_path, **server.settings)
    assert ran.code == 4
    failed, ok = ran.out.splitlines()
    assert failed.startswith("failed")
    assert "MISTRAL_API_KEY" in failed
    assert ok.startswith(f"ok      {MINE[0]}")
    assert len(server.requests) == 1


def test_a_provider_that_is_down_fails_its_entry(tmp_path: Path) -> None:
    settings = {"OPENAI_API_KEY": "sk-test-0123456789", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    run("chains", "set", "mine", MINE[0], home=tmp_path)
    ran = run("chains", "test", "mine", "--yes", "--json", home=tmp_path, **settings)
    told = json.loads(ran.out)
    assert (ran.code, told["ok"], told["error"], told["entry"]) == (4, False, "unreachable", MINE[0])


def test_nothing_is_sent_that_nobody_has_agreed_to(tmp_path: Path) -> None:
    with ModelServer() as server:
        run("chains", "set", "mine", *MINE, home=tmp_path)
        ran = run("chains", "test", "mine", home=tmp_path, **server.settings)
        assert (ran.code, ran.out, server.requests) == (2, "", [])
        assert "expected $" in ran.err
        assert "--yes" in ran.err
        for typed, code, calls in (("n\n", 2, 0), ("y\n", 0, 2)):
            settings: dict[str, Any] = {**server.settings}
            seen = run_on_terminal("chains", "test", "mine", home=tmp_path, typed=typed, **settings)
            assert (seen.code, len(server.requests)) == (code, calls)


def test_a_chain_names_intentions_also_behind_a_gateway(tmp_path: Path) -> None:
    with ModelServer() as server:
        ran = run("gen", "hi", "--chain", "high_quality", "--json", home=tmp_path, **server.settings)
        told = json.loads(ran.out)
        assert told["chain"] == "HIGH_QUALITY"
        assert server.requests[0]["model"] != "gpt-4"
        assert len([line for line in ran.err.splitlines() if "gpt-4 is retired" in line]) == 1
        assert "claude" not in ran.err, "nothing is told of what is not tried"
        run("gen", "hi", "--fallback", "openai/gpt-4", home=tmp_path, **server.settings)
        assert server.requests[1]["model"] == "gpt-4", "what was named is sent as asked to another address"
