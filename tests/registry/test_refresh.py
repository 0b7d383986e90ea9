"""A refresh shows what it would change, refuses what it cannot trust, and never leaves half a catalogue."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmroute.cli.flag_names import in_flags
from llmroute.errors import RequestError
from llmroute.registry import ModelRegistry
from llmroute.registry.catalogue_file import PREVIOUS, render_catalogue, shipped_catalogue, write_catalogue
from llmroute.registry.list_merge import compare_live, merge_live
from llmroute.registry.refresh import Change, check, diff, merge_file, merge_prices

if TYPE_CHECKING:
    from pathlib import Path

TODAY = date(2026, 12, 1)
SHIPPED = shipped_catalogue()


def row(catalogue: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in catalogue["models"] if f"{row['provider']}/{row['id']}" == name)
    return found


def published(prices: Any, record: str = "gpt-6-luna", provider: str = "openai") -> bytes:
    return json.dumps([{"id": provider, "models": [{"id": record, "prices": prices}]}]).encode()


def changed(name: str, **fields: Any) -> dict[str, Any]:
    catalogue = deepcopy(SHIPPED)
    row(catalogue, name).update(fields)
    return catalogue


def test_published_prices_replace_those_of_the_same_record() -> None:
    prices = [
        {"prices": {"input_mtok": 0.1, "output_mtok": 0.5}},
        {
            "constraint": {"start_date": "2026-11-30"},
            "prices": {"input_mtok": {"base": 0.2, "tiers": [{"start": 272000, "price": 0.3}]}, "output_mtok": 1},
        },
    ]
    merged = merge_prices(SHIPPED, published(prices), TODAY)
    assert row(merged, "openai/gpt-6-luna")["prices"] == [
        {"input": 0.1, "output": 0.5},
        {
            "valid_from": "2026-11-30",
            "input": 0.2,
            "output": 1,
            "tiers": [{"above": 272000, "input": 0.3, "output": 1}],
        },
    ]
    assert merged["as_of"] == row(merged, "openai/gpt-6-luna")["as_of"] == "2026-12-01"
    assert row(merged, "openai/gpt-6-sol") == row(SHIPPED, "openai/gpt-6-sol")


def test_a_model_is_priced_by_its_own_record_and_never_by_its_alias() -> None:
    data = published({"input_mtok": 0.5, "output_mtok": 1.5}, "mistral-large-2512", "mistral")
    merged = merge_prices(SHIPPED, data, TODAY)
    assert row(merged, "mistral/mistral-large")["prices"] == row(SHIPPED, "mistral/mistral-large")["prices"]


def test_a_promise_outlives_a_refresh_that_leaves_the_price_as_it_is() -> None:
    listed = row(SHIPPED, "openai/gpt-5.6-sol")["prices"][-1]
    kinds = {f"{kind}_mtok": listed[kind] for kind in ("input", "output", "cache_read", "cache_write")}
    tiers = {
        key: {"base": usd, "tiers": [{"start": 272000, "price": listed["tiers"][0][key.removesuffix("_mtok")]}]}
        for key, usd in kinds.items()
    }
    same = merge_prices(SHIPPED, published(tiers, "gpt-5.6-sol"), TODAY)
    moved = merge_prices(SHIPPED, published(kinds | {"input_mtok": 5}, "gpt-5.6-sol"), TODAY)
    assert row(same, "openai/gpt-5.6-sol")["prices"][-1]["valid_until"] == "2026-11-21"
    assert "valid_until" not in row(moved, "openai/gpt-5.6-sol")["prices"][-1]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not in the format of genai-prices"),
        (b"[]", "no price is of a model in the catalogue"),
        (published({"input_mtok": 1}, "gpt-99"), "no price is of a model in the catalogue"),
        (published({"input_mtok": -1}), "is not a price"),
        (published({"input_mtok": "1"}), "is not a price"),
        (published({"input_mtok": 1e-9}), "more than six decimals"),
        (published({"input_mtok": 10**9}), "prices.0..input|less than or equal"),
        (published({"input_mtok": {"base": 1, "tiers": [{"start": -1, "price": 1}]}}), "number of tokens"),
        (published([]), "neither a table nor a list"),
        (published([{"constraint": {"start_time": "00:00"}, "prices": {}}]), "more than its first day"),
        (published([{"constraint": {"start_date": "soon"}, "prices": {"input_mtok": 1}}]), "YYYY-MM-DD"),
    ],
)
def test_data_that_is_not_what_it_should_be_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        merge_prices(SHIPPED, data, TODAY)


def test_a_file_is_a_whole_catalogue_or_published_prices() -> None:
    newer = {**deepcopy(SHIPPED), "as_of": "2027-01-01"}
    assert merge_file(SHIPPED, render_catalogue(newer).encode(), TODAY) == newer
    data = published({"input_mtok": 0.2, "output_mtok": 0.5})
    assert merge_file(SHIPPED, data, TODAY) == merge_prices(SHIPPED, data, TODAY)
    with pytest.raises(RequestError, match="not a valid catalogue: schema is missing"):
        merge_file(SHIPPED, b"{}", TODAY)


def test_a_diff_tells_what_moves_what_comes_and_goes_and_what_ends() -> None:
    new = changed("openai/gpt-6-luna", prices=[{"input": 0.2, "output": 0.4}], retires_on="2027-05-01")
    new["models"].remove(row(new, "openai/gpt-6.2-sol"))
    new["models"].append({"provider": "openai", "id": "gpt-9", "as_of": "2026-12-01"})
    changes = diff(SHIPPED, new)
    luna = "openai/gpt-6-luna"
    assert Change("price up", luna, "input", 0.1, 0.2) in changes
    assert Change("price down", luna, "output", 0.5, 0.4) in changes
    assert Change("price unknown", luna, "cache_read", 0.01, None) in changes
    assert Change("price unknown", luna, "input above 272000", 0.2, None) in changes
    assert Change("retiring", luna, "retires_on", None, "2027-05-01") in changes
    assert Change("new", "openai/gpt-9") in changes
    assert Change("gone", "openai/gpt-6.2-sol") in changes
    assert diff(SHIPPED, deepcopy(SHIPPED)) == ()


@pytest.mark.parametrize(("usd", "passes"), [(2, True), (2.01, False), (0.005, True), (0.004, False), (0, False)])
def test_a_price_that_moves_more_than_twentyfold_is_refused_unless_forced(usd: float, *, passes: bool) -> None:
    new = changed("openai/gpt-6-luna", prices=[{"input": usd, "output": 0.5}])
    check(SHIPPED, new, force=True)
    if passes:
        check(SHIPPED, new)
        return
    with pytest.raises(RequestError, match="openai/gpt-6-luna for input changes from") as refusal:
        check(SHIPPED, new)
    assert "force=True" in str(refusal.value.hint)
    assert "--force" in in_flags(refusal.value.hint or "")


def test_data_that_is_older_than_the_catalogue_is_refused_unless_forced() -> None:
    older = {**SHIPPED, "as_of": "2026-01-01"}
    check(SHIPPED, older, force=True)
    with pytest.raises(RequestError, match="the data is of 2026-01-01, the catalogue of"):
        check(SHIPPED, older)


def test_force_does_not_let_an_unsound_catalogue_pass() -> None:
    with pytest.raises(RequestError, match="not a valid catalogue: models"):
        check(SHIPPED, changed("openai/gpt-6-luna", prices=[{"input": -1}]), force=True)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"successor": "openai/gpt-99"}, "the successor of openai/gpt-6-luna is not listed"),
        ({"provider": "groq", "successor": None}, "the successor of openai/gpt-4.1 is not listed"),
        ({"id": "gpt-6-sol"}, "a model is listed twice"),
        ({"prices": [{"valid_from": "2026-02-01"}, {"valid_from": "2026-01-01"}]}, "not in order of their dates"),
    ],
)
def test_a_catalogue_that_does_not_hold_together_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        check(SHIPPED, changed("openai/gpt-6-luna", **fields))


def test_a_model_of_no_provider_is_refused() -> None:
    stranger = {**deepcopy(SHIPPED)}
    stranger["models"] = [*stranger["models"], {"provider": "groq", "id": "x", "as_of": "2026-12-01"}]
    with pytest.raises(RequestError, match="groq/x has an unknown provider"):
        check(SHIPPED, stranger)


def test_taking_a_catalogue_keeps_the_previous_one_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "llmroute" / "catalogue.json"
    write_catalogue(path, SHIPPED)
    assert not path.with_name(PREVIOUS).exists()
    first = path.read_bytes()
    write_catalogue(path, {**SHIPPED, "as_of": "2026-12-01"})
    assert path.with_name(PREVIOUS).read_bytes() == first
    assert json.loads(path.read_bytes())["as_of"] == "2026-12-01"
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in path.parent.iterdir()) == ["catalogue.json", PREVIOUS]


def test_a_write_that_fails_leaves_the_catalogue_and_no_scraps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalogue.json"
    write_catalogue(path, SHIPPED)
    first = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_catalogue(path, {**SHIPPED, "as_of": "2026-12-01"})
    assert path.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == ["catalogue.json"]


def test_a_refreshed_catalogue_is_used_when_it_is_as_new_as_the_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.json"
    merged = merge_prices(SHIPPED, published({"input_mtok": 0.2, "output_mtok": 0.5}), TODAY)
    write_catalogue(path, merged)
    registry = ModelRegistry(catalogue_path=path)
    assert (registry.warning, registry.as_of) == (None, "2026-12-01")
    assert registry.resolve("gpt-6-luna").cost_per_1k_prompt == 0.0002
    assert merge_file(SHIPPED, path.read_bytes(), TODAY) == merged
    write_catalogue(path, {**merged, "as_of": SHIPPED["as_of"]})
    assert ModelRegistry(catalogue_path=path).resolve("gpt-6-luna").cost_per_1k_prompt == 0.0002
    write_catalogue(path, {**merged, "as_of": "2026-01-01"})
    assert ModelRegistry(catalogue_path=path).resolve("gpt-6-luna").cost_per_1k_prompt == 0.0001


def test_a_missing_refreshed_catalogue_is_nothing_to_tell(tmp_path: Path) -> None:
    registry = ModelRegistry(catalogue_path=tmp_path / "catalogue.json")
    assert (registry.warning, registry.as_of) == (None, SHIPPED["as_of"])


def test_a_catalogue_of_another_schema_is_told_and_not_used(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.json"
    write_catalogue(path, {**SHIPPED, "schema": 2, "as_of": "2027-01-01"})
    registry = ModelRegistry(catalogue_path=path)
    assert "schema 2 instead of 1" in str(registry.warning)
    assert registry.as_of == SHIPPED["as_of"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "models", "prices", "schema", "as_of", "providers", "input_mtok", "base", "tiers"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
PRICES = st.dictionaries(st.sampled_from(["input_mtok", "output_mtok", "cache_read_mtok"]), JSON, max_size=3)
ODD_PRICES = PRICES | st.lists(st.fixed_dictionaries({"prices": PRICES}, optional={"constraint": JSON}), max_size=2)
on_files = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()) | ODD_PRICES.map(published))
@settings(max_examples=50, deadline=None)
def test_any_refresh_file_is_taken_whole_or_refused_in_words(data: bytes) -> None:
    before = deepcopy(SHIPPED)
    try:
        merged = merge_file(SHIPPED, data, TODAY)
    except RequestError as refusal:
        merged, message = SHIPPED, refusal.message
        assert message
    check(SHIPPED, merged, force=True)
    assert before == SHIPPED


@given(data=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
@on_files
def test_any_damage_to_the_refreshed_catalogue_falls_back_to_the_shipped_one(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "catalogue.json"
    path.write_bytes(data)
    registry = ModelRegistry(catalogue_path=path)
    assert str(path) in str(registry.warning)
    assert registry.as_of == SHIPPED["as_of"]
    assert registry.resolve("gpt-4").known


@given(data=st.data())
@on_files
def test_a_byte_that_changed_or_is_missing_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "catalogue.json"
    write_catalogue(path, {**SHIPPED, "as_of": "2026-12-01"})
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    piece = data.draw(st.binary(max_size=2).filter(lambda piece: piece != whole[place : place + 1]))
    path.write_bytes(whole[:place] + piece + whole[place + 1 :])
    registry = ModelRegistry(catalogue_path=path)
    assert "its checksum does not match" in str(registry.warning)
    assert registry.as_of == SHIPPED["as_of"]


def test_a_providers_own_list_has_the_last_word_on_dates_limits_and_prices() -> None:
    listed = [
        {
            "api_name": "moonshotai/Kimi-K3",
            "context_window": 500_000,
            "retires_on": "2027-02-01",
            "successor": "moonshotai/Kimi-K3.1-Pro",
            "capabilities": frozenset({"function_calling"}),
            "price_input": 2.0,
            "price_output": 10.0,
        }
    ]
    merged = row(merge_live(SHIPPED, "together", listed, TODAY), "together/moonshotai/Kimi-K3")
    assert (merged["context_window"], merged["retires_on"]) == (500_000, "2027-02-01")
    assert merged["successor"] == "together/moonshotai/Kimi-K3.1-Pro"
    assert merged["prices"] == [
        {"input": 3, "output": 15, "cache_read": 0.3},
        {"valid_from": "2026-12-01", "input": 2.0, "output": 10.0, "cache_read": 0.3},
    ]
    assert set(row(SHIPPED, "together/moonshotai/Kimi-K3")["capabilities"]) <= set(merged["capabilities"])
    assert merged["sources"]["retires_on"] == "together's own list of 2026-12-01"


def test_what_a_list_repeats_or_does_not_say_changes_nothing() -> None:
    listed = [{"api_name": "gpt-4.1", "retires_on": "2027-01-14", "successor": "gpt-elsewhere"}]
    merged = merge_live(SHIPPED, "openai", listed, TODAY)
    assert row(merged, "openai/gpt-4.1") == row(SHIPPED, "openai/gpt-4.1")


def test_a_list_price_that_moves_twice_a_day_is_one_price() -> None:
    first = merge_live(
        SHIPPED, "together", [{"api_name": "openai/gpt-oss-120b", "price_input": 0.2, "price_output": 0.7}], TODAY
    )
    again = merge_live(
        first, "together", [{"api_name": "openai/gpt-oss-120b", "price_input": 0.3, "price_output": 0.7}], TODAY
    )
    assert [price["input"] for price in row(again, "together/openai/gpt-oss-120b")["prices"]] == [0.15, 0.3]


def test_nonsense_in_a_providers_list_is_refused() -> None:
    with pytest.raises(RequestError, match=r"retires_on must be a date \(YYYY-MM-DD\)"):
        merge_live(SHIPPED, "openai", [{"api_name": "gpt-4.1", "retires_on": "never"}], TODAY)


def test_comparing_a_list_tells_what_is_served_beyond_the_catalogue_and_what_is_not_served() -> None:
    served = [{"api_name": name.partition("/")[2]} for name in ModelRegistry().list_models("anthropic")]
    changes = compare_live(SHIPPED, "anthropic", [*served[1:], {"api_name": "claude-next"}])
    assert Change("new", "anthropic/claude-next") in changes
    assert Change("gone", f"anthropic/{served[0]['api_name']}") in changes
