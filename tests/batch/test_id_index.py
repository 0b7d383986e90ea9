"""The id index returns the last value of each id, in little memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from llmroute.batch.id_index import IdIndex

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYS = st.one_of(st.integers(), st.text())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(KEYS, st.integers(0, 2**64 - 1))))
def test_the_last_value_of_an_id_is_returned_for_that_id_only(pairs: Sequence[tuple[str | int, int]]) -> None:
    table, model = IdIndex(), {}
    for key, value in pairs:
        table.put(key, value)
        model[key] = value
    assert len(table) == len(model)
    assert all(table.get(key) == value for key, value in model.items())
    assert sorted(table.values()) == sorted(model.values())


@given(st.integers())
def test_an_integer_and_its_text_are_two_ids(number: int) -> None:
    table = IdIndex()
    table.put(number, 1)
    assert table.get(str(number)) is None


def test_it_grows_and_takes_less_than_fifty_bytes_per_id() -> None:
    table = IdIndex()
    for number in range(50_000):
        table.put(f"request-{number}", number)
    assert all(table.get(f"request-{number}") == number for number in range(0, 50_000, 97))
    assert table.get("request-50000") is None
    assert sys.getsizeof(table._hashes) + sys.getsizeof(table._values) < 50 * len(table)
