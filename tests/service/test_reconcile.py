"""`reconcile`: a planted difference of each kind is found and explained, and the parts add up to the whole."""

from __future__ import annotations

import tempfile
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmroute
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.sqlite.store import Ledger
from llmroute.service.costs.explain import Billed, Booked, Rates, explain
from llmroute.service.costs.reconcile import NO_MODEL, reconcile
from tests.support.fault_server import Received, Script, serving
from tests.support.report_server import ReportServer

if TYPE_CHECKING:
    from llmroute.service.costs.compared_costs import ComparedVendor, Reconciliation

NOW = datetime(2026, 11, 27, 18, tzinfo=UTC)
DAY = date(2026, 11, 3)
PICO = 10**12
HAIKU, GPT = "claude-haiku-5-5", "gpt-5"


def at(day: date, hour: float = 12) -> int:
    return round((datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour)).timestamp() * 1000)


class Books:
    """A ledger of one provider's attempts, and its report server."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, provider: str = "anthropic") -> None:
        self.folder, self.provider, self.monkeypatch = folder, provider, monkeypatch
        self.vendor = ReportServer()
        monkeypatch.setenv("LLMROUTE_CONFIG_DIR", str(folder))
        monkeypatch.setenv(f"{provider.upper()}_ADMIN_KEY", "sk-admin-0123456789")

    def book(self, usd: str | None, model: str = HAIKU, day: date = DAY, hour: float = 12, **facts: Any) -> None:
        with Ledger(self.folder / "ledger.db") as ledger:
            number = len(list(self.folder.glob("row-*")))
            (self.folder / f"row-{number}").touch()
            facts = {"input_tokens": 1_000, "output_tokens": 100, "usage_source": "reported", **facts}
            cost = None if usd is None else round(Decimal(usd) * PICO)
            row = AttemptRow(f"r{number}", 1, at(day, hour), self.provider, model, streaming=False, status="ok")
            row.cost_picousd, row.cost_basis = cost, "reported"
            for name, value in facts.items():
                setattr(row, name, value)
            ledger.settle(row)

    def bill(self, amount: str, model: str = HAIKU, day: date = DAY, tokens: tuple[int, int] = (1_000, 100)) -> None:
        self.vendor.costs.append((day, model, amount))
        self.vendor.usage.append((day, model, *tokens))

    def compare(self, period: str = "month", now: datetime = NOW) -> Reconciliation:
        with serving(self.vendor) as server:
            self.monkeypatch.setenv(f"{self.provider.upper()}_BASE_URL", server.url)
            with closing(llmroute.LLMService()) as service:
                return reconcile(service.core, period, now=now)

    def compared(self) -> ComparedVendor:
        (vendor,) = self.compare().vendors
        return vendor


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    return Books(tmp_path, monkeypatch)


def causes(vendor: ComparedVendor) -> dict[str, Decimal]:
    return {one.kind: one.usd for one in vendor.explained}


def test_books_that_agree_differ_by_nothing_whatever_page_a_day_is_on(books: Books) -> None:
    for number in range(1, 27, 5):
        books.book("0.0125", day=date(2026, 11, number))
        books.bill("1.25", day=date(2026, 11, number))
    found = books.compare()
    (vendor,) = found.vendors
    assert (vendor.ledger_usd, vendor.vendor_usd) == (Decimal("0.075"), Decimal("0.075"))
    assert (vendor.explained, found.outside(0)) == ((), [])
    assert {(one.booked.input_tokens, one.billed.input_tokens) for day in vendor.days for one in day.models} == {
        (1_000, 1_000)
    }


def test_calls_of_another_program_are_found_by_their_tokens(books: Books) -> None:
    books.book("1.00")
    books.bill("100", tokens=(1_000, 100))
    books.bill("250", model="claude-opus-5-5", tokens=(9_000, 900))
    vendor = books.compared()
    assert causes(vendor) == {"other_calls": Decimal("2.5")}
    assert "claude-opus-5-5 on 2026-11-03" in vendor.explained[0].detail


def test_a_cause_names_a_model_of_a_long_name_by_its_beginning(books: Books) -> None:
    name = "m" * 100_000
    books.bill("250", model=name, tokens=(9_000, 900))
    vendor = books.compared()
    assert vendor.days[0].models[0].model == name
    assert f"{'m' * 99}… on 2026-11-03" in vendor.explained[0].detail
    assert len(vendor.explained[0].detail) < 300


def test_more_tokens_of_a_model_of_ours_explain_no_more_than_their_price(books: Books) -> None:
    books.book("1.00")
    rates = Rates(Decimal("0.001"), Decimal("0.002"))
    parts = dict(explain(Booked(Decimal(1), 1_000, 100), Billed(Decimal(5), 2_000, 100), rates))
    assert parts == {"other_calls": Decimal(1), "price": Decimal(3)}


def test_reservations_explain_a_lower_bill_and_nothing_beyond_them(books: Books) -> None:
    books.book("1.00")
    books.book("0.50", cost_basis="at_most", usage_source="none", input_tokens=None, output_tokens=None)
    books.bill("120", tokens=(1_200, 110))
    assert causes(books.compared()) == {"at_most": Decimal("-0.3")}


def test_estimates_explain_both_directions_within_their_bounds(books: Books) -> None:
    books.book("0.50", cost_basis="estimated", usage_source="estimated", reserved_picousd=PICO)
    books.bill("90", tokens=(1_000, 100))
    assert causes(books.compared()) == {"estimated": Decimal("0.4")}


def test_an_attempt_of_unknown_cost_explains_a_higher_bill(books: Books) -> None:
    books.book(None)
    books.bill("90")
    assert causes(books.compared()) == {"unknown_cost": Decimal("0.9")}


def test_another_price_shows_where_the_tokens_are_the_same(books: Books) -> None:
    books.book("1.00")
    books.bill("125.00")
    vendor = books.compared()
    assert causes(vendor) == {"price": Decimal("0.25")}
    assert vendor.explained[0].detail.endswith(f"{HAIKU} on 2026-11-03")


def test_calls_that_the_report_lacks_are_missing(books: Books) -> None:
    books.book("1.00")
    books.book("3.00", model="claude-opus-5-5")
    books.bill("100")
    assert causes(books.compared()) == {"missing_calls": Decimal(-3)}


def test_rounding_to_cents_is_told_and_never_judged(books: Books) -> None:
    books.book("0.0123")
    books.bill("1")
    found = books.compare()
    assert causes(found.vendors[0]) == {"rounding": Decimal("-0.0023")}
    assert found.outside(0) == []


def test_charges_without_a_model_have_a_line_of_their_own(books: Books) -> None:
    books.vendor.costs.append((DAY, "", "40"))
    vendor = books.compared()
    assert [one.model for one in vendor.days[0].models] == [NO_MODEL]
    assert causes(vendor) == {"unexplained": Decimal("0.4")}


def test_a_day_that_was_not_requested_is_left_out(books: Books) -> None:
    books.vendor.costs.append((date(2026, 10, 31), HAIKU, "40"))
    with serving(_OtherDays(books.vendor)) as server:
        books.monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        with closing(llmroute.LLMService()) as service:
            (vendor,) = reconcile(service.core, "month", now=NOW).vendors
    assert vendor.days == ()


class _OtherDays:
    """Answers every request with the days of October."""

    def __init__(self, vendor: ReportServer) -> None:
        self._vendor = vendor

    def __call__(self, received: Received) -> Script:
        path, _, _ = received.path.partition("?")
        asked = f"{path}?starting_at=2026-10-31T00:00:00Z&ending_at=2026-11-01T00:00:00Z"
        return self._vendor(Received(f"GET {asked} HTTP/1.1", received.headers, received.body))


def test_dollars_of_openai_meet_the_ledger_under_a_dated_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    books = Books(tmp_path, monkeypatch, "openai")
    books.book("1.25", model=GPT)
    books.bill("1.25", model="gpt-5-2025-08-07")
    (vendor,) = books.compare().vendors
    assert [(one.model, one.booked.usd, one.billed.usd) for one in vendor.days[0].models] == [
        (GPT, Decimal("1.25"), Decimal("1.25"))
    ]


def test_each_closed_day_is_judged_and_so_is_the_whole(books: Books) -> None:
    for day, amount in ((3, "101"), (4, "90"), (5, "110")):
        books.book("1.00", day=date(2026, 11, day))
        books.bill(amount, day=date(2026, 11, day))
    found = books.compare()
    assert found.outside(1) == [("anthropic", date(2026, 11, 4)), ("anthropic", date(2026, 11, 5))]
    assert found.outside(12) == []
    assert found.outside(0)[-1] == ("anthropic", None)


def test_today_is_shown_and_not_judged(books: Books) -> None:
    books.book("5.00", day=NOW.date())
    found = books.compare()
    assert [(day.date, day.ledger_usd) for day in found.vendors[0].days] == [(NOW.date(), Decimal(5))]
    assert found.outside(0) == []


@settings(max_examples=20)
@given(st.integers(-12, 14), st.floats(0, 23.99))
def test_days_are_those_of_utc_in_every_time_zone(offset: int, hour: float) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        books = Books(Path(folder), patch)
        books.book("1.00", hour=hour)
        books.bill("100")
        found = books.compare(now=NOW.astimezone(timezone(timedelta(hours=offset))))
    assert found.since == datetime(2026, 11, 1, tzinfo=UTC)
    assert [day.date for day in found.vendors[0].days] == [DAY]
    assert found.vendors[0].explained == ()


def test_all_begins_with_the_first_day_of_the_ledger(books: Books) -> None:
    books.book("1.00", day=date(2025, 2, 28))
    books.bill("100", day=date(2025, 2, 28))
    found = books.compare("all")
    assert found.since == datetime(2025, 2, 28, tzinfo=UTC)
    assert found.outside(0) == []


def test_last_month_is_closed_and_ends_with_its_last_day(books: Books) -> None:
    for day in (date(2026, 9, 30), date(2026, 10, 1), date(2026, 10, 31), date(2026, 11, 1)):
        books.book("1.00", day=day)
        books.bill("200", day=day)
    found = books.compare("last-month")
    assert (found.since, found.until) == (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
    assert [day.date for day in found.vendors[0].days] == [date(2026, 10, 1), date(2026, 10, 31)]
    assert found.outside(1)[-1] == ("anthropic", None)


usd = st.decimals(0, 1_000, places=6)
count = st.integers(0, 10**6)


@given(
    st.builds(Booked, usd, count, count, usd, usd, usd, st.integers(0, 2)),
    st.builds(Billed, usd, count, count, st.decimals(0, "0.005", places=6)),
    st.none() | st.builds(Rates, st.decimals(0, 1, places=6), st.decimals(0, 1, places=6)),
)
def test_the_parts_of_a_difference_add_up_to_it(booked: Booked, billed: Billed, rates: Rates | None) -> None:
    parts = list(explain(booked, billed, rates))
    assert sum((part for _, part in parts), Decimal(0)) == billed.usd - booked.usd
    assert all(part for _, part in parts)
    assert all((part > 0) == (billed.usd > booked.usd) for _, part in parts)
    assert len({kind for kind, _ in parts}) == len(parts)
