"""A pool stops after an outage that lasts, which is neither idle time nor the time between two answers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from llmroute.bulk import stop_rule
from llmroute.bulk.stop_rule import MAX_OUTAGE_S, StopRule
from llmroute.errors import TransientError

DOWN = TransientError("down")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1e6

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stop_rule, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def test_idle_time_is_no_outage(clock: Clock) -> None:
    rule = StopRule()
    for _ in range(3):
        clock.now_s += 2 * MAX_OUTAGE_S
        rule.note_begin()
        assert not rule.stops_after(DOWN)
        rule.note_end()


def test_the_time_in_flight_without_an_answer_is_an_outage(clock: Clock) -> None:
    rule = StopRule()
    rule.note_begin()
    clock.now_s += MAX_OUTAGE_S
    assert not rule.stops_after(DOWN)
    clock.now_s += 1
    assert rule.stops_after(DOWN)


def test_an_answer_ends_an_outage(clock: Clock) -> None:
    rule = StopRule()
    rule.note_begin()
    clock.now_s += 2 * MAX_OUTAGE_S
    rule.note_answer()
    clock.now_s += MAX_OUTAGE_S
    assert not rule.stops_after(DOWN)
