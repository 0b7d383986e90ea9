from __future__ import annotations

import pytest

from llmroute.providers.errors.retry_after import parse_retry_after, parse_should_retry

NOON = "Sun, 22 Nov 2026 12:00:00 GMT"
LATER = "Sun, 22 Nov 2026 12:01:30 GMT"
NOON_S = 1_795_348_800.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("20", 20.0),
        ("0", 0.0),
        (" 1.5 ", 1.5),
        (".5", 0.5),
        ("99999999", 3600.0),
        ("9" * 400, 3600.0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_000", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        ("12:00", None),
        ("Sun, 99 Nov 2026 12:01:30 GMT", None),
    ],
)
def test_seconds_and_fractions_are_read_and_garbage_is_not(value: str, seconds: float | None) -> None:
    assert parse_retry_after(429, {"retry-after": value}) == seconds


def test_milliseconds_come_first() -> None:
    assert parse_retry_after(429, {"retry-after": "20", "retry-after-ms": "1500"}) == 1.5
    assert parse_retry_after(429, {"retry-after": "20", "retry-after-ms": "x"}) == 20.0


def test_a_date_is_measured_from_the_answers_own_date() -> None:
    assert parse_retry_after(503, {"retry-after": LATER, "date": NOON}, clock=lambda: 0.0) == 90.0


def test_a_date_is_measured_from_the_clock_where_the_answer_has_none() -> None:
    assert parse_retry_after(503, {"retry-after": LATER}, clock=lambda: NOON_S) == 90.0
    assert parse_retry_after(503, {"retry-after": NOON}, clock=lambda: NOON_S + 5) == 0.0
    assert parse_retry_after(503, {"retry-after": NOON}, clock=lambda: 0.0) == 3600.0


@pytest.mark.parametrize(("status", "counts"), [(200, False), (400, False), (408, False), (429, True), (529, True)])
def test_it_counts_on_429_and_5xx_alone(status: int, counts: bool) -> None:
    assert (parse_retry_after(status, {"retry-after": "2"}) is not None) is counts


def test_should_retry_is_what_was_said_outright() -> None:
    assert parse_should_retry({"x-should-retry": "true"}) is True
    assert parse_should_retry({"x-should-retry": "False "}) is False
    assert parse_should_retry({"x-should-retry": "maybe"}) is None
    assert parse_should_retry({}) is None
