"""Schemas of lines in batch jobs: sent in native form, and their answers checked when they are collected."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, field_validator

from llmroute import LLMService, SchemaError
from tests.support.batch_vendor import MENDED, MODELS
from tests.support.shell import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.jobs.homes import Home

VALID, INVALID = 'say {"name": "Rex"}', 'say {"name": 5}'
SCHEMA = ("--schema", "name str")


def write(home: Home, lines: Sequence[dict[str, Any]]) -> None:
    (home.folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("vendor_name", MODELS)
def test_a_schema_is_sent_in_native_form_and_the_answer_is_its_document(home: Home, vendor_name: str) -> None:
    home.write([VALID], [MODELS[vendor_name]])
    ran = home.run(*SCHEMA)
    assert ran.code == 0, ran.err
    (result,) = home.results()
    assert (result["content"], result["parsed"]) == ('{"name":"Rex"}', {"name": "Rex"})
    form = home.vendor.formats[VALID]
    schema = form["format"]["schema"] if vendor_name == "anthropic" else form["json_schema"]["schema"]
    assert schema["properties"].keys() == {"name"}


def test_each_line_is_checked_by_its_own_schema(home: Home) -> None:
    person = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    number = {"type": "object", "properties": {"name": {"type": "integer"}}, "required": ["name"]}
    model = MODELS["openai"]
    write(
        home,
        [
            {"id": "a", "prompt": VALID, "model": model, "schema": person},
            {"id": "b", "prompt": f"{INVALID} ", "model": model, "schema": number},
            {"id": "c", "prompt": INVALID, "model": model, "schema": person},
            {"id": "d", "prompt": "plain", "model": model},
        ],
    )
    assert home.run().code == 6
    a, b, c, d = home.results()
    assert (a["parsed"], b["parsed"], d["content"]) == ({"name": "Rex"}, {"name": 5}, "answer\u2028plain")
    assert (c["error"]["type"], c["error"]["attempts"][0]["status"]) == ("schema", "rejected")


def test_an_invalid_answer_is_rejected_paid_and_listed_as_failed(home: Home) -> None:
    home.write([VALID, INVALID], [MODELS["openai"]])
    assert home.run(*SCHEMA).code == 6
    rejected = home.query("SELECT status, error, http_status, cost_picousd > 0 FROM attempts WHERE status <> 'ok'")
    assert rejected == [("rejected", "schema", 200, 1)]
    assert home.billed() == home.vendor.bill_picousd
    (failed,) = (home.folder / "out.jsonl.failed").read_text().splitlines()
    assert json.loads(failed)["prompt"] == INVALID
    assert home.query("SELECT state FROM job_lines ORDER BY n") == [("answered",), ("rejected",)]
    (job,) = json.loads(run("batches", "--json", home=home.folder, **home.settings).out)
    assert (job["done"], job["failed"]) == (1, 1)


def test_an_invalid_answer_is_rescued_by_an_ordinary_call_and_its_repair(home: Home) -> None:
    home.write([VALID, INVALID], [MODELS["openai"]])
    ran = home.run(*SCHEMA, "--rescue")
    assert ran.code == 0, ran.err
    valid, rescued = home.results()
    assert [valid["tier"], rescued["tier"]] == ["batch", "standard"]
    assert rescued["content"] == MENDED
    assert len(home.vendor.ordinary) == 2
    # What the rejected answer cost is in the results, so that a budget counts it when they are resumed.
    (rejected_picousd,) = home.query(
        "SELECT cost_picousd FROM attempts WHERE service_tier = 'batch' AND status <> 'ok'"
    )[0]
    assert rescued["cost_before_usd"] == pytest.approx(rejected_picousd / 1e12)


def test_a_paid_failure_that_was_written_before_a_kill_is_counted_once(home: Home) -> None:
    home.write([INVALID, VALID], [MODELS["openai"]])
    assert home.run(*SCHEMA, "--no-wait").code == 0
    # The run ends between both writes, as by a kill.
    delivery = "BEFORE UPDATE OF delivered_ms ON jobs WHEN NEW.delivered_ms IS NOT NULL"
    home.change(f"CREATE TRIGGER killed {delivery} BEGIN SELECT RAISE(ABORT, 'killed'); END")
    assert home.run(*SCHEMA, "--resume").code != 0
    home.change("DROP TRIGGER killed")
    written = sorted(home.results(), key=lambda result: result["id"])
    paid_usd = home.vendor.bill_picousd / 1e12
    ran = home.run(*SCHEMA, "--resume", "--budget", str(paid_usd), "--meta", "meta.json")
    assert (ran.code, home.results()) == (6, written)
    meta = json.loads((home.folder / "meta.json").read_text())
    assert (meta["cost_before_usd"], meta["cost_usd"]) == (pytest.approx(paid_usd), 0)


def test_answers_that_are_cut_at_another_limit_than_the_callers_are_reported(home: Home) -> None:
    model = MODELS["openai"]
    write(home, [{"prompt": "say a…", "model": model}, {"prompt": "say b…", "model": model, "max_tokens": 9}])
    command = ("gen", "--batch", "in.jsonl", "-o", "out.jsonl", "--tier", "batch", "--poll", "0.01", "--budget", "5")
    ran = run(*command, home=home.folder, **home.settings)
    assert (ran.code, len(home.results())) == (6, 2)
    assert "2 answered, 1 truncated" in ran.err


def test_an_answer_that_was_cut_at_the_limit_of_its_line_is_not_paid_for_again_by_a_rescue(home: Home) -> None:
    home.write([VALID, 'say {"name": "Re…'], [MODELS["openai"]])
    ran = home.run(*SCHEMA, "--rescue", "--max-tokens", "9")
    assert (ran.code, home.vendor.ordinary) == (6, [])
    _, cut = home.results()
    assert (cut["error"]["type"], cut["error"]["hint"]) == ("schema", "allow more with --max-tokens")
    assert json.loads((home.folder / "out.jsonl.failed").read_text())["id"] == "r1"
    assert home.run(*SCHEMA, "--rescue", "--max-tokens", "9", "--resume").code == 6
    assert home.vendor.ordinary == [], "nor when the run is resumed"


def test_a_run_that_is_resumed_checks_answers_by_the_schemas_it_was_started_with(home: Home) -> None:
    (home.folder / "person.json").write_text('{"type": "object", "required": ["name"], "properties": {"name": true}}')
    model = MODELS["anthropic"]
    write(home, [{"prompt": prompt, "model": model, "schema": "person.json"} for prompt in (VALID, 'say {"a": 1}')])
    assert home.run("--no-wait").code == 0
    (home.folder / "person.json").write_text("{}")
    assert home.run("--resume").code == 6
    valid, invalid = home.results()
    assert valid["parsed"] == {"name": "Rex"}
    assert "'name' is a required property" in invalid["error"]["message"]
    assert not [*(home.folder / "ledger.db.jobs").iterdir()]


def test_the_schemas_of_lines_are_in_the_ledger_until_their_job_is_collected(home: Home) -> None:
    home.vendor.stalls = True
    model, other = MODELS["openai"], {"type": "object", "required": ["age"], "properties": {"age": {}}}
    lines: list[dict[str, Any]] = [
        {"prompt": VALID},
        {"prompt": VALID, "schema": other},
        {"prompt": VALID, "schema": other},
        {"prompt": "x"},
    ]
    write(home, [{**line, "model": model} for line in lines])
    assert home.run("--no-wait").code == 0
    assert home.query("SELECT n, document IS NULL FROM job_schemas ORDER BY n") == [(1, 0), (3, 1)]
    for path in (home.folder / "ledger.db.jobs").iterdir():
        path.unlink()
    home.vendor.stalls = False
    assert home.run("--resume").code == 6
    assert ["error" in result for result in home.results()] == [False, True, True, False]
    assert home.query("SELECT count(*) FROM job_schemas") == [(0,)]


def test_the_schemas_of_a_job_of_an_older_version_are_read_from_their_file(home: Home) -> None:
    home.vendor.stalls = True
    home.write([VALID, VALID], [MODELS["openai"]])
    assert home.run("--no-wait").code == 0
    (job,) = json.loads(run("batches", "--json", home=home.folder, **home.settings).out)
    records = [{"from": 0, "schema": {"type": "object", "required": ["age"]}, "class": "a.B"}, {"from": 1}]
    written = "".join(json.dumps(record) + "\n" for record in records)
    (home.folder / "ledger.db.jobs" / f"{job['job']}.schemas").write_text(written)
    home.vendor.stalls = False
    assert home.run("--resume").code == 6
    assert ["error" in result for result in home.results()] == [True, False]


def test_a_cancelled_job_settles_invalid_answers_as_rejected(home: Home) -> None:
    home.vendor.stalls, home.vendor.runs_at_most = True, 2
    home.write([INVALID, VALID, "say {}"], [MODELS["openai"]])
    assert home.run(*SCHEMA, "--no-wait").code == 0
    (job,) = json.loads(run("batches", "--json", home=home.folder, **home.settings).out)
    assert run("batches", "cancel", job["job"], "--yes", home=home.folder, **home.settings).code == 0
    assert home.query("SELECT state FROM job_lines ORDER BY n") == [("rejected",), ("answered",), ("unanswered",)]
    assert home.run(*SCHEMA, "--resume").code == 4
    assert [("parsed" in result) for result in home.results()] == [False, True, False]


def test_a_schema_with_other_fields_is_another_option_for_resume(home: Home) -> None:
    home.write([VALID], [MODELS["openai"]])
    assert home.run(*SCHEMA, "--no-wait").code == 0
    ran = home.run("--schema", "name, age int", "--resume")
    assert (ran.code, "the options are not those" in ran.err) == (2, True)


def test_a_check_is_rejected_before_anything_is_sent(home: Home) -> None:
    home.write([VALID])
    ran = home.run("--check", "true")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert "--tier batch takes no --check" in ran.err
    assert not home.vendor.requests


class Dog(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def of_a_dog(cls, value: str) -> str:
        if value == "Tom":
            raise ValueError("Tom is a cat")
        return value


def test_in_the_library_answers_are_instances_of_the_class_and_its_validators_count(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in home.settings.items():
        monkeypatch.setenv(name, value)
    prompts = [VALID, 'say {"name": "Tom"}']
    requests = [{"prompt": prompt, "model": MODELS["mistral"], "max_tokens": 50, "schema": Dog} for prompt in prompts]

    async def answers(*, rescue: bool) -> list[Any]:
        async with LLMService() as service:
            return [each async for each in service.generate_batch(requests, poll_s=0.01, rescue=rescue)]

    valid, invalid = asyncio.run(answers(rescue=False))
    assert valid.response.parsed == Dog(name="Rex")
    assert isinstance(invalid.error, SchemaError)
    assert "Tom is a cat" in str(invalid.error)
    valid, rescued = asyncio.run(answers(rescue=True))
    assert rescued.response.parsed == Dog(name="mended")
    assert [attempt.status for attempt in rescued.response.attempts] == ["rejected", "rejected", "ok"]
