"""Budgets as a shell meets them: nothing is sent that does not fit."""

from __future__ import annotations

import json
import random
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from llmroute.text.money import money
from tests.docs.pages import read
from tests.support.shell import rows, run, start
from tests.support.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.model_server import ModelServer

MODEL = "openai/gpt-5.4-mini"


def configure(home: Path, text: str) -> None:
    (home / "llmroute").mkdir(exist_ok=True)
    (home / "llmroute" / "config.toml").write_text(text)


def test_the_answer_is_bounded_so_that_its_worst_case_fits(server: ModelServer, tmp_path: Path) -> None:
    ran = run("gen", "hi", "-m", MODEL, "--budget", "0.001", home=tmp_path, **server.settings)
    assert (ran.code, ran.err) == (0, "")
    (sent,) = server.requests
    (row,) = rows(tmp_path)
    price = json.loads(row["price"])
    bound = sent["max_completion_tokens"]
    assert row["reserved_picousd"] <= 10**9 < row["reserved_picousd"] + price["output"]
    assert bound * price["output"] < row["reserved_picousd"]


def test_a_limit_the_user_has_said_is_kept_and_does_not_fit(server: ModelServer, tmp_path: Path) -> None:
    flags = ("--max-tokens", "5000", "--budget", "0.001", "--on-budget", "refuse")
    ran = run("gen", "hi", "-m", MODEL, *flags, home=tmp_path, **server.settings)
    assert (ran.code, ran.out, server.requests) == (5, "", [])
    assert MODEL in ran.err


def test_a_dear_model_gives_way_to_a_cheaper_one_or_is_refused_as_asked(server: ModelServer, tmp_path: Path) -> None:
    asked = ("gen", "hi", "-m", MODEL, "--budget", "0.0001")
    ran = run(*asked, home=tmp_path, **server.settings)
    assert (ran.code, ran.out) == (0, "one two three\n")
    assert f"{MODEL}: it could cost" in ran.err
    assert [(row["attempt"], row["status"]) for row in rows(tmp_path)] == [(1, "ok")]
    refused = run(*asked, "--on-budget", "refuse", "--json", home=tmp_path, **server.settings)
    assert refused.code == 5
    assert json.loads(refused.out)["error"]["type"] == "budget"
    assert len(server.requests) == 1


def test_a_dry_run_leaves_out_what_the_budget_of_the_request_does_not_admit(
    server: ModelServer, tmp_path: Path
) -> None:
    asked = ("gen", "hi", "-m", MODEL, "--budget", "0.0001", "--json")
    planned = json.loads(run(*asked, "--dry-run", home=tmp_path, **server.settings).out)
    assert [one["reason"] for one in planned["excluded"] if one["model"] == "gpt-5.4-mini"] == [
        "could cost up to $0.000555"
    ]
    assert not server.requests
    called = json.loads(run(*asked, home=tmp_path, **server.settings).out)
    assert planned["candidates"][0]["model"] == called["model"]
    for flags in (("--no-fallback",), ("--on-budget", "refuse")):
        refused = [run(*asked, *flags, *dry, home=tmp_path, **server.settings) for dry in (("--dry-run",), ())]
        errors = [json.loads(one.out)["error"] for one in refused]
        assert [one.code for one in refused] == [5, 5]
        assert errors[0]["message"] == errors[1]["message"]


@pytest.mark.parametrize(("workspace", "is_told"), [(None, False), ("other", False), ("team", True)])
def test_a_dry_run_says_which_cap_does_not_admit_the_first_model(
    workspace: str | None, is_told: bool, server: ModelServer, tmp_path: Path
) -> None:
    configure(tmp_path, "[budgets]\nmonth = 1\n[budgets.workspaces.team]\nday = 0.0001\n")
    own = () if workspace is None else ("--workspace", workspace)
    asked = ("gen", "hi", "-m", MODEL, "--no-fallback", *own)
    planned = run(*asked, "--dry-run", home=tmp_path, **server.settings)
    called = run(*asked, home=tmp_path, **server.settings)
    assert (planned.code, called.code) == (0, 5 if is_told else 0)
    assert bool(planned.err) is is_told
    assert planned.err.rstrip() in called.err
    assert not run(*asked, "--dry-run", "-q", home=tmp_path, **server.settings).err


def test_a_dry_run_needs_no_ledger_that_can_be_read(server: ModelServer, tmp_path: Path) -> None:
    configure(tmp_path, "[budgets]\nmonth = 1\n")
    (tmp_path / "llmroute" / "ledger.db").write_bytes(b"damaged " * 1_000)
    ran = run("gen", "hi", "-m", MODEL, "--dry-run", "--json", home=tmp_path, **server.settings)
    assert (ran.code, json.loads(ran.out)["candidates"][0]["model"]) == (0, "gpt-5.4-mini")
    assert ran.err.startswith("llmroute: the budgets were not compared with the plan: the ledger ")


def test_nothing_that_fits_is_exit_5_and_the_nearest_miss(server: ModelServer, tmp_path: Path) -> None:
    ran = run("gen", "hi " * 40_000, "-p", "openai", "--budget", "0.0000001", home=tmp_path, **server.settings)
    assert (ran.code, ran.out, server.requests) == (5, "", [])
    assert "the nearest is" in ran.err
    assert "--budget" in ran.err


def test_a_refusal_names_the_cheapest_model_there_is_however_the_first_was_named(
    server: ModelServer, tmp_path: Path
) -> None:
    asked = ("gen", "hi", "-m", MODEL, "--budget", "0.00001", "--json")
    hints = {}
    for flags in ((), ("--on-budget", "refuse"), ("--no-fallback",)):
        ran = run(*asked, *flags, home=tmp_path, **server.settings)
        assert (ran.code, server.requests) == (5, [])
        hints[flags] = json.loads(ran.out)["error"]["hint"]
    assert hints[()] == hints["--on-budget", "refuse"]
    assert MODEL not in hints[()]
    assert MODEL in hints[("--no-fallback",)]
    enough = hints[()].rpartition("$")[2]
    assert run("gen", "hi", "-m", MODEL, "--budget", enough, "-q", home=tmp_path, **server.settings).code == 0
    assert server.requests[0]["model"] in hints[()]


def test_a_price_that_is_unknown_is_not_paid_under_a_budget(server: ModelServer, tmp_path: Path) -> None:
    asked = ("gen", "hi", "-m", "openai/brand-new", "--no-fallback")
    assert run(*asked, home=tmp_path, **server.settings).code == 0
    ran = run(*asked, "--budget", "5", home=tmp_path, **server.settings)
    assert (ran.code, len(server.requests)) == (5, 1)
    assert "price is unknown" in ran.err


def test_caps_in_the_config_hold_for_a_crowd(server: ModelServer, tmp_path: Path) -> None:
    server.may_answer.clear()
    cap = 0.0006
    configure(tmp_path, f"[budgets]\nmonth = {cap}\n")
    asked = ("gen", "hi", "-m", MODEL, "--max-tokens", "20", "--on-budget", "refuse")
    with ThreadPoolExecutor(8) as pool:
        crowd = [pool.submit(run, *asked, home=tmp_path, **server.settings) for _ in range(8)]
        # The admitted requests are answered when the others are refused.
        wait_until(lambda: len(server.requests) + sum(one.done() for one in crowd) == len(crowd))
        server.may_answer.set()
    codes = [one.result().code for one in crowd]
    assert set(codes) == {0, 5}
    assert len(server.requests) == codes.count(0)
    assert sum(row["cost_picousd"] for row in rows(tmp_path)) <= cap * 10**12
    budget = json.loads(run("costs", "budget", "--json", home=tmp_path).out)["budgets"]
    assert [(one["period"], one["workspace"], one["reserved_usd"]) for one in budget] == [("month", None, 0)]
    assert budget[0]["spent_usd"] == pytest.approx(sum(row["cost_usd"] for row in rows(tmp_path)))
    assert run("costs", "check", home=tmp_path).code == 0


def test_a_cap_binds_its_workspace_only_and_says_when_it_starts_anew(server: ModelServer, tmp_path: Path) -> None:
    configure(tmp_path, "[budgets.workspaces.w]\nday = 0\n")
    asked = ("gen", "hi", "-m", MODEL, "--no-fallback")
    assert run(*asked, home=tmp_path, **server.settings).code == 0
    ran = run(*asked, "--workspace", "w", home=tmp_path, **server.settings)
    assert ran.code == 5
    assert "workspace w of $0.00 a day" in ran.err
    assert "resets on" in ran.err


def test_budgets_are_set_shown_and_lifted(tmp_path: Path) -> None:
    configure(tmp_path, '# mine\nstrategy = "balanced" # as ever\n')
    assert run("costs", "budget", "set", "--month", "20", "--workspace", "w", home=tmp_path).code == 0
    assert run("costs", "budget", "set", "--day", "0.5", home=tmp_path).code == 0
    text = (tmp_path / "llmroute" / "config.toml").read_text()
    assert text.startswith('# mine\nstrategy = "balanced" # as ever\n')
    shown = run("costs", "budget", home=tmp_path).out
    assert [line.split()[:3] for line in shown.splitlines()[1:]] == [
        ["all", "day", "$0.5000"],
        ["w", "month", "$20.00"],
    ]
    assert run("costs", "budget", "set", "--day", "none", home=tmp_path).code == 0
    assert len(json.loads(run("costs", "budget", "--json", home=tmp_path).out)["budgets"]) == 1
    for wrong in ("-1", "x", "nan", "inf"):
        ran = run("costs", "budget", "set", "--day", wrong, home=tmp_path)
        assert (ran.code, len(ran.err.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("workspace", "problem"),
    [
        ("w" * 257, "has 257 characters; the longest label has 256"),
        ("ab\udcff", "is 'ab\\udcff', which is not valid text"),
    ],
    ids=["long", "not_text"],
)
def test_a_cap_of_a_workspace_that_no_call_can_have_is_invalid(workspace: str, problem: str, tmp_path: Path) -> None:
    ran = run("costs", "budget", "set", "--day", "1", "--workspace", workspace, home=tmp_path)
    assert (ran.code, ran.err) == (2, f"llmroute: the name of the workspace {problem}\n")
    assert not (tmp_path / "llmroute" / "config.toml").exists()


def test_a_cap_that_was_passed_reads_alike_in_text_and_json(server: ModelServer, tmp_path: Path) -> None:
    asked = ("gen", "hi", "-m", MODEL, "--no-fallback")
    assert run(*asked, home=tmp_path, **server.settings).code == 0
    configure(tmp_path, "[budgets]\nmonth = 0.000001\ntotal = 1\n")
    one = json.loads(run("costs", "budget", "--json", home=tmp_path).out)["budgets"]
    spent_usd = one[0]["spent_usd"]
    assert spent_usd > 0.000001
    assert (one[0]["left_usd"], one[0]["over_usd"]) == (0, pytest.approx(spent_usd - 0.000001))
    shape = re.search(r'`costs budget --json` prints `\{"budgets": \[\{(.*?)\}\]\}`', read("json-and-exit-codes.md"))
    assert shape is not None
    assert re.findall(r'"(\w+)"', shape[1]) == list(one[0]), "what is printed is documented"
    assert (one[1]["left_usd"], one[1]["over_usd"]) == (pytest.approx(1 - spent_usd), 0)
    passed, kept = run("costs", "budget", home=tmp_path).out.splitlines()[1:]
    assert f"$0.00 (over by {money(one[0]['over_usd'])})" in passed
    assert "over" not in kept


def test_most_of_a_cap_is_warned_of_once_and_shown_by_health(server: ModelServer, tmp_path: Path) -> None:
    asked = ("gen", "hi", "-m", MODEL, "--max-tokens", "20")
    assert run(*asked, home=tmp_path, **server.settings).err == ""
    (first,) = rows(tmp_path)
    configure(tmp_path, f"[budgets]\nwarn_at = 0.015\nmonth = {first['cost_usd'] * 100}\n")
    assert "warning" not in run("health", home=tmp_path).out
    ran = run(*asked, home=tmp_path, **server.settings)
    assert (ran.code, len(ran.err.splitlines())) == (0, 1)
    assert re.match(r"(llmroute: )?warning: 2% of a budget is spent: the budget of \$\d.*resets on", ran.err), ran.err
    assert run(*asked, home=tmp_path, **server.settings).err == ""
    assert "warning: 3% of a budget is spent" in " ".join(run("health", home=tmp_path).out.split())
    told = json.loads(run("health", "--json", home=tmp_path).out)["budgets"]
    assert told == json.loads(run("costs", "budget", "--json", home=tmp_path).out)["budgets"]
    assert [one["warning"] for one in told] == [True]


def test_a_process_that_is_killed_has_its_call_lost_at_its_worst(server: ModelServer, tmp_path: Path) -> None:
    server.pause_s = 30
    process = start("gen", "hi", "-m", MODEL, "--budget", "0.01", home=tmp_path, **server.settings)
    wait_until(lambda: server.requests)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    (row,) = rows(tmp_path)
    assert (row["status"], row["cost_picousd"]) == ("pending", None)
    assert run("costs", home=tmp_path).code == 0
    (row,) = rows(tmp_path)
    assert (row["status"], row["cost_picousd"]) == ("lost", row["reserved_picousd"])
    assert 9 * 10**9 < row["reserved_picousd"] <= 10**10


def test_kills_at_random_instants_break_no_cap_and_lose_no_answer(server: ModelServer, tmp_path: Path) -> None:
    server.pause_s = 0.05
    cap = 0.002
    configure(tmp_path, f"[budgets]\ntotal = {cap}\n")
    chance = random.Random(7)
    command = ("gen", "hi", "-m", MODEL, "--max-tokens", "20", "--no-fallback")
    # However busy the machine: one call that ends before any is killed.
    answers = int(run(*command, home=tmp_path, **server.settings).out == "one two three\n")
    for _ in range(6):
        before = len(server.requests)
        crowd = [start(*command, home=tmp_path, **server.settings) for _ in range(4)]
        # A crowd that the cap keeps out sends nothing, and ends by itself.
        while len(server.requests) == before and any(process.poll() is None for process in crowd):
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        for process in crowd:
            process.kill()
        answers += sum(process.communicate(timeout=PATIENCE_S)[0] == b"one two three\n" for process in crowd)
    check = run("costs", "check", "--json", home=tmp_path)
    assert (check.code, json.loads(check.out)["faults"]) == (0, [])
    assert run("costs", home=tmp_path).code == 0
    found = rows(tmp_path)
    assert {row["status"] for row in found} == {"ok", "lost"}
    assert len(found) >= max(answers, len(server.requests))
    assert sum(row["cost_picousd"] for row in found) <= cap * 10**12


def test_an_answer_cut_by_the_budget_says_so(server: ModelServer, tmp_path: Path) -> None:
    server.finish_reason = "length"
    ran = run("gen", "hi", "-m", MODEL, "--budget", "0.001", "--no-fallback", home=tmp_path, **server.settings)
    assert (ran.code, ran.out) == (6, "one two three\n")
    limit = server.requests[0]["max_completion_tokens"]
    assert f"{MODEL}: the budget limited the answer to {limit} tokens (allow more with a larger --budget)" in ran.err
    assert ran.err.count("\n") == 1, "it is not the limit of the model"


def test_an_answer_cut_by_a_cap_or_at_the_most_that_any_budget_allows_says_how_to_allow_more(
    server: ModelServer, tmp_path: Path
) -> None:
    server.finish_reason = "length"
    command = ("hi", "-m", MODEL, "--no-fallback", "-q")
    for cap, remedy in (("0.001", "a larger budget allows more"), ("9", "allow more with --max-tokens")):
        run("costs", "budget", "set", "--month", cap, home=tmp_path)
        for name in ("gen", "stream"):
            ran = run(name, *command, home=tmp_path, **server.settings)
            assert (ran.code, ran.err.count("\n")) == (6, 1), ran.err
            assert f"tokens ({remedy})" in ran.err
    own = run("gen", *command[:-1], "--max-tokens", "9", home=tmp_path, **server.settings)
    assert (own.code, own.err) == (0, "llmroute: the answer was truncated at --max-tokens 9\n")


def test_a_document_cut_by_the_budget_says_so_and_is_asked_of_cheaper_models_only(
    server: ModelServer, tmp_path: Path
) -> None:
    server.finish_reason = "length"
    run("costs", "budget", "set", "--month", "0.01", home=tmp_path)
    others = ("--fallback", "openai/gpt-5.4", "--fallback", "openai/gpt-5.4-nano")
    ran = run("gen", "hi", "-m", MODEL, *others, "--schema", "a int", "--json", home=tmp_path, **server.settings)
    assert ran.code == 6
    assert [request["model"] for request in server.requests] == ["gpt-5.4-mini", "gpt-5.4-nano"]
    error = json.loads(ran.out)["error"]
    limit = server.requests[-1]["max_completion_tokens"]
    assert f"it ended at {limit} tokens, to which the budget limited it" in error["message"]
    assert error["hint"] == "a larger budget allows more"
