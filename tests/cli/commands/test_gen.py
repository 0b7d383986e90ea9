"""`gen` and `stream` as a shell and a script meet them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.fault_server import reply, serving
from tests.support.model_server import USAGE, ModelServer
from tests.support.shell import LLMROUTE, environment, rows, run, start
from tests.support.waiting import PATIENCE_S, wait_until

GEN_FIELDS = {
    "id", "content", "provider", "model", "strategy", "chain", "finish_reason", "prompt_cut", "usage",
    "cost_usd", "latency_ms", "ttft_ms", "attempts", "skipped",
}  # fmt: skip
USAGE_FIELDS = {
    "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "source",
}  # fmt: skip
ATTEMPT_FIELDS = {"provider", "model", "status", "error", "http_status", "latency_ms", "cost_usd"}
MODEL = "openai/gpt-5.4-mini"


@pytest.mark.parametrize("command", ["gen", "stream"])
def test_stdout_is_the_answer_and_one_newline(command: str, server: ModelServer, tmp_path: Path) -> None:
    server.words = ("line\n", "end\n", "\n")
    ran = run(command, "hi", "-m", MODEL, home=tmp_path, **server.settings)
    assert (ran.code, ran.out, ran.err) == (0, "line\nend\n", "")


def test_gen_json_has_exactly_the_documented_fields(server: ModelServer, tmp_path: Path) -> None:
    told = json.loads(run("gen", "hi", "-m", MODEL, "--json", home=tmp_path, **server.settings).out)
    assert set(told) == GEN_FIELDS
    assert set(told["usage"]) == USAGE_FIELDS
    assert [set(attempt) for attempt in told["attempts"]] == [ATTEMPT_FIELDS]
    assert told["usage"]["input_tokens"] == USAGE["prompt_tokens"]
    assert told["usage"]["cached_input_tokens"] is None, "not told is not zero"
    assert told["id"] == rows(tmp_path)[0]["request_id"]


def test_stream_json_is_start_deltas_and_end(server: ModelServer, tmp_path: Path) -> None:
    lines = run("stream", "hi", "-m", MODEL, "--json", home=tmp_path, **server.settings).out.splitlines()
    told = [json.loads(line) for line in lines]
    assert [one["type"] for one in told] == ["start", "delta", "delta", "delta", "end"]
    assert "".join(one["text"] for one in told[1:4]) == told[-1]["content"] == "one two three"
    assert told[-1]["ttft_ms"] is not None


def test_every_flag_reaches_the_model(server: ModelServer, tmp_path: Path) -> None:
    flags = ("-s", "Be kind.", "-t", "0.5", "--max-tokens", "9", "--stop", "A", "--stop", "B")
    ran = run("gen", "hi", "-m", "gpt-4o", *flags, "-u", home=tmp_path, **server.settings)
    assert ran.code == 0
    (sent,) = server.requests
    assert sent["messages"] == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]
    assert (sent["temperature"], sent["stop"]) == (0.5, ["A", "B"])
    assert 9 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))
    assert re.fullmatch(r"openai/gpt-4o · 7 in · 3 out · \$\S+ · \d+\.\d s\n", ran.err)


def test_the_side_channel_leaves_stdout_alone(server: ModelServer, tmp_path: Path) -> None:
    ran = run("stream", "hi", "-m", MODEL, "--meta", "told.json", home=tmp_path, **server.settings)
    assert ran.out == "one two three\n"
    assert set(json.loads((tmp_path / "told.json").read_text())) == GEN_FIELDS
    assert (tmp_path / "told.json").stat().st_mode & 0o777 == 0o600, "it holds the answer"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize(("command", "words"), [("gen", ("one", " two")), ("stream", ("long " * 20_000,))])
def test_a_side_channel_on_a_full_disk_is_warned_of_and_costs_no_answer(
    command: str, words: tuple[str, ...], server: ModelServer, tmp_path: Path
) -> None:
    server.words = words
    ran = run(command, "hi", "-m", MODEL, "-q", "--meta", "/dev/full", home=tmp_path, **server.settings)
    assert (ran.code, ran.out) == (0, "".join(words) + "\n")
    assert ran.err == "llmroute: --meta: /dev/full could not be written: No space left on device\n"
    failed = run(command, "hi", "-p", "anthropic", "--meta", "/dev/full", home=tmp_path, **server.settings)
    assert (failed.code, failed.out) == (3, "")
    assert "ANTHROPIC_API_KEY" in failed.err


def test_a_name_that_is_not_utf8_is_told_on_the_side_as_json_escapes_it(server: ModelServer, tmp_path: Path) -> None:
    ran = run("gen", "hi", "-m", "nobody/\udcff", "--meta", "told.json", home=tmp_path, **server.settings)
    assert ran.code == 2
    assert "together/nobody/\udcff" in json.loads((tmp_path / "told.json").read_text())["error"]["hint"]


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("gen", ""), 2, "the prompt is empty"),
        (("gen", "Why", "is", "the", "sky", "blue?"), 2, 'put the prompt in quotes, "Why is ..."'),
        (("gen", "hi", "-m", "openai-but-not/a-model"), 2, "openai-but-not/a-model"),
        (("gen", "hi", "-m", "gpt-5.4-minni"), 2, "gpt-5.4-mini"),
        (("gen", "hi", "-p", "opnai"), 2, "opnai"),
        (("gen", "hi", "-t", "3"), 2, "--temperature: 3"),
        (("gen", "hi", "-t", "warm"), 2, "warm"),
        (("gen", "hi", "--strategy", "cheapest"), 2, "cost_optimized"),
        (("gen", "hi", "--max-tokens", "0"), 2, "--max-tokens: 0"),
        (("gen", "hi", "--meta", "no/such/folder/x"), 2, "no/such/folder/x"),
        (("gen", "-", "--no-stdin"), 2, "--no-stdin"),
        (("gen", "hi", "--no-such-flag"), 2, "--no-such-flag"),
        (("gen", "hi", "-p", "anthropic"), 3, "ANTHROPIC_API_KEY"),
        (("gen", "hi", "--effort", "hard"), 2, "hard"),
        (("gen", "hi", "-p", "openai", "--min-quality", "99"), 2, "--min-quality"),
        (("costs", "--period", "decade"), 2, "decade"),
        (("health", "-p", "nobody"), 2, "nobody"),
        (("models", "-p", "nobody"), 2, "nobody"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_sent(
    arguments: tuple[str, ...], code: int, named: str, server: ModelServer, tmp_path: Path
) -> None:
    ran = run(*arguments, home=tmp_path, **server.settings)
    assert (ran.code, ran.out) == (code, "")
    assert len(ran.err.splitlines()) == 1
    assert ran.err.startswith("llmroute: ")
    assert named in ran.err
    assert server.requests == []
    assert not (tmp_path / "llmroute" / "ledger.db").exists()


def test_a_failure_in_json_has_the_same_code_and_the_documented_fields(tmp_path: Path) -> None:
    ran = run("gen", "hi", "-p", "openai", "--json", home=tmp_path)
    assert ran.code == 3
    assert set(json.loads(ran.out)["error"]) == {"type", "message", "hint", "attempts"}


@pytest.mark.parametrize("content", ["strategy = ", "strategy = 'cheapest'", "no_such_setting = 1", "timeouts = 3"])
def test_a_config_that_does_not_parse_is_named(content: str, server: ModelServer, tmp_path: Path) -> None:
    path = tmp_path / "llmroute" / "config.toml"
    path.parent.mkdir()
    path.write_text(content)
    ran = run("gen", "hi", home=tmp_path, **server.settings)
    assert (ran.code, ran.out, server.requests) == (2, "", [])
    assert str(path) in ran.err
    assert len(ran.err.splitlines()) == 1


def test_an_answer_cut_at_the_users_limit_is_told_and_fine(server: ModelServer, tmp_path: Path) -> None:
    server.finish_reason = "length"
    asked = run("gen", "hi", "-m", MODEL, "--max-tokens", "3", home=tmp_path, **server.settings)
    assert (asked.code, asked.out) == (0, "one two three\n")
    assert "--max-tokens 3" in asked.err
    unasked = run("gen", "hi", "-m", MODEL, home=tmp_path, **server.settings)
    assert (unasked.code, unasked.out) == (6, "one two three\n")


def test_what_a_model_refuses_is_left_out_with_a_note_and_quiet_silences_it(
    server: ModelServer, tmp_path: Path
) -> None:
    ran = run("gen", "hi", "-m", "openai/gpt-6-sol", "-t", "0.3", home=tmp_path, **server.settings)
    assert ran.code == 0
    assert "openai/gpt-6-sol takes no temperature" in ran.err
    assert "temperature" not in server.requests[0]
    quiet = run("gen", "hi", "-m", "openai/gpt-6-sol", "-t", "0.3", "-q", home=tmp_path, **server.settings)
    assert quiet.err == ""
    strict = run(
        "gen", "hi", "-m", "openai/gpt-6-sol", "-t", "0.3", "--strict-params", home=tmp_path, **server.settings
    )
    assert (strict.code, len(server.requests)) == (2, 2)


def test_the_timeout_ends_a_stream_that_goes_on(server: ModelServer, tmp_path: Path) -> None:
    server.words, server.pause_s = ("word ",) * 1_000, 0.1
    ran = run("stream", "hi", "-m", MODEL, "--timeout", "5", "--no-fallback", home=tmp_path, **server.settings)
    assert ran.code == 6
    assert ran.out.startswith("word word ")
    assert rows(tmp_path)[0]["status"] == "partial"


def test_no_first_word_within_the_timeout_is_the_deadline(server: ModelServer, tmp_path: Path) -> None:
    server.pause_s = 5
    ran = run("stream", "hi", "-m", MODEL, "--timeout", "0.5", "--no-fallback", home=tmp_path, **server.settings)
    assert (ran.code, ran.out) == (7, "")


@pytest.mark.parametrize(("command", "status"), [("stream", "interrupted"), ("gen", "ok")])
def test_a_reader_that_leaves_ends_it_quietly(command: str, status: str, server: ModelServer, tmp_path: Path) -> None:
    server.words, server.pause_s = ("word " * 1000,) * 100, 0.02
    command = f"{' '.join(LLMROUTE)} {command} hi -m {MODEL} | head -c 1"
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        env=environment(tmp_path, **server.settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == (b"w", b"")
    assert ended.returncode == 128 + signal.SIGPIPE
    assert rows(tmp_path)[0]["status"] == status


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)], ids=lambda n: str(int(n))
)
def test_a_signal_in_a_stream_settles_the_attempt(
    number: signal.Signals, code: int, server: ModelServer, tmp_path: Path
) -> None:
    server.words, server.pause_s = ("word ",) * 2000, 0.05
    process = start("stream", "hi", "-m", "openai/gpt-4o", home=tmp_path, **server.settings)
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 5) == b"word "
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (code, b"")
    (row,) = rows(tmp_path)
    assert (row["status"], row["usage_source"]) == ("interrupted", "estimated")
    assert row["output_tokens"] >= 1
    assert row["cost_picousd"] > 0


def test_a_signal_while_a_whole_answer_is_awaited_settles_it_too(server: ModelServer, tmp_path: Path) -> None:
    server.pause_s = 10 * PATIENCE_S
    process = start("gen", "hi", "-m", MODEL, home=tmp_path, **server.settings)
    wait_until(lambda: server.requests)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert rows(tmp_path)[0]["status"] == "interrupted"


@pytest.mark.parametrize("attempt", range(3))
def test_sixteen_first_calls_at_once_are_sixteen_answers_and_sixteen_rows(
    attempt: int, server: ModelServer, tmp_path: Path
) -> None:
    del attempt
    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda _: run("gen", "hi", "-m", MODEL, home=tmp_path, **server.settings), range(16)))
    assert [(ran.code, ran.out, ran.err) for ran in runs] == [(0, "one two three\n", "")] * 16
    assert [row["status"] for row in rows(tmp_path)] == ["ok"] * 16


def test_a_directory_where_the_ledger_should_be_costs_no_answer(server: ModelServer, tmp_path: Path) -> None:
    ledger = tmp_path / "llmroute" / "ledger.db"
    ledger.mkdir(parents=True)
    ran = run("gen", "hi", "-m", MODEL, home=tmp_path, **server.settings)
    assert (ran.code, ran.out) == (0, "one two three\n")
    assert len(ran.err.splitlines()) == 1
    assert str(ledger) in ran.err
    bill = run("costs", home=tmp_path)
    assert (bill.code, bill.out) == (3, "")
    assert f"{ledger} cannot be used: it is a directory" in bill.err


def test_a_ledger_from_the_future_costs_no_answer(server: ModelServer, tmp_path: Path) -> None:
    run("gen", "hi", "-m", MODEL, home=tmp_path, **server.settings)
    import sqlite3

    db = sqlite3.connect(tmp_path / "llmroute" / "ledger.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    ran = run("gen", "hi", "-m", MODEL, home=tmp_path, **server.settings)
    assert (ran.code, ran.out) == (0, "one two three\n")
    assert "version 99" in ran.err
    bill = run("costs", home=tmp_path)
    assert (bill.code, bill.out) == (3, "")
    assert "version 99" in bill.err


def test_the_local_server_is_asked_only_where_another_model_has_to_stand_in(
    server: ModelServer, tmp_path: Path
) -> None:
    with serving([reply(200, b'{"models": []}')]) as ollama, serving([reply(401, b"{}")]) as refusing:
        settings = {**server.settings, "OLLAMA_BASE_URL": ollama.url}
        assert run("gen", "hi", "-m", "openai/gpt-4o", "--no-fallback", home=tmp_path, **settings).code == 0
        assert run("gen", "hi", "-m", "openai/gpt-4o", home=tmp_path, **settings).code == 0
        assert ollama.received == []
        settings["OPENAI_BASE_URL"] = refusing.url
        assert run("gen", "hi", "-m", "openai/gpt-4o", home=tmp_path, **settings).code == 3
        assert [received.path for received in ollama.received] == ["/api/tags"]
