"""No usage that is possible costs more than the bound."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmroute.planning.candidates import sized
from llmroute.registry.pricing import cost_picousd, worst_rates
from llmroute.routing.token_estimate import measure
from llmroute.text.token_bounds import TEMPLATE_TOKENS
from llmroute.types import Message, Price, PriceTier, Prompt, Usage
from llmroute.worst_case import WorstCase
from tests.routing.models import candidate

rate = st.integers(0, 50_000_000)
perhaps = st.one_of(st.none(), rate)
tiers = st.lists(st.builds(PriceTier, st.integers(0, 300), rate, rate, perhaps, perhaps), max_size=2)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    return Price(draw(rate), draw(rate), draw(perhaps), draw(perhaps), tiers=tuple(draw(tiers)))


@given(
    price=prices(),
    bound=st.integers(1, 400),
    most=st.integers(0, 100),
    share=st.sampled_from([0.0, 0.4, 1.0]),
    read=st.sampled_from([0, 50, 400]),
    written=st.sampled_from([0, 50, 400]),
)
@example(price=Price(1, 1, None, 5), bound=100, most=0, share=1.0, read=0, written=50)
@example(price=Price(1, 1, 5, None), bound=100, most=0, share=1.0, read=50, written=0)
@example(price=Price(5, 5, tiers=(PriceTier(50, 1, 1),)), bound=100, most=9, share=0.4, read=0, written=0)
@example(price=Price(1, 1, tiers=(PriceTier(50, 5, 5),)), bound=100, most=9, share=1.0, read=0, written=0)
def test_no_usage_within_its_bounds_costs_more_than_the_worst_case(  # noqa: PLR0913, PLR0917
    price: Price, bound: int, most: int, share: float, read: int, written: int
) -> None:
    rates = worst_rates(price, bound)
    assert rates is not None
    worst = WorstCase(bound * rates[0], rates[1], most, most)
    usage = Usage(round(bound * share), read, written, round(most * share))
    cost = cost_picousd(usage, price)
    assert cost is not None
    assert cost <= worst.picousd(most)


def test_a_price_that_is_unknown_anywhere_bounds_nothing() -> None:
    assert worst_rates(Price(None, 1), 10) is None
    assert worst_rates(Price(1, None), 10) is None
    assert worst_rates(Price(1, 1, tiers=(PriceTier(5, None, 1),)), 10) is None
    assert worst_rates(Price(1, 1, tiers=(PriceTier(10, None, 1),)), 10) == (1, 1), "the tier is out of reach"


@given(texts=st.lists(st.text(), min_size=1, max_size=4), system=st.one_of(st.none(), st.text()))
def test_the_bound_of_a_prompt_has_room_for_every_byte_and_the_template(texts: list[str], system: str | None) -> None:
    prompt = Prompt(tuple(Message("user", text) for text in texts), system=system)
    size = sum(len(text.encode()) for text in [*texts, system or ""])
    assert measure(prompt).worst_input >= size + TEMPLATE_TOKENS
    assert TEMPLATE_TOKENS >= 100, "gpt-oss puts about seventy tokens before every prompt"


@pytest.mark.parametrize(("price", "worst"), [(Price(0, 0), 0), (Price(0, 1), None), (Price(0, None), None)])
def test_an_answer_of_unknown_length_is_bounded_where_its_tokens_are_free(price: Price, worst: int | None) -> None:
    unlimited = candidate("openai/own", window=None)._replace(price=price)
    assert sized(unlimited, measure(Prompt((Message("user", "hi"),)))).worst_cost_picousd == worst
    tier = price._replace(tiers=(PriceTier(5, 0, 1),))
    priced_when_long = sized(unlimited._replace(price=tier), measure(Prompt((Message("user", "hi"),))))
    assert priced_when_long.worst_cost_picousd is None
