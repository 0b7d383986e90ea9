"""What `costs` shows on a terminal is what the kept screens show.

`python -m tests.cli.output.test_costs_screens` keeps them anew.
"""

from __future__ import annotations

import re
import sys
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from rich.cells import cell_len

from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.periods import milliseconds
from llmroute.ledger.sqlite.store import Ledger
from tests.support.pseudo_terminal import run_on_terminal

KEPT = Path(__file__).with_name("screens")
ZONE = "Europe/Berlin"
# The command at a fixed moment: what is asked, and what --color says.
AT_A_MOMENT = f"""
import sys
from datetime import datetime
from zoneinfo import ZoneInfo
from llmroute.cli.commands.costs import show
from llmroute.service.costs.report import CostQuery
from llmroute.planning.settings import load
asked = dict(word.split("=") for word in sys.argv[1:])
color = asked.pop("color", "auto")
show(load(), CostQuery(**asked), color=color, now=datetime(2026, 11, 4, 12, 20, tzinfo=ZoneInfo({ZONE!r})))
"""
CONFIG = """
[budgets]
month = 1
total = 40
[budgets.workspaces.nightly]
day = 0.05
[models."openai/gpt-of-the-house"]
quality = 100
input = 10
output = 40
[models."anthropic/claude-of-the-house"]
quality = 100
input = 2
output = 9
"""
MODELS = (
    ("openai", "gpt-4o", 3_000_000),
    ("together", "meta-llama/a-model-with-a-name-that-leaves-no-room-for-its-facts-123B", 1_000_000),
    ("anthropic", "claude-x", None),
)
WIDE_MODELS = (
    ("openai", "通義千問-大型語言模型", 3_000_000),
    ("together", "모델/이름이-아주-길어서-같은-줄에-숫자를-쓸-자리가-없는-모델-🚀-123B", 1_000_000),
    ("anthropic", "claude-❤️-x", None),
)


class Screen(NamedTuple):
    """A kept screen: its name, its size, what is asked and in which environment."""

    name: str
    columns: int
    lines: int
    asked: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    calls: int = 59
    wide: bool = False


SCREENS = (
    Screen("month", 80, 24),
    Screen("month", 200, 50),
    Screen("week-by-day", 80, 24, ("period=week", "by=day")),
    Screen("all-by-workspace", 200, 50, ("period=all", "by=workspace")),
    Screen("span-of-a-workspace", 80, 24, ("since=36h", "workspace=nightly")),
    Screen("default-provider", 80, 24, ("period=day",), (("LLM_DEFAULT_PROVIDER", "openai"),)),
    Screen("no-color", 80, 24, (), (("NO_COLOR", "1"),)),
    Screen("unknown-costs", 80, 24, (), (), calls=-4),
    Screen("nothing", 80, 24, (), (), calls=0),
    Screen("wide-names", 80, 24, ("period=year", "by=workspace"), (), calls=40, wide=True),
    Screen("wide-models", 80, 24, ("period=year",), (), calls=40, wide=True),
)


def fill(home: Path, calls: int, *, wide: bool) -> None:
    """Write a small ledger; a negative count is of calls of unknown cost."""
    names, nightly = (WIDE_MODELS, "夜間バッチ処理") if wide else (MODELS, "nightly")
    folder = home / "llmroute"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG.replace("nightly", f'"{nightly}"'))
    first = milliseconds(datetime(2026, 9, 29, 8, tzinfo=ZoneInfo(ZONE)))
    with Ledger(folder / "ledger.db") as ledger:
        for number in range(abs(calls)):
            provider, model, rate = names[0 if number % 2 else number % 3] if calls > 0 else names[2]
            tokens = 1_000 + 37 * number
            at_ms = first + number * 14 * 3_600_000 + number * number * 60_000
            if calls < 0:
                at_ms = milliseconds(datetime(2026, 11, 3, 9, number, tzinfo=ZoneInfo(ZONE)))
            ledger.settle(
                AttemptRow(
                    request_id=f"r{number // 2}",
                    attempt=number % 2 + 1,
                    started_ms=at_ms,
                    provider=provider,
                    model=model,
                    streaming=False,
                    status="ok" if number % 7 else "failed",
                    workspace=nightly if number % 5 == 0 else "🦊 naïve" if wide and number % 3 == 0 else None,
                    input_tokens=tokens,
                    cached_input_tokens=tokens // 4,
                    output_tokens=tokens // 3,
                    cost_picousd=None if rate is None else tokens * rate * 4,
                    latency_ms=1_200 + number,
                )
            )


def taken(screen: Screen, home: Path) -> str:
    """Run the command on a terminal of that size; escapes are told as `cat -v` tells them."""
    fill(home, screen.calls, wide=screen.wide)
    seen = run_on_terminal(
        *screen.asked,
        home=home,
        columns=screen.columns,
        lines=screen.lines,
        command=(sys.executable, "-c", AT_A_MOMENT),
        **{"TZ": ZONE, **dict(screen.settings)},
    )
    assert seen.code == 0, seen.text
    return seen.text.replace("\x1b", "^[")


def kept(screen: Screen) -> Path:
    return KEPT / f"{screen.name}-{screen.columns}x{screen.lines}.txt"


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: f"{screen.name}-{screen.columns}")
def test_a_terminal_shows_the_kept_screen(screen: Screen, tmp_path: Path) -> None:
    shown = taken(screen, tmp_path)
    assert shown == kept(screen).read_text(encoding="utf-8")
    # A name is never cut: what is longer than the line has one of its own.
    names = {f"{provider}/{model}" for provider, model, _ in MODELS + WIDE_MODELS}
    lines = [re.sub(r"\^\[\[[0-9;]*m", "", line) for line in shown.splitlines()]
    assert [line for line in lines if cell_len(line) > screen.columns and line not in names] == []


@pytest.mark.parametrize("told", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"asked": "color=never"}])
def test_no_colour_and_no_bar_where_they_are_not_wanted(told: dict[str, str], tmp_path: Path) -> None:
    settings = tuple((name, value) for name, value in told.items() if name != "asked")
    asked = (told["asked"],) if "asked" in told else ()
    shown = taken(Screen("", 80, 24, asked, settings), tmp_path)
    assert "^[" not in shown
    assert "█" not in shown
    assert shown == kept(Screen("no-color", 80, 24)).read_text(encoding="utf-8")


def test_an_empty_no_color_says_nothing(tmp_path: Path) -> None:
    shown = taken(Screen("", 80, 24, (), (("NO_COLOR", ""),)), tmp_path)
    assert shown == kept(Screen("month", 80, 24)).read_text(encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    KEPT.mkdir(exist_ok=True)
    for one in SCREENS:
        with tempfile.TemporaryDirectory() as folder:
            kept(one).write_text(taken(one, Path(folder)), encoding="utf-8")
