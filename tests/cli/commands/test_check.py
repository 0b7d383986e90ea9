"""`gen --check`: the caller's own command accepts or rejects each answer."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.model_server import ModelServer
from tests.support.shell import Ran, rows, run, start
from tests.support.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHEAP, DEAR = "openai/gpt-5.4-mini", "openai/gpt-5.4"
BOTH = ("-m", CHEAP, "--fallback", DEAR)
TAKES_DEAR = "grep -qx 'by gpt-5.4'"


class _SignedAnswers(ModelServer):
    """Answers with the name of the model."""

    def words_for(self, body: dict[str, Any]) -> tuple[str, ...]:
        return (f"by {body['model']}",)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with _SignedAnswers() as running:
        yield running


@pytest.fixture
def gen(server: ModelServer, tmp_path: Path) -> Callable[..., Ran]:
    return lambda *arguments, **settings: run("gen", "hi", *arguments, home=tmp_path, **server.settings, **settings)


def _table(home: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(home / "llmroute" / "ledger.db") as db:
        return db.execute(query).fetchall()


def test_an_accepted_answer_is_printed_as_ever(gen: Callable[..., Ran], server: ModelServer, tmp_path: Path) -> None:
    ran = gen(*BOTH, "--check", "grep -q mini")
    assert (ran.code, ran.out, ran.err) == (0, "by gpt-5.4-mini\n", "")
    assert len(server.requests) == 1
    assert [row["status"] for row in rows(tmp_path)] == ["ok"]


def test_the_next_model_answers_when_the_check_rejects_and_both_are_paid(
    gen: Callable[..., Ran], tmp_path: Path
) -> None:
    ran = gen(*BOTH, "--check", f"{TAKES_DEAR} || {{ echo 'no tests passed' >&2; exit 1; }}")
    assert (ran.code, ran.out) == (0, "by gpt-5.4\n")
    assert f"{CHEAP}: the check rejects the answer: no tests passed; using {DEAR}" in ran.err
    rejected, answered = rows(tmp_path)
    assert (rejected["status"], rejected["error"], answered["status"]) == ("rejected", "check", "ok")
    assert rejected["cost_picousd"] > 0
    assert answered["cost_picousd"] > 0
    assert rejected["usage_source"] == "reported"


def test_rollups_count_a_rejected_answer_once_and_with_its_cost(gen: Callable[..., Ran], tmp_path: Path) -> None:
    gen(*BOTH, "--check", TAKES_DEAR)
    sums = _table(tmp_path, "SELECT status, sum(call_count), sum(cost_picousd) FROM rollups GROUP BY 1 ORDER BY 1")
    by_status = {row["status"]: row["cost_picousd"] for row in rows(tmp_path)}
    assert [(status, cost) for status, count, cost in sums if count] == sorted(by_status.items())


def test_where_every_answer_is_rejected_stdout_is_empty_and_json_names_each(gen: Callable[..., Ran]) -> None:
    assert gen(*BOTH, "--check", "false").out == ""
    ran = gen(*BOTH, "--check", "echo never >&2; false", "--json")
    assert ran.code == 6
    error = json.loads(ran.out)["error"]
    assert [(one["model"], one["status"], one["error"]) for one in error["attempts"]] == [
        ("gpt-5.4-mini", "rejected", "check"),
        ("gpt-5.4", "rejected", "check"),
    ]


def test_the_command_knows_the_attempt_and_no_key(gen: Callable[..., Ran], tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    ran = gen(*BOTH, "--check", f"env >> {shlex.quote(str(seen))}; {TAKES_DEAR}")
    assert ran.code == 0
    names = ("LLMROUTE_PROVIDER", "LLMROUTE_MODEL", "LLMROUTE_ATTEMPT")
    known = [line for line in seen.read_text().splitlines() if line.startswith(names)]
    assert sorted(known) == sorted([
        "LLMROUTE_PROVIDER=openai", "LLMROUTE_MODEL=gpt-5.4-mini", "LLMROUTE_ATTEMPT=1",
        "LLMROUTE_PROVIDER=openai", "LLMROUTE_MODEL=gpt-5.4", "LLMROUTE_ATTEMPT=2",
    ])  # fmt: skip
    assert "API_KEY" not in seen.read_text()
    assert "sk-test" not in seen.read_text()


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("/nowhere/to/be/found", 2, "cannot be started"),
        ("exit 126", 2, "cannot be started"),
        ("kill -9 $$", 3, "was killed by signal 9"),
        ("sh -c 'kill -TERM $$'; exit $?", 3, "was killed by signal 15"),
    ],
)
def test_a_fault_of_the_check_ends_the_request_with_the_answer_paid_and_kept(  # noqa: PLR0913, PLR0917
    command: str, code: int, says: str, gen: Callable[..., Ran], server: ModelServer, tmp_path: Path
) -> None:
    ran = gen(*BOTH, "--check", command, "--meta", str(tmp_path / "meta"))
    assert (ran.code, ran.out) == (code, "")
    assert f"the check {says}" in ran.err
    assert ran.err.count("\n") == 1
    assert len(server.requests) == 1, "no other model is asked"
    assert [(row["status"], row["cost_picousd"] > 0) for row in rows(tmp_path)] == [("ok", True)]
    kept = json.loads((tmp_path / "meta").read_text())
    assert kept["content"] == "by gpt-5.4-mini"
    assert kept["error"]["type"] == "check_fault"


def test_a_check_that_takes_too_long_is_killed_with_its_children(gen: Callable[..., Ran], tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    ran = gen("-m", CHEAP, "--check-timeout", "2", "--check", f"sleep 600 & echo $! > {pid}; wait")
    assert (ran.code, ran.out) == (3, "")
    assert "the check took longer than 2 s" in ran.err
    wait_until(lambda: _is_gone(int(pid.read_text())))


def _is_gone(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().split()[2] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def test_megabytes_and_escapes_of_a_check_reach_neither_memory_nor_terminal(gen: Callable[..., Ran]) -> None:
    loud = r"printf '\033[2J\033]0;owned\007bad' >&2; yes loud | head -c 30000000 >&2; yes | head -c 30000000; exit 1"
    ran = gen("-m", CHEAP, "--no-fallback", "--check", loud)
    assert ran.code == 6
    assert "\033" not in ran.err
    assert "\007" not in ran.err
    assert len(ran.err) < 400


def test_a_key_that_a_check_prints_is_hidden(gen: Callable[..., Ran], server: ModelServer, tmp_path: Path) -> None:
    key = server.settings["OPENAI_API_KEY"]
    (tmp_path / "key").write_text(key)
    for command in (f"cat {tmp_path}/key >&2; exit 1", f"cat {tmp_path}/key >&2; exit 127"):
        ran = gen("--check", command, "--json", "--no-fallback", "-m", CHEAP)
        assert ran.code != 0
        assert "the check" in ran.out + ran.err
        assert key not in ran.out + ran.err


def test_a_check_that_reads_nothing_of_a_long_answer_is_heard(tmp_path: Path) -> None:
    with ModelServer() as long:
        long.words = ("long " * 200_000,)
        ran = run("gen", "hi", "-m", CHEAP, "--check", "true", home=tmp_path, **long.settings)
    assert ran.code == 0
    assert len(ran.out) == 1_000_000 + 1


def test_rejections_do_not_count_as_attempts_and_have_a_limit_of_their_own(
    gen: Callable[..., Ran], server: ModelServer
) -> None:
    three = ("-m", CHEAP, "--fallback", "openai/gpt-5.4-nano", "--fallback", DEAR)
    assert gen(*three, "--max-attempts", "1", "--check", TAKES_DEAR).out == "by gpt-5.4\n"
    server.requests.clear()
    assert gen(*three, "--max-rejections", "2", "--check", TAKES_DEAR).code == 6
    assert len(server.requests) == 2


def test_rejections_open_no_circuit_and_cost_no_reliability(gen: Callable[..., Ran], tmp_path: Path) -> None:
    for _ in range(6):
        assert gen("-m", CHEAP, "--no-fallback", "--check", "false").code == 6
    assert _table(tmp_path, "SELECT count(*) FROM breakers") == [(0,)]
    ((ok, calls),) = _table(tmp_path, "SELECT ok, calls FROM reliabilities")
    assert ok == pytest.approx(calls)


def test_a_model_that_never_passes_is_asked_last_by_cost(gen: Callable[..., Ran]) -> None:
    planned = ("--strategy", "cost_optimized", "--dry-run", "--json", "-p", "openai", "--check", "false")
    first = json.loads(gen(*planned).out)["candidates"][0]["model"]
    for _ in range(4):
        gen("-m", f"openai/{first}", "--no-fallback", "--check", "false")
    candidates = json.loads(gen(*planned).out)["candidates"]
    assert candidates[0]["model"] != first
    assert candidates[-1]["model"] == first


def test_a_dry_run_tells_the_chance_that_each_link_is_reached(gen: Callable[..., Ran], server: ModelServer) -> None:
    ran = gen("--check", "true", "--dry-run", "--json")
    reached = [one["terms"]["reached"] for one in json.loads(ran.out)["candidates"]]
    assert reached[0] == 1
    assert reached == sorted(reached, reverse=True)
    assert reached[1] < 1
    assert "reached 100%" in gen("--check", "true", "--dry-run").out
    assert server.requests == []


def test_an_interrupt_ends_the_check_and_keeps_the_bill(server: ModelServer, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    command = f"echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 600"
    process = start("gen", "hi", "--no-stdin", "-m", CHEAP, "--check", command, home=tmp_path, **server.settings)
    wait_until(pid.exists)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (130, b"")
    wait_until(lambda: _is_gone(int(pid.read_text())))
    assert [row["status"] for row in rows(tmp_path)] == ["ok"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_a_check_leaves_the_paid_answer_in_the_file_of_meta(
    number: signal.Signals, code: int, server: ModelServer, tmp_path: Path
) -> None:
    pid, told = tmp_path / "pid", tmp_path / "told.json"
    command = f"{TAKES_DEAR} || exit 1; echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 600"
    words = ("gen", "hi", "--no-stdin", *BOTH, "--check", command, "--meta", str(told))
    process = start(*words, home=tmp_path, **server.settings)
    wait_until(pid.exists)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, b"")
    kept = json.loads(told.read_text())
    assert (kept["content"], kept["model"], kept["error"]["type"]) == ("by gpt-5.4", "gpt-5.4", "interrupted")
    assert [one["status"] for one in kept["attempts"]] == ["rejected", "ok"]
    assert kept["cost_usd"] * 10**12 == pytest.approx(sum(row["cost_picousd"] for row in rows(tmp_path)))


def test_a_signal_after_a_rejection_records_no_answer(tmp_path: Path) -> None:
    arrived = tmp_path / "arrived"

    class _SilentAtSecond(_SignedAnswers):
        def words_for(self, body: dict[str, Any]) -> tuple[str, ...]:
            if body["model"] == "gpt-5.4":
                arrived.touch()
                time.sleep(60)
            return super().words_for(body)

    with _SilentAtSecond() as server:
        words = ("gen", "hi", "--no-stdin", *BOTH, "--check", "false", "--meta", str(tmp_path / "told.json"))
        process = start(*words, home=tmp_path, **server.settings)
        wait_until(arrived.exists)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert (tmp_path / "told.json").read_text() == ""


def test_a_process_killed_during_its_check_has_the_true_cost_in_the_ledger(server: ModelServer, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    command = f"echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 600"
    process = start("gen", "hi", "--no-stdin", "-m", CHEAP, "--check", command, home=tmp_path, **server.settings)
    wait_until(pid.exists)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    os.killpg(int(pid.read_text()), signal.SIGKILL)
    (row,) = rows(tmp_path)
    assert (row["status"], row["usage_source"], row["cost_basis"]) == ("ok", "reported", "reported")


def test_a_batch_checks_each_line(server: ModelServer, tmp_path: Path) -> None:
    lines = "".join(json.dumps({"id": number, "prompt": f"p{number}"}) + "\n" for number in range(20))
    (tmp_path / "in.jsonl").write_text(lines)
    ran = run(
        "gen", "--batch", "in.jsonl", "-o", "out.jsonl", *BOTH, "--jobs", "4", "--check", TAKES_DEAR,
        home=tmp_path, **server.settings,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    results = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(one["id"], one["content"]) for one in results] == [(number, "by gpt-5.4") for number in range(20)]
    statuses = [row["status"] for row in rows(tmp_path)]
    assert (statuses.count("rejected"), statuses.count("ok"), len(statuses)) == (20, 20, 40), ran.err


def test_a_batch_keeps_the_answer_of_a_check_that_took_too_long(server: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("p\n")
    ran = run(
        "gen", "--batch", "in.txt", "--lines", "-o", "out.jsonl", "-m", CHEAP, "--check", "sleep 9",
        "--check-timeout", "0.05", home=tmp_path, **server.settings,
    )  # fmt: skip
    assert ran.code != 0
    result = json.loads((tmp_path / "out.jsonl").read_text())
    assert (result["error"]["type"], result["unchecked"]["content"]) == ("check_fault", "by gpt-5.4-mini")


def test_a_batch_stops_at_a_check_that_cannot_be_started(server: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("".join(f"p{number}\n" for number in range(50)))
    ran = run(
        "gen", "--batch", "in.txt", "--lines", "-o", "out.jsonl", "-m", CHEAP, "--jobs", "1", "--check", "nowhere-9",
        home=tmp_path, **server.settings,
    )  # fmt: skip
    assert ran.code != 0
    assert len(server.requests) == 1


def test_bad_uses_of_a_check_are_refused_before_anything_is_sent(
    gen: Callable[..., Ran], server: ModelServer, tmp_path: Path
) -> None:
    assert gen("--check", " ").code == 2
    assert gen("-m", CHEAP, "--check-timeout", "5").code == 2
    assert gen("--check", "true", "--check-timeout", "nan").code == 2
    assert run("stream", "hi", "--check", "true", home=tmp_path, **server.settings).code == 2
    (tmp_path / "in.jsonl").write_text('{"id": 1, "prompt": "hi", "check": "touch owned"}\n')
    ran = run("gen", "--batch", "in.jsonl", "-m", CHEAP, home=tmp_path, **server.settings)
    assert ran.code != 0
    assert "no option 'check'" in ran.out + ran.err
    assert server.requests == []
    assert not (tmp_path / "owned").exists()
