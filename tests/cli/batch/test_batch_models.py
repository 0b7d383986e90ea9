"""Which models answer a batch under a budget, and how its summary reports them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.provider_servers import KEY
from tests.support.shell import rows, run
from tests.support.wire_formats import answer, town

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fault_server import Script

LINES = "".join(f"line {number}\n" for number in range(20))
DEAR, CHEAP = "anthropic/claude-opus-5", "openai/gpt-6-luna"


def behave(who: str, asked: dict[str, Any]) -> Script:
    return answer(who, f"of {who}", streaming=bool(asked.get("stream")))


def test_a_batch_with_a_model_stays_with_it_and_stops_when_the_budget_is_spent(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text(LINES)
    with town(behave) as here:
        home = {f"{name.upper()}_BASE_URL": url for name, url in here.urls.items()}
        home |= {"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": KEY}
        # Each costs $0.0002 and could cost ten times as much.
        batch = ("gen", "--batch", "in.txt", "--lines", "--max-tokens", "20", "--budget", "0.004", "--jobs", "2")
        ran = run(*batch, "-m", DEAR, "--meta", "meta.json", home=tmp_path, **home)
        assert ran.code == 5
        answered = len(ran.out.splitlines())
        assert 0 < answered < 20
        assert {row["model"] for row in rows(tmp_path)} == {"claude-opus-5"}
        assert f"; by {DEAR} ({answered})" in ran.err
        assert json.loads((tmp_path / "meta.json").read_text())["models"] == {DEAR: answered}
        cheaper = run(*batch, "-m", DEAR, "--on-budget", "cheaper", home=tmp_path, **home)
        assert cheaper.code == 0
        assert ran.code == 5
        assert "by openai/" in cheaper.err or ", openai/" in cheaper.err
        listed = run(*batch, "-m", DEAR, "--fallback", CHEAP, home=tmp_path, **home)
        assert listed.code == 0
        assert f"{CHEAP} (" in listed.err


def test_the_summary_of_a_batch_says_which_models_answered(tmp_path: Path) -> None:
    mixed = [{"prompt": "a", "model": CHEAP}, {"prompt": "b", "model": DEAR}, {"prompt": "c", "model": CHEAP}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in mixed))
    with town(behave) as here:
        home = {f"{name.upper()}_BASE_URL": url for name, url in here.urls.items()}
        home |= {"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": KEY}
        ran = run("gen", "--batch", "in.jsonl", home=tmp_path, **home)
    assert ran.code == 0
    assert ran.err.rstrip().endswith(f"; by {CHEAP} (2), {DEAR} (1)")
