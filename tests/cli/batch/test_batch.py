"""`gen --batch` from a shell: real processes, a real server, files, pipes and kills."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fault_server import Pause, Until, serving
from tests.support.model_server import ModelServer
from tests.support.provider_servers import openai_answer, openai_error
from tests.support.pseudo_terminal import run_on_terminal, without_escapes
from tests.support.shell import LLMROUTE, environment, rows, run, signalled, start
from tests.support.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.fault_server import FaultServer, Received, Script

MODEL = "openai/gpt-5.4-mini"
GEN = ("gen", "-m", MODEL, "--no-fallback")
LONG = Pause(300)


def settings(server: FaultServer) -> dict[str, str]:
    return {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "sk-test-0123456789"}


def prompt_of(received: Received) -> str:
    prompt: str = json.loads(received.body)["messages"][-1]["content"]
    return prompt


def write(path: Path, lines: Sequence[Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def numbered(path: Path, count: int) -> Path:
    return write(path, [{"id": f"r{number}", "prompt": str(number)} for number in range(count)])


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def results(path: Path) -> list[dict[str, Any]]:
    return parsed(path.read_text())


def echo(received: Received) -> Script:
    return [openai_answer(f"answer {prompt_of(received)}")]


def shuffled(received: Received) -> Script:
    return [Pause(random.Random(prompt_of(received)).random() / 20), *echo(received)]


def test_each_line_is_answered_in_order_with_the_fields_of_gen_json(server: ModelServer, tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 20)
    ran = run(*GEN, "--batch", "in.jsonl", home=tmp_path, **server.settings)
    assert ran.code == 0
    assert ran.err.startswith("llmroute: 20 answered; $")
    found = parsed(ran.out)
    assert [one["id"] for one in found] == [f"r{number}" for number in range(20)]
    single = parsed(run(*GEN, "hi", "--json", home=tmp_path, **server.settings).out)[0]
    assert set(found[0]) == {*single, "request_id"}
    assert {one["content"] for one in found} == {"one two three"}
    ledger = [row for row in rows(tmp_path) if row["request_id"] != single["id"]]
    assert {row["request_id"] for row in ledger} == {one["request_id"] for one in found}
    assert sum(row["cost_picousd"] for row in ledger) == round(sum(one["cost_usd"] for one in found) * 10**12)


def test_a_dash_as_the_output_is_stdout(server: ModelServer, tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 2)
    ran = run(*GEN, "--batch", "in.jsonl", "-o", "-", home=tmp_path, **server.settings)
    assert (ran.code, [one["id"] for one in parsed(ran.out)]) == (0, ["r0", "r1"])
    assert not (tmp_path / "-").exists()


def test_results_are_in_the_order_of_the_input_or_of_completion(tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 40)
    with serving(shuffled) as server:
        flags = (*GEN, "--batch", "in.jsonl", "--jobs", "16", "-q")
        ordered = run(*flags, home=tmp_path, **settings(server))
        loose = run(*flags, "--unordered", home=tmp_path, **settings(server))
    assert [one["content"] for one in parsed(ordered.out)] == [f"answer {number}" for number in range(40)]
    came = [one["id"] for one in parsed(loose.out)]
    assert sorted(came) == sorted(f"r{number}" for number in range(40))
    assert came != sorted(came, key=lambda key: int(key[1:]))
    assert ordered.err == loose.err == ""


def test_no_more_calls_than_jobs_are_in_flight(tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 40)
    lock, inside, most = threading.Lock(), 0, 0

    def answer(received: Received) -> Script:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.02)
        with lock:
            inside -= 1
        return echo(received)

    with serving(answer) as server:
        assert run(*GEN, "--batch", "in.jsonl", "--jobs", "5", home=tmp_path, **settings(server)).code == 0
        assert server.connections <= 5, "connections are used again"
    assert 2 <= most <= 5


def test_invalid_lines_are_reported_with_their_numbers_and_stop_nothing(server: ModelServer, tmp_path: Path) -> None:
    lines = [
        {"prompt": "a"},
        "nonsense",
        {"prompt": "b", "temprature": 1},
        {"id": 1, "prompt": "twice"},
        {"prompt": ""},
    ]
    write(tmp_path / "in.jsonl", lines)
    ran = run(*GEN, "--batch", "in.jsonl", home=tmp_path, **server.settings)
    assert ran.code == 2
    assert len(server.requests) == 1
    for number, why in ((2, "not JSON"), (3, "did you mean temperature"), (4, "id 1 is used by an earlier line")):
        assert any(line.startswith(f"llmroute: line {number}: ") and why in line for line in ran.err.splitlines())
    found = parsed(ran.out)
    assert [(one["id"], "content" in one) for one in found] == [
        (1, True),
        (2, False),
        (3, False),
        (1, False),
        (5, False),
    ]
    assert [one["line"] for one in found[1:]] == [2, 3, 4, 5]
    assert "1 answered, 4 invalid lines" in ran.err


def test_plain_lines_csv_and_templates_are_read_from_a_pipe(server: ModelServer, tmp_path: Path) -> None:
    piped = run(
        *GEN, "--batch", "-", "--lines", "--template", "Say {text}!", stdin="a\nb\n", home=tmp_path, **server.settings
    )
    assert [one["id"] for one in parsed(piped.out)] == [1, 2]
    table = 'name,comment\nAnn,"good, cheap"\nBob,bad\n'
    flags = ("--column", "comment", "--template", "{name}: {text}")
    assert run(*GEN, "--batch", "-", *flags, stdin=table, home=tmp_path, **server.settings).code == 0
    sent = {request["messages"][-1]["content"] for request in server.requests}
    assert sent == {"Say a!", "Say b!", "Ann: good, cheap", "Bob: bad"}


def answered_once_from_a_pipe(server: ModelServer, home: Path) -> subprocess.Popen[bytes]:
    """Start a batch whose input stays open, and see its first line answered."""
    process = subprocess.Popen(
        [*LLMROUTE, *GEN, "--batch", "-", "--lines"],
        env=environment(home, **server.settings),
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"first\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["id"] == 1
    return process


def test_the_first_result_is_printed_before_the_input_ends(server: ModelServer, tmp_path: Path) -> None:
    process = answered_once_from_a_pipe(server, tmp_path)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"second\n")
    process.stdin.close()
    assert json.loads(process.stdout.readline())["id"] == 2
    assert process.wait(PATIENCE_S) == 0
    process.stdout.close()


def test_failures_are_listed_for_another_run_and_answers_are_not_requested_twice(tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 10)
    broken = {"3", "7"}
    asked: Counter[str] = Counter()

    def answer(received: Received) -> Script:
        prompt = prompt_of(received)
        asked[prompt] += 1
        return [openai_error(400, "strange")] if prompt in broken else echo(received)

    with serving(answer) as server:
        flags = (*GEN, "-o", "out.jsonl")
        ran = run(*flags, "--batch", "in.jsonl", home=tmp_path, **settings(server))
        assert ran.code == 2
        assert "8 answered, 2 failed" in ran.err
        assert sorted(one["id"] for one in results(tmp_path / "out.jsonl.failed")) == ["r3", "r7"]
        assert [one["id"] for one in results(tmp_path / "out.jsonl")] == [f"r{number}" for number in range(10)]
        broken.clear()
        again = run(*flags, "--batch", "out.jsonl.failed", "--resume", home=tmp_path, **settings(server))
        assert (again.code, again.out) == (0, "")
        whole = run(*flags, "--batch", "in.jsonl", "--resume", home=tmp_path, **settings(server))
        assert whole.code == 0
        assert "0 answered, 10 already answered" in whole.err
    assert not (tmp_path / "out.jsonl.failed").exists()
    assert [one["content"] for one in results(tmp_path / "out.jsonl")] == [f"answer {number}" for number in range(10)]
    assert asked == {str(number): 2 if number in (3, 7) else 1 for number in range(10)}


def test_a_batch_that_is_killed_repeatedly_pays_nothing_twice_and_loses_nothing(tmp_path: Path) -> None:
    count, jobs = 120, 8
    numbered(tmp_path / "in.jsonl", count)
    out = tmp_path / "out.jsonl"
    asked: Counter[str] = Counter()
    chance = random.Random(7)

    def answer(received: Received) -> Script:
        prompt = prompt_of(received)
        asked[prompt] += 1
        roll = chance.random()
        error = openai_error(429, retry_after="0") if roll < 0.05 else openai_error(500) if roll < 0.07 else None
        if error is not None:
            asked[prompt] -= 1
        return [Pause(0.02), error] if error is not None else [Pause(0.02), *echo(received)]

    kills = 0
    with serving(answer) as server:
        command = (*GEN, "--batch", "in.jsonl", "-o", "out.jsonl", "--resume", "--jobs", str(jobs))
        for number in range(8):
            process = start(*command, home=tmp_path, **settings(server))
            wanted = (number + 1) * count // 10
            until = time.monotonic() + 30
            while process.poll() is None and time.monotonic() < until:
                if out.exists() and out.read_bytes().count(b"\n") >= wanted:
                    break
                time.sleep(0.01)
            kills += process.poll() is None
            process.kill()
            process.communicate()
        done = run(*command, home=tmp_path, **settings(server))
    assert done.code == 0
    assert kills >= 4
    found = results(out)
    assert [one["id"] for one in found] == [f"r{number}" for number in range(count)]
    assert [one["content"] for one in found] == [f"answer {number}" for number in range(count)]
    # Only what was under way when it was killed may have been asked again.
    assert sum(asked.values()) <= count + kills * jobs
    run("costs", home=tmp_path)
    ledger = rows(tmp_path)
    answered = {row["request_id"]: row["cost_picousd"] for row in ledger if row["status"] == "ok"}
    told_costs = {one["request_id"]: round(one["cost_usd"] * 10**12) for one in found}
    lost = {row["request_id"] for row in ledger if row["status"] == "lost"}
    assert set(told_costs) <= set(answered) | lost
    assert all(answered[key] <= cost for key, cost in told_costs.items() if key in answered)
    assert not [row for row in ledger if row["status"] == "pending"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_after_a_signal_requests_in_flight_finish_and_the_rest_is_run_later(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    numbered(tmp_path / "in.jsonl", 60)
    out = tmp_path / "out.jsonl"
    is_signalled = threading.Event()

    def answer(received: Received) -> Script:
        return echo(received) if int(prompt_of(received)) < 12 else [Until(is_signalled), *echo(received)]

    with serving(answer) as server:
        command = (*GEN, "--batch", "in.jsonl", "-o", "out.jsonl", "--resume")
        process = start(*command, home=tmp_path, **settings(server))
        wait_until(lambda: len(server.received) >= 20)
        signalled(process, number)
        is_signalled.set()
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code
        asked = len(server.received)
        assert 20 <= asked < 60
        assert (
            f"llmroute: interrupted: {asked} of 60 answered, {60 - asked} left;"
            " run the same command with --resume to continue\n"
        ) in err.decode()
        assert [row["status"] for row in rows(tmp_path)] == ["ok"] * asked
        keys = [int(one["id"][1:]) for one in results(out)]
        assert keys == sorted(keys)
        assert len(keys) == asked
        listed = {int(one["id"][1:]) for one in results(tmp_path / "out.jsonl.failed")}
        assert listed == {*range(60)} - {*keys}
        assert f"requests without an answer: out.jsonl.failed ({60 - asked})" in err.decode()
        rest = (*GEN, "--batch", "out.jsonl.failed", "-o", "out.jsonl", "--resume")
        assert run(*rest, home=tmp_path, **settings(server)).code == 0
        assert len(server.received) == 60
        assert run(*command, home=tmp_path, **settings(server)).code == 0
        assert len(server.received) == 60
    assert [one["content"] for one in results(out)] == [f"answer {number}" for number in range(60)]


def test_a_second_signal_cancels_requests_in_flight_and_writes_results_that_waited(tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 8)
    slow = {"0"}
    with serving(lambda one: [LONG, *echo(one)] if prompt_of(one) in slow else echo(one)) as server:
        process = start(*GEN, "--batch", "in.jsonl", home=tmp_path, **settings(server))
        wait_until(lambda: len(server.received) == 8 and [row["status"] for row in rows(tmp_path)].count("ok") == 7)
        signalled(process, signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert b"interrupted: 7 of 8 answered, 1 left\n" in err, "without -o there is nothing to be resumed"
    statuses = Counter(row["status"] for row in rows(tmp_path))
    assert statuses == {"ok": 7, "interrupted": 1}
    *answered, interrupted = parsed(out.decode())
    assert ["content" in one for one in answered] == [True] * 7
    assert interrupted["error"]["type"] == "interrupted"


def test_what_a_second_signal_interrupts_is_in_the_summary_and_counts_in_the_budget_of_the_next_run(
    tmp_path: Path,
) -> None:
    write(tmp_path / "in.jsonl", [{"id": "slow", "prompt": "slow"}, {"id": "checked", "prompt": "b"}])
    flags = ("--batch", "in.jsonl", "-o", "out.jsonl", "--resume", "--meta", "meta.json")
    check = ("--check", "touch checking; sleep 300")
    with serving(lambda one: [LONG, *echo(one)] if prompt_of(one) == "slow" else echo(one)) as server:
        process = start(*GEN, *flags, *check, home=tmp_path, **settings(server))
        wait_until(lambda: len(server.received) == 2 and (tmp_path / "checking").exists())
        signalled(process, signal.SIGINT)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
        paid = {row["status"]: row["cost_picousd"] for row in rows(tmp_path)}
        assert paid.keys() == {"ok", "interrupted"}
        assert min(paid.values()) > 0
        assert b"0 answered, 2 interrupted; $0.0" in err
        figures = json.loads((tmp_path / "meta.json").read_text())
        assert round(figures["cost_usd"] * 10**12) == sum(paid.values())
        assert figures["interrupted"] == 2
        assert [one["id"] for one in results(tmp_path / "out.jsonl.failed")] == ["slow", "checked"]
        budget = ("--budget", f"{sum(paid.values()) / 10**12:.12f}")
        spent = run(*GEN, *flags, *budget, home=tmp_path, **settings(server))
    assert spent.code == 5
    assert len(rows(tmp_path)) == 2, "nothing of the budget is left"
    assert json.loads((tmp_path / "meta.json").read_text())["cost_before_usd"] == figures["cost_usd"]


def test_after_a_signal_nothing_is_retried_and_no_waiting_request_is_sent(tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 40)
    with serving([openai_error(429, retry_after=f"{2 * PATIENCE_S:.0f}")]) as server:
        process = start(*GEN, "--batch", "in.jsonl", "-o", "out.jsonl", home=tmp_path, **settings(server))
        wait_until(lambda: len(server.received) >= 8)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
        asked = len(server.received)
        assert (process.returncode, len(set(map(prompt_of, server.received)))) == (130, asked)
        assert asked < 40
    assert b"interrupted: 0 of 40 answered, 40 left" in err
    assert len(rows(tmp_path)) == asked
    assert len(results(tmp_path / "out.jsonl.failed")) == 40


def test_requests_cancelled_by_a_second_signal_are_listed_and_invalid_lines_are_not(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", [{"id": "slow", "prompt": "slow"}, {"prompt": "b"}, "not JSON", {"prompt": "d"}])
    with serving(lambda one: [LONG, *echo(one)] if prompt_of(one) == "slow" else echo(one)) as server:
        flags = ("--batch", "in.jsonl", "-o", "out.jsonl", "--unordered", "--jobs", "2")
        process = start(*GEN, *flags, home=tmp_path, **settings(server))
        wait_until(lambda: len(server.received) == 3 and (tmp_path / "out.jsonl").read_text().count("answer") == 2)
        signalled(process, signal.SIGINT)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert [one["id"] for one in results(tmp_path / "out.jsonl.failed")] == ["slow"]


def test_an_older_list_of_failures_stays_when_a_signal_ends_a_batch_with_unread_input(tmp_path: Path) -> None:
    numbered(tmp_path / "out.jsonl.failed", 3)
    is_signalled = threading.Event()
    with serving(lambda received: [Until(is_signalled), *echo(received)]) as server:
        process = subprocess.Popen(
            [*LLMROUTE, *GEN, "--batch", "-", "--lines", "-o", "out.jsonl"],
            env=environment(tmp_path, **settings(server)),
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"x\n")
        process.stdin.flush()
        wait_until(lambda: len(server.received) == 1)
        signalled(process, signal.SIGTERM)
        is_signalled.set()
        assert process.wait(PATIENCE_S) == 143
        assert b"the input was not read completely" in process.stderr.read()
        process.stdin.close()
        process.stderr.close()
    assert [one["id"] for one in results(tmp_path / "out.jsonl.failed")] == ["r0", "r1", "r2"]
    assert not list(tmp_path.glob("*.new-*"))


@pytest.mark.parametrize("output", ["/dev/full", "out.jsonl", "/dev/stdout", "/dev/fd/1"])
def test_there_is_no_list_of_failures_for_a_device_or_a_descriptor(output: str, tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 2)
    if output == "out.jsonl":
        (tmp_path / output).symlink_to("/dev/null")
    with serving([openai_error(400, "no")]) as server, (tmp_path / "stdout").open("wb") as stdout:
        ended = subprocess.run(
            [*LLMROUTE, *GEN, "--batch", "in.jsonl", "-o", output],
            env=environment(tmp_path, **settings(server)),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert ended.returncode == (3 if output == "/dev/full" else 2)
    assert b"llmroute: line 1: " in ended.stderr
    assert b".failed" not in ended.stderr
    assert not (tmp_path / "out.jsonl.failed").exists()
    assert not os.path.lexists(f"{output}.failed")


def test_a_stopped_batch_reports_that_its_pipe_was_not_read_to_the_end(tmp_path: Path) -> None:
    with serving([openai_error(401, "invalid_api_key")]) as server:
        process = subprocess.Popen(
            [*LLMROUTE, *GEN, "--batch", "-", "--lines", "-o", "out.jsonl", "--jobs", "4", "--meta", "told.json"],
            env=environment(tmp_path, **settings(server)),
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(b"x\n" * 24)
        process.stdin.flush()  # and it stays open: the batch may not wait for more
        assert process.wait(PATIENCE_S) == 3
        assert process.stderr is not None
        err = process.stderr.read().decode()
        process.stdin.close()
        process.stderr.close()
    figures = json.loads((tmp_path / "told.json").read_text())
    read = figures["lines_read"]
    assert 20 <= read <= 24
    assert figures["read_to_end"] is False
    assert f"; the input was not read completely ({read} lines read)\n" in err
    assert figures["failed"] + figures["not_run"] == read == len(results(tmp_path / "out.jsonl.failed"))


def test_a_signal_ends_a_batch_that_waits_for_its_pipe(server: ModelServer, tmp_path: Path) -> None:
    process = answered_once_from_a_pipe(server, tmp_path)
    assert process.stdin is not None
    assert process.stdout is not None
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 143
    process.stdin.close()
    process.stdout.close()


def test_a_rejected_key_stops_the_batch_and_names_the_provider(tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 200)
    with serving([openai_error(401, "invalid_api_key")]) as server:
        ran = run(*GEN, "--batch", "in.jsonl", "-o", "out.jsonl", home=tmp_path, **settings(server))
        assert ran.code == 3
        assert len(server.received) < 50
    assert "stopped: openai/" in ran.err
    assert len(results(tmp_path / "out.jsonl.failed")) == 200


def test_a_retry_after_of_an_hour_stops_the_batch(tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 40)
    with serving([openai_error(429, retry_after="3000")]) as server:
        ran = run(*GEN, "--batch", "in.jsonl", home=tmp_path, **settings(server))
    assert ran.code == 4
    assert "circuit open for" in ran.err or "429" in ran.err


def test_time_in_the_queue_does_not_count_as_latency(tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 6)
    first = threading.Event()

    def answer(received: Received) -> Script:
        if not first.is_set():
            first.set()
            return [openai_error(429, retry_after="6")]
        return echo(received)

    with serving(answer) as server:
        flags = ("--batch", "in.jsonl", "--jobs", "1", "--timeout", "5")
        ran = run(*GEN, *flags, home=tmp_path, **settings(server))
    assert ran.code == 0, ran.err
    assert max(one["latency_ms"] for one in parsed(ran.out)) < 5000


def test_a_list_of_failures_survives_a_run_that_is_rejected_or_interrupted(tmp_path: Path) -> None:
    numbered(tmp_path / "out.jsonl.failed", 20)
    is_signalled = threading.Event()
    with serving(lambda received: [Until(is_signalled), *echo(received)]) as server:
        flags = (*GEN, "-o", "out.jsonl", "--resume")
        wrong = run(*flags, "--batch", "out.jsonl.failed", "--column", "no", home=tmp_path, **settings(server))
        assert wrong.code == 2
        assert len(results(tmp_path / "out.jsonl.failed")) == 20
        process = start(*flags, "--batch", "out.jsonl.failed", home=tmp_path, **settings(server))
        wait_until(lambda: len(server.received) >= 3)
        signalled(process, signal.SIGINT)
        is_signalled.set()
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    answered = {one["id"] for one in results(tmp_path / "out.jsonl")}
    listed = {one["id"] for one in results(tmp_path / "out.jsonl.failed")}
    assert answered
    assert listed == {f"r{number}" for number in range(20)} - answered


def test_a_list_of_failures_that_cannot_be_written_does_not_affect_the_results(tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 6)
    (tmp_path / "out.jsonl.failed").mkdir()
    with serving(lambda one: [openai_error(400, "no")] if prompt_of(one) == "2" else echo(one)) as server:
        ran = run(*GEN, "--batch", "in.jsonl", "-o", "out.jsonl", home=tmp_path, **settings(server))
    assert (ran.code, ran.out) == (2, "")
    assert "--resume retries them" in ran.err
    assert "without an answer: out.jsonl.failed" not in ran.err
    assert len(results(tmp_path / "out.jsonl")) == 6


def test_rate_limits_lower_the_concurrency_and_every_request_is_answered(tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 120)
    lock, inside, refused = threading.Lock(), 0, 0

    def answer(received: Received) -> Script:
        nonlocal inside, refused
        with lock:
            inside += 1
            crowded = inside > 4
            refused += crowded
        time.sleep(0.02)
        with lock:
            inside -= 1
        return [openai_error(429, retry_after_ms="100")] if crowded else echo(received)

    with serving(answer) as server:
        ran = run(*GEN, "--batch", "in.jsonl", "--jobs", "32", home=tmp_path, **settings(server))
    assert ran.code == 0, ran.err
    assert len(parsed(ran.out)) == 120
    assert refused < 120


class TestBudgets:
    """The budget of all requests of a batch together."""

    def test_a_batch_stops_at_its_budget_and_resumes_with_a_larger_one(self, tmp_path: Path) -> None:
        count = 30
        lines = [{"id": number, "prompt": "x" * 100, "max_tokens": 100} for number in range(count)]
        write(tmp_path / "in.jsonl", lines)
        with serving(lambda _received: [openai_answer()]) as server:
            # A gateway may choose any tier for a request without one, which is reserved at the dearest.
            command = (*GEN, "--batch", "in.jsonl", "-o", "out.jsonl", "--resume", "--tier", "standard")
            one = parsed(run(*GEN, "x", "--json", home=tmp_path, **settings(server)).out)[0]["cost_usd"]
            budget = 0.001 + 10 * one
            ran = run(*command, "--budget", f"{budget:.9f}", home=tmp_path, **settings(server))
            assert ran.code == 5
            found = results(tmp_path / "out.jsonl")
            assert 8 <= len(found) < count
            assert sum(line["cost_usd"] for line in found) <= budget
            assert "stopped: " in ran.err
            assert f"{len(found)} answered, {count - len(found)} not run" in ran.err
            failed = results(tmp_path / "out.jsonl.failed")
            assert len(failed) == count - len(found)
            asked = len(server.received)
            spent = run(*command, "--budget", f"{one:.9f}", home=tmp_path, **settings(server))
            assert spent.code == 5
            assert len(server.received) == asked, "what earlier runs have cost counts"
            assert run(*command, "--budget", "1", home=tmp_path, **settings(server)).code == 0
        assert [line["id"] for line in results(tmp_path / "out.jsonl")] == list(range(count))

    def test_reservations_of_others_do_not_shorten_answers(self, tmp_path: Path) -> None:
        numbered(tmp_path / "in.jsonl", 24)
        with serving(lambda _received: [Pause(0.01), openai_answer()]) as server:
            ran = run(*GEN, "--batch", "in.jsonl", "--jobs", "12", "--budget", "0.5", home=tmp_path, **settings(server))
            limits = {json.loads(one.body)["max_completion_tokens"] for one in server.received}
        assert ran.code == 0
        assert limits == {32_000}

    def test_a_configured_budget_applies_to_a_batch(self, server: ModelServer, tmp_path: Path) -> None:
        numbered(tmp_path / "in.jsonl", 5)
        (tmp_path / "llmroute").mkdir()
        (tmp_path / "llmroute" / "config.toml").write_text("[budgets]\nday = 0.0\n")
        ran = run(*GEN, "--batch", "in.jsonl", home=tmp_path, **server.settings)
        assert (ran.code, ran.out, server.requests) == (5, "", [])

    @pytest.mark.parametrize("asked", [("-m", MODEL), ("-p", "openai")])
    def test_the_budget_of_a_line_applies_to_that_line_only(
        self, asked: tuple[str, ...], server: ModelServer, tmp_path: Path
    ) -> None:
        write(tmp_path / "in.jsonl", [{"prompt": "a", "budget": 1e-9, "no_fallback": True}, {"prompt": "b"}] * 2)
        ran = run("gen", *asked, "--batch", "in.jsonl", home=tmp_path, **server.settings)
        assert ran.code == 5, ran.err
        assert ["content" in one for one in parsed(ran.out)] == [False, True] * 2


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--batch", "gone.jsonl"), "gone.jsonl cannot be read"),
        (("--batch", "in.jsonl", "--resume"), "-o FILE"),
        (("--batch", "in.jsonl", "--lines", "--column", "x"), "--lines and --column"),
        (("--batch", "in.jsonl", "--template", "none"), "names no field"),
        (("--batch", "in.jsonl", "--column", "x"), "no column 'x'"),
        (("--batch", "in.jsonl", "--column", "x", "-o", "new.jsonl"), "no column 'x'"),
        (("--batch", "in.jsonl", "-o", "no/such/dir.jsonl"), "cannot be written"),
        (("--batch", "in.jsonl", "-o", "full.jsonl"), "--resume continues"),
        (("--batch", "in.jsonl", "--render"), "--render"),
        (("--batch", "in.jsonl", "a prompt"), "reads the prompts from its file"),
        (("--batch", "in.jsonl", "--jobs", "0"), "0"),
        (("--batch", "in.jsonl", "--budget", "-1"), "--budget: -1"),
        (("a prompt", "--jobs", "3"), "require --batch"),
        (("a prompt", "-o", "x"), "require --batch"),
    ],
)
def test_invalid_usage_is_one_line_and_exit_2_before_anything_is_sent(
    flags: tuple[str, ...], reason: str, server: ModelServer, tmp_path: Path
) -> None:
    numbered(tmp_path / "in.jsonl", 1)
    (tmp_path / "full.jsonl").write_text("{}\n")
    ran = run(*GEN, *flags, home=tmp_path, **server.settings)
    assert (ran.code, ran.out, server.requests) == (2, "", [])
    assert reason in ran.err
    assert ran.err.count("\n") == 1
    assert {entry.name for entry in tmp_path.iterdir()} <= {"in.jsonl", "full.jsonl", "llmroute"}


def test_paid_answers_go_to_stdout_when_the_results_file_cannot_be_written(server: ModelServer, tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 50)
    (tmp_path / "out.jsonl").symlink_to("/dev/full")
    ran = run(*GEN, "--batch", "in.jsonl", "-o", "out.jsonl", home=tmp_path, **server.settings)
    assert ran.code == 3
    assert "cannot be written (No space left on device)" in ran.err
    assert len(parsed(ran.out)) == len(server.requests) < 50


def test_the_batch_stops_and_reports_lost_answers_when_stdout_cannot_be_written(tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 60)
    with serving(lambda received: [Pause(0.1), *echo(received)]) as server:
        command = " ".join((*LLMROUTE, *GEN, "--batch", "in.jsonl"))
        ended = subprocess.run(
            ["bash", "-c", f"{command} >/dev/full"],
            env=environment(tmp_path, **settings(server)),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
    err = ended.stderr.decode()
    assert ended.returncode == 3
    assert "llmroute: stopped: stdout cannot be written: No space left on device\n" in err
    paid = [row["status"] for row in rows(tmp_path)]
    assert f"llmroute: paid answers that could not be written: {len(paid)} " in err
    assert "None" not in err
    assert set(paid) == {"ok"}
    assert len(paid) == len(server.received) < 60


@pytest.mark.parametrize(
    ("script", "lines", "code"),
    [
        ([openai_error(400, "invalid_value")], ['{"prompt": "a"}', '{"prompt": "b"}'], 2),
        (echo, ["not JSON", '{"nonsense": 1}'], 2),
        ([openai_error(400, "invalid_value")], ["not JSON", '{"prompt": "b"}'], 2),
        ([openai_error(401, "invalid_api_key")], ["not JSON", '{"prompt": "b"}'], 3),
        (echo, ["not JSON", '{"prompt": "b"}'], 2),
    ],
    ids=["400s", "bad lines", "both", "a refused key", "some answered"],
)
def test_a_batch_that_cannot_succeed_exits_with_the_code_of_its_requests(
    script: Any, lines: list[str], code: int, tmp_path: Path
) -> None:
    write(tmp_path / "in.jsonl", lines)
    with serving(script) as server:
        ran = run(*GEN, "--batch", "in.jsonl", home=tmp_path, **settings(server))
        assert ran.code == code, ran.err
        for number in range(1, 1 + sum("error" in one for one in parsed(ran.out))):
            assert f"llmroute: line {number}: " in ran.err
        assert run(*GEN, "--batch", "in.jsonl", "-o", "out.jsonl", home=tmp_path, **settings(server)).code == code


def test_the_exit_code_is_4_as_long_as_another_run_may_answer_more(tmp_path: Path) -> None:
    lines = [{"id": "a", "prompt": "a"}, "not JSON", {"id": "a", "prompt": "twice"}, {"id": "wrong", "prompt": "wrong"}]
    write(tmp_path / "in.jsonl", [*lines, {"id": "later", "prompt": "later"}])
    failing = {"wrong": openai_error(400, "invalid_value"), "later": openai_error(408)}

    def answer(received: Received) -> Script:
        error = failing.get(prompt_of(received))
        return echo(received) if error is None else [error]

    with serving(answer) as server:
        command = (*GEN, "--batch", "in.jsonl", "-o", "out.jsonl", "--resume")
        # One call of each: no more failures than a breaker bears.
        first = run(*command, "--max-attempts", "1", home=tmp_path, **settings(server))
        del failing["later"]
        later = [run(*command, home=tmp_path, **settings(server)).code for _ in range(2)]
    assert first.code == 4, first.err
    assert later == [2, 2]
    assert [one["id"] for one in results(tmp_path / "out.jsonl.failed")] == ["wrong"]


def test_a_closed_stdout_pipe_ends_the_batch_quietly_and_settles_it(tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 200)
    with serving(lambda received: [Pause(0.01), *echo(received)]) as server:
        command = " ".join((sys.executable, "-m", "llmroute", *GEN, "--batch", "in.jsonl", "-q"))
        ended = subprocess.run(
            ["bash", "-c", f"{command} | head -n 2; exit ${{PIPESTATUS[0]}}"],
            env=environment(tmp_path, **settings(server)),
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 128 + signal.SIGPIPE
        assert ended.stderr == b""
        assert ended.stdout.count(b"\n") == 2
        assert len(server.received) < 100
    assert "pending" not in {row["status"] for row in rows(tmp_path)}


def test_a_dry_run_forecasts_the_cost_and_sends_nothing(server: ModelServer, tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", [*({"prompt": f"say {number}"} for number in range(7)), "nonsense"])
    ran = run(*GEN, "--batch", "in.jsonl", "--dry-run", home=tmp_path, **server.settings)
    assert (ran.code, server.requests) == (0, [])
    (line,) = (line for line in ran.out.splitlines() if line.startswith(MODEL))
    assert line.split()[1] == "7"
    made = json.loads(run(*GEN, "--batch", "in.jsonl", "--dry-run", "--json", home=tmp_path, **server.settings).out)
    (share,) = made["models"]
    assert 0 < share["expected_cost_usd"] < share["worst_cost_usd"]
    assert [one["requests"] for one in made["excluded"]] == [1]
    assert not (tmp_path / "llmroute" / "ledger.db").exists()


def test_a_dry_run_with_resume_skips_answered_requests_and_compares_the_budget(
    server: ModelServer, tmp_path: Path
) -> None:
    numbered(tmp_path / "few.jsonl", 3)
    flags = (*GEN, "-o", "out.jsonl", "--resume")
    assert run(*flags, "--batch", "few.jsonl", home=tmp_path, **server.settings).code == 0
    before, asked = (tmp_path / "out.jsonl").read_bytes(), len(server.requests)
    write(tmp_path / "in.jsonl", [*({"id": f"r{number}", "prompt": "hi"} for number in range(7)), {"id": "r6"}])

    def planned(budget: str) -> tuple[dict[str, Any], str]:
        dry = (*flags, "--batch", "in.jsonl", "--dry-run", "--budget", budget)
        shown = run(*dry, home=tmp_path, **server.settings).out
        return json.loads(run(*dry, "--json", home=tmp_path, **server.settings).out), shown.splitlines()[-1]

    made, told = planned("1000")
    assert ([one["requests"] for one in made["models"]], made["answered_before"]) == ([4], 3)
    assert made["cost_before_usd"] == sum(one["cost_usd"] for one in results(tmp_path / "out.jsonl"))
    assert made["budget_left_usd"] == 1000 - made["cost_before_usd"]
    assert told.endswith("enough for the worst case")
    (share,) = made["models"]
    middling = made["cost_before_usd"] + (share["expected_cost_usd"] + share["worst_cost_usd"]) / 2
    assert planned(f"{middling:.9f}")[1].endswith("enough for the expected cost, not for the worst case")
    half = made["cost_before_usd"] + share["expected_cost_usd"] / 2
    assert planned(f"{half:.9f}")[1].endswith("enough for about 50% of the expected cost")
    assert (before, asked) == ((tmp_path / "out.jsonl").read_bytes(), len(server.requests))


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
@pytest.mark.parametrize("budget", ["-1", "nan", "1e7"])
def test_an_invalid_budget_is_rejected_before_anything_is_read(
    budget: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    numbered(tmp_path / "in.jsonl", 2)
    ran = run(*GEN, "--batch", "in.jsonl", "-o", "out.jsonl", f"--budget={budget}", *flags, home=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "budget" in ran.err
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_shows_a_progress_bar_that_is_removed_at_the_end(columns: int, tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 60)
    with serving(lambda received: [Pause(0.2), *echo(received)]) as server:
        seen = run_on_terminal(
            *GEN,
            *("--batch", "in.jsonl", "-o", "out.jsonl", "--budget", "5"),
            home=tmp_path,
            columns=columns,
            **settings(server),  # type: ignore[arg-type]
        )
    assert seen.code == 0
    plain = without_escapes(seen.text)
    drawn = [part for part in plain.split("\r") if " of 60" in part]
    assert drawn
    assert re.search(r"batch .*\b\d+ of 60 · .*\d/s · \$0\.\d+ of \$5\.00 · \d+:\d\d left", drawn[-1]), drawn[-1]
    assert all(len(line.rstrip()) <= columns for part in drawn for line in part.splitlines())
    last = plain.rpartition("\r")[2]
    assert last.startswith("llmroute: 60 answered"), "the bar is gone"


def test_meta_contains_the_figures_of_the_run(server: ModelServer, tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", [{"prompt": "a"}, "nonsense"])
    run(*GEN, "--batch", "in.jsonl", "--meta", "meta.json", home=tmp_path, **server.settings)
    figures = json.loads((tmp_path / "meta.json").read_text())
    assert (figures["answered"], figures["failed"], figures["bad_lines"], figures["stopped_by"]) == (1, 0, 1, None)
    assert figures["cost_usd"] > 0


def test_the_cost_of_a_batch_is_the_exact_sum_of_its_answers(tmp_path: Path) -> None:
    numbered(tmp_path / "in.jsonl", 13)
    with serving([openai_answer()]) as server:
        command = (*GEN, "--batch", "in.jsonl", "-o", "out.jsonl", "--resume", "--meta", "meta.json")
        assert run(*command, home=tmp_path, **settings(server)).code == 0
        figures = json.loads((tmp_path / "meta.json").read_text())
        costs = [round(one["cost_usd"] * 10**12) for one in results(tmp_path / "out.jsonl")]
        assert figures["cost_usd"] == sum(costs) / 10**12 != sum(cost / 10**12 for cost in costs)
        run(*command, home=tmp_path, **settings(server))
    assert json.loads((tmp_path / "meta.json").read_text())["cost_before_usd"] == sum(costs) / 10**12


def test_answers_truncated_without_max_tokens_are_reported(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", [{"prompt": "a"}, {"prompt": "b", "max_tokens": 5}])
    with ModelServer(finish_reason="length") as server:
        ran = run(*GEN, "--batch", "in.jsonl", home=tmp_path, **server.settings)
        assert ran.code == 6
        assert "2 answered, 1 truncated at the model's output limit" in ran.err
        bound = run(*GEN, "--batch", "in.jsonl", "--budget", "1", "--meta", "m", home=tmp_path, **server.settings)
    assert bound.code == 6
    assert "1 truncated at the limit that a budget set (a larger budget or --max-tokens allows more)" in bound.err
    assert json.loads((tmp_path / "m").read_text())["cut_short"] == 1


def test_a_dry_run_counts_with_the_price_of_the_cache_marks_that_the_run_will_have(tmp_path: Path) -> None:
    system = "All of it matters. " * 5_000

    def worst_usd_of_a_line(lines: int) -> float:
        file = numbered(tmp_path / f"{lines}.jsonl", lines)
        command = ("gen", "--batch", str(file), "--jobs", "1", "-m", "anthropic/claude-sonnet-5-5", "-s", system)
        ran = run(*command, "--max-tokens", "100", "--dry-run", "--json", home=tmp_path, ANTHROPIC_API_KEY="k")
        assert ran.code == 0, ran.err
        return float(json.loads(ran.out)["models"][0]["worst_cost_usd"]) / lines

    # A batch that takes longer than five minutes is marked for an hour: 2 in place of 1.25 times the input price.
    assert worst_usd_of_a_line(400) > 1.4 * worst_usd_of_a_line(2)
