"""The length of answers is learned from calls, and what calls are expected to cost and take follows it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from llmroute.errors import BadOutputError, DeadlineError
from llmroute.ledger import spool
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger.statistics.values import Observation
from llmroute.request.options import Options
from tests.ledger.calls import learn
from tests.support.fault_server import Pause, reply, serving
from tests.support.provider_servers import House

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute import LLMService
    from llmroute.routing.plan import Candidate
    from tests.support.fault_server import Script

MODEL = "openai/gpt-5.4-mini"


def answer(tokens: int, finish_reason: str = "stop", text: str = "Hi " * 300) -> Script:
    choice = {"index": 0, "message": {"content": text}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 9, "completion_tokens": tokens}
    return [reply(200, json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode())]


def expected(llm: LLMService, **options: object) -> Candidate:
    return llm.plan(Options(prompt="hi", model=MODEL, **options)).entries[0].candidate  # type: ignore[arg-type]


def test_after_three_answers_a_call_is_expected_to_be_about_as_long_and_dear(tmp_path: Path) -> None:
    with serving(answer(9_000)) as server:
        house = House(tmp_path, openai=server)
        with closing(house.service()) as llm:
            before = expected(llm)
            for _ in range(3):
                llm.generate_sync("hi", model=MODEL)
            after = expected(llm)
    assert (before.output.tokens, before.output.answers) == (600, 0)
    assert after.output.answers == 3
    assert after.output.tokens == pytest.approx(9_000, rel=0.35)
    assert before.expected_cost_picousd is not None
    assert after.expected_cost_picousd is not None
    assert after.expected_cost_picousd > 9 * before.expected_cost_picousd
    assert after.worst_cost_picousd == before.worst_cost_picousd


def test_no_more_is_expected_than_max_tokens(tmp_path: Path) -> None:
    with serving(answer(9_000)) as server, closing(House(tmp_path, openai=server).service()) as llm:
        llm.generate_sync("hi", model=MODEL)
        assert expected(llm, max_tokens=50).output.tokens == 50


def test_answers_that_were_cut_off_teach_no_length(tmp_path: Path) -> None:
    with serving(answer(20, "length")) as server, closing(House(tmp_path, openai=server).service()) as llm:
        for _ in range(6):
            llm.generate_sync("hi", model=MODEL, max_tokens=20)
        assert expected(llm).output.answers == 0


def test_answers_to_a_request_with_stop_sequences_teach_no_length(tmp_path: Path) -> None:
    with serving(answer(20)) as server, closing(House(tmp_path, openai=server).service()) as llm:
        llm.generate_sync("hi", model=MODEL, stop="END")
        assert expected(llm).output.answers == 0


def test_an_empty_answer_that_was_thought_about_teaches_its_length(tmp_path: Path) -> None:
    with serving(answer(4_000, text="")) as server, closing(House(tmp_path, openai=server).service()) as llm:
        with pytest.raises(BadOutputError):
            llm.generate_sync("hi", model=MODEL, enable_fallback=False)
        assert expected(llm).output.answers >= 1
        assert expected(llm).output.tokens > 1_000


def test_lengths_are_kept_apart_by_effort_and_narrowed_by_task(tmp_path: Path) -> None:
    with serving(answer(9_000)) as server, closing(House(tmp_path, openai=server).service()) as llm:
        llm.generate_sync("hi", model=MODEL, effort="high", task_type="analysis")
        assert expected(llm).output.answers == 0
        assert expected(llm, effort="high").output.answers == 1
        assert (
            expected(llm, effort="high", task_type="analysis").output.tokens
            > expected(llm, effort="high").output.tokens
        )
        other = expected(llm, effort="high", task_type="chat")
        assert other.output == expected(llm, effort="high").output


def test_an_answer_that_waited_in_the_spool_teaches_its_length(tmp_path: Path) -> None:
    with serving(answer(9_000)) as server:
        house = House(tmp_path, openai=server)
        (tmp_path / "config.toml").write_text("[timeouts]\nledger_s = 0.2\n")
        with closing(house.service()) as llm, closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
            expected(llm)
            other.execute("BEGIN EXCLUSIVE")
            llm.generate_sync("hi", model=MODEL)
        assert spool.waiting(tmp_path / "ledger.db")
        with closing(house.service()) as llm:
            llm.generate_sync("hi", model=MODEL)
            assert expected(llm).output.answers == 2


def test_lengths_are_learned_and_read_by_the_effort_that_the_model_runs_at(tmp_path: Path) -> None:
    with serving(answer(9_000)) as server, closing(House(tmp_path, openai=server).service()) as llm:
        llm.generate_sync("hi", model=MODEL)
        llm.generate_sync("hi", model=MODEL, effort="none")
        assert expected(llm).output.answers == expected(llm, effort="none").output.answers == 2
        assert expected(llm, effort="low").output.answers == 0


def test_calls_to_this_machine_teach_nothing_about_the_cloud(tmp_path: Path) -> None:
    with serving(answer(9)) as server:
        house = House(tmp_path, openai=server)
        with closing(house.service()) as llm:
            llm.generate_sync("hi", model=MODEL)
            before = {one.model.name: one.candidate.stats for one in llm.plan(Options(prompt="hi")).entries}
        with Ledger(tmp_path / "ledger.db") as ledger, ledger.connection.transaction() as db:
            for number in range(3):
                at_ms = 1_800_000_000_000 + number
                learn(
                    db,
                    [
                        Observation(
                            "builtin", "smollm2-135m", "", 0, at_ms, "", succeeded=True, ttft_s=0.01,
                            per_token_s=0.0001, output_tokens=7,
                        )
                    ],
                )  # fmt: skip
        with closing(house.service()) as llm:
            after = {one.model.name: one.candidate.stats for one in llm.plan(Options(prompt="hi")).entries}
    assert len(after) > 10
    for name in (name for name in after if not name.startswith("builtin/")):
        assert after[name].ttft_s == pytest.approx(before[name].ttft_s, rel=0.01), name
        assert after[name].s_per_token == pytest.approx(before[name].s_per_token, rel=0.01), name
        assert after[name].answers == pytest.approx(before[name].answers)
        assert after[name].success == pytest.approx(before[name].success)


def test_a_call_of_unknown_end_is_estimated_by_the_learned_length(tmp_path: Path) -> None:
    answers = [answer(9_000), [Pause(60)]]
    with serving(lambda _request: answers.pop(0)) as server:
        house = House(tmp_path, openai=server)
        with closing(house.service()) as llm:
            llm.generate_sync("hi", model=MODEL)
            tokens = expected(llm).output.tokens
            with pytest.raises(DeadlineError):
                llm.generate_sync("hi", model=MODEL, enable_fallback=False, timeout_s=3)
    last = house.rows("output_tokens, cost_basis, status")[-1]
    assert last == (tokens, "estimated", "failed")
