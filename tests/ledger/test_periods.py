"""A period begins where the user's calendar says, also when the clocks change."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmroute.ledger.periods import PERIODS, before, milliseconds, span_of, start_of

ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/Sao_Paulo", "America/Havana", "Australia/Lord_Howe")

CASES = [
    # Times are UTC: of the present, and of the period's beginning.
    ("UTC", "2026-11-23T01:00:00", "day", "2026-11-23T00:00:00"),
    ("UTC", "2026-11-22T23:59:59", "week", "2026-11-16T00:00:00"),
    ("UTC", "2026-11-23T00:00:00", "week", "2026-11-23T00:00:00"),
    ("UTC", "2026-01-01T00:00:00", "year", "2026-01-01T00:00:00"),
    # Berlin: summer time from 29 March 2026 to 25 October 2026.
    ("Europe/Berlin", "2026-03-29T12:00:00", "day", "2026-03-28T23:00:00"),
    ("Europe/Berlin", "2026-03-30T12:00:00", "day", "2026-03-29T22:00:00"),
    ("Europe/Berlin", "2026-10-25T00:30:00", "day", "2026-10-24T22:00:00"),
    ("Europe/Berlin", "2026-10-25T01:30:00", "day", "2026-10-24T22:00:00"),
    ("Europe/Berlin", "2026-10-26T12:00:00", "day", "2026-10-25T23:00:00"),
    ("Europe/Berlin", "2026-10-28T12:00:00", "week", "2026-10-25T23:00:00"),
    ("Europe/Berlin", "2026-10-25T12:00:00", "week", "2026-10-18T22:00:00"),
    ("Europe/Berlin", "2026-10-31T12:00:00", "month", "2026-09-30T22:00:00"),
    ("Europe/Berlin", "2026-07-01T12:00:00", "year", "2025-12-31T23:00:00"),
    ("Europe/Berlin", "2025-12-31T23:30:00", "year", "2025-12-31T23:00:00"),
    ("Asia/Kathmandu", "2026-11-22T18:14:59", "day", "2026-11-21T18:15:00"),
    ("Asia/Kathmandu", "2026-11-22T18:15:00", "day", "2026-11-22T18:15:00"),
    ("Asia/Kathmandu", "2026-11-30T18:15:00", "month", "2026-11-30T18:15:00"),
    # The clocks went from 0:00 to 1:00: the day begins at 1:00.
    ("America/Sao_Paulo", "2018-11-04T12:00:00", "day", "2018-11-04T03:00:00"),
    # The clocks went from 1:00 back to 0:00: the day begins the first time.
    ("America/Havana", "2026-11-01T05:30:00", "day", "2026-11-01T04:00:00"),
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(("zone", "now", "period", "begin"), CASES)
def test_a_period_begins_where_the_calendar_says(zone: str, now: str, period: str, begin: str) -> None:
    told = start_of(period, utc(now).astimezone(ZoneInfo(zone)))
    assert told is not None
    assert milliseconds(told) == milliseconds(utc(begin))


def test_all_has_no_beginning() -> None:
    assert start_of("all", utc("2026-01-01T00:00:00")) is None


def test_utc_is_a_zone_and_not_only_an_offset() -> None:
    told = start_of("day", utc("2026-11-23T01:00:00"))
    assert told is not None
    assert told.utcoffset() == timedelta(0)
    assert told == utc("2026-11-23T00:00:00")


@settings(deadline=None)
@given(
    moment=st.datetimes(datetime(2005, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001
    zone=st.sampled_from(ZONES),
    period=st.sampled_from([period for period in PERIODS if period != "all"]),
)
def test_a_period_holds_its_moment_and_begins_at_the_first_moment_of_its_day(
    moment: datetime, zone: str, period: str
) -> None:
    here = ZoneInfo(zone)
    now = moment.replace(tzinfo=UTC).astimezone(here)
    begin = start_of(period, now)
    assert begin is not None
    first = datetime.fromtimestamp(milliseconds(begin) / 1000, tz=here)
    assert milliseconds(begin) <= milliseconds(now)
    assert start_of(period, first) == begin
    earlier = datetime.fromtimestamp(milliseconds(begin) / 1000 - 1, tz=here)
    assert earlier.date() < first.date()
    longest = {"day": 1, "week": 7, "month": 31, "year": 366}[period]
    assert milliseconds(now) - milliseconds(begin) <= (longest * 24 + 2) * 3_600_000


SYSTEM = """
import sys
from datetime import UTC, datetime
from llmroute.ledger.periods import milliseconds, start_of
for line in sys.stdin:
    now, period = line.split()
    local = datetime.fromisoformat(now).replace(tzinfo=UTC).astimezone()
    print(milliseconds(start_of(period, local)))
"""


@pytest.mark.parametrize("zone", sorted({zone for zone, *_ in CASES}))
def test_the_systems_own_zone_gives_the_same(zone: str) -> None:
    own = [case for case in CASES if case[0] == zone]
    asked = "".join(f"{now} {period}\n" for _, now, period, _ in own)
    done = subprocess.run(
        [sys.executable, "-c", SYSTEM],
        input=asked,
        env=os.environ | {"TZ": zone},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [int(line) for line in done.stdout.split()] == [milliseconds(utc(begin)) for *_, begin in own]


CLOSED = [
    # Times are UTC: of the present, of the period's ends, and of the beginning of the one before.
    ("UTC", "2026-11-23T01:00", "yesterday", "2026-11-22T00:00", "2026-11-23T00:00", "2026-11-21T00:00"),
    ("UTC", "2026-11-23T00:00", "last-week", "2026-11-16T00:00", "2026-11-23T00:00", "2026-11-09T00:00"),
    ("UTC", "2026-01-31T12:00", "last-month", "2025-12-01T00:00", "2026-01-01T00:00", "2025-11-01T00:00"),
    # Days of 25 and 23 hours, and the month that begins in summer time and ends in winter time.
    ("Europe/Berlin", "2026-10-26T12:00", "yesterday", "2026-10-24T22:00", "2026-10-25T23:00", "2026-10-23T22:00"),
    ("Europe/Berlin", "2026-03-30T12:00", "yesterday", "2026-03-28T23:00", "2026-03-29T22:00", "2026-03-27T23:00"),
    ("Europe/Berlin", "2026-11-01T12:00", "last-month", "2026-09-30T22:00", "2026-10-31T23:00", "2026-08-31T22:00"),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "now", "period", "begin", "end", "earlier"), CLOSED)
def test_a_closed_period_is_the_complete_one_before(  # noqa: PLR0913, PLR0917
    zone: str, now: str, period: str, begin: str, end: str, earlier: str
) -> None:
    here = utc(now).astimezone(ZoneInfo(zone))
    since, until = span_of(period, here)
    assert since is not None
    assert (milliseconds(since), milliseconds(until)) == (milliseconds(utc(begin)), milliseconds(utc(end)))
    previous = before(period, here)
    assert previous is not None
    assert [*map(milliseconds, previous)] == [milliseconds(utc(earlier)), milliseconds(utc(begin))]
