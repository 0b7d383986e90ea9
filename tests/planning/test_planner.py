"""From a request to its plan, by the real planner over the real catalogue; nothing is ever sent."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmroute.circuits import BreakerRule, TripReason
from llmroute.cli.flag_names import flag_of, in_flags
from llmroute.errors import BudgetExceededError, ConfigError, NoCandidateError, RequestError
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger.statistics.values import Observation
from llmroute.notices import discard
from llmroute.planning.planner import ENGINE_NOTICE
from llmroute.registry.pricing import rates_on
from llmroute.request.options import Options
from llmroute.routing.chains import PREDEFINED
from llmroute.service.client import LLMService
from llmroute.service.models.chains import chains_today
from llmroute.types import CAPABILITIES, STRATEGIES
from tests.ledger.calls import learn
from tests.support.fault_server import closed_port, reply, serving
from tests.support.provider_servers import ANTHROPIC, KEY, OPENAI, House
from tests.support.waiting import patient_with_the_local_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmroute.routing.plan import Plan

KEYS = {f"{name}_API_KEY": KEY for name in ("OPENAI", "ANTHROPIC", "MISTRAL", "TOGETHER")}
PULLED = reply(200, json.dumps({"models": [{"name": "mistral:latest", "model": "mistral:latest"}]}).encode())


@pytest.fixture(scope="module", autouse=True)
def _patient() -> Iterator[None]:
    with patient_with_the_local_server():
        yield


@pytest.fixture(scope="module")
def everyone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLMService]:
    """A service that can call all five, with a local server that has one model."""
    with serving([PULLED]) as server:
        service = House(tmp_path_factory.mktemp("everyone")).service(**KEYS, OLLAMA_BASE_URL=server.url)
        yield service
        service.close()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def ask(service: LLMService, **options: Any) -> Plan:
    try:
        return service.plan(Options(**{"prompt": "Say hello.", **options}))
    finally:
        service.close()


def names(plan: Plan) -> list[str]:
    return [entry.model.name for entry in plan.entries]


def reasons(plan: Plan) -> dict[str, str]:
    return {one.model.name: one.reason for one in plan.excluded}


def configured(house: House, text: str) -> House:
    (house.folder / "config.toml").write_text(text)
    return house


def taught(house: House, service: LLMService, name: str, **lesson: Any) -> None:
    provider, _, model = name.partition("/")
    now_ms = time.time_ns() // 1_000_000
    with Ledger(house.folder / "ledger.db") as ledger, ledger.connection.transaction() as db:
        learn(db, [Observation(provider, model, "", 0, now_ms, service.core.endpoints.fingerprint(provider), **lesson)])


def rest(seconds: int = 60) -> dict[str, Any]:
    return {"succeeded": False, "trip": BreakerRule("endpoint", TripReason.FAILURES, seconds * 1000, 3_600_000)}


requests = st.fixed_dictionaries(
    {"strategy": st.sampled_from(STRATEGIES)},
    optional={
        "required_capability": st.sampled_from(CAPABILITIES),
        "min_quality": st.integers(0, 80),
        "max_latency_ms": st.sampled_from([1500, 5000, 60_000]),
        "budget_remaining": st.sampled_from([0.0001, 0.01, 5.0]),
        "max_tokens": st.sampled_from([1, 500, 100_000]),
        "prefer_local": st.booleans(),
        "strict_params": st.booleans(),
        "temperature": st.just(0.5),
        "prompt": st.sampled_from(["x", "word " * 5000, "word " * 300_000]),
    },
)


@settings(max_examples=40, deadline=None)
@given(asked=requests)
def test_every_model_of_the_catalogue_is_ranked_or_excluded_with_a_reason(
    everyone: LLMService, asked: dict[str, Any]
) -> None:
    try:
        plan = everyone.plan(Options(**{"prompt": "Say hello.", "upgrade": True, **asked}))
    except (NoCandidateError, BudgetExceededError):
        return
    told = [*names(plan), *(one.model.name for one in plan.excluded)]
    assert sorted(told) == sorted(everyone.registry.list_models())
    assert all(one.reason for one in plan.excluded)


@settings(max_examples=15, deadline=None)
@given(asked=requests)
def test_the_same_ledger_and_the_same_request_give_the_same_plan(everyone: LLMService, asked: dict[str, Any]) -> None:
    def told() -> object:
        try:
            return everyone.plan(Options(**{"prompt": "Say hello.", **asked}))
        except (NoCandidateError, BudgetExceededError) as error:
            return error.message, error.hint

    assert told() == told()


@settings(max_examples=15, deadline=None)
@given(floor=st.integers(0, 90))
def test_a_free_local_model_beats_any_that_costs_when_it_is_good_enough(everyone: LLMService, floor: int) -> None:
    plan = everyone.plan(Options(prompt="x", strategy="cost_optimized", min_quality=floor))
    local = everyone.registry.resolve("ollama/mistral")
    good_enough = everyone.registry.expected_quality(local).value >= floor
    assert (names(plan)[0] == local.name) is good_enough
    assert (local.name in reasons(plan)) is not good_enough


def test_a_dearer_copy_never_wins_when_cost_counts(house: House) -> None:
    best = ask(house.service(**KEYS), strategy="cost_optimized").entries[0].model
    price = best.prices[-1]
    assert price.input is not None
    assert price.output is not None
    configured(
        house,
        f'[models."openai/0-copy"]\ninput = {price.input * 1.01 / 1e6}\noutput = {price.output * 1.01 / 1e6}\n'
        f"quality = 100\n",
    )
    plan = ask(house.service(**KEYS), strategy="cost_optimized")
    costs = {entry.model.name: entry.candidate.expected_cost_picousd for entry in plan.entries}
    assert names(plan)[0] == best.name
    assert (costs["openai/0-copy"] or 0) > (costs[best.name] or 0) > 0


def test_without_one_key_the_others_keep_their_order(house: House) -> None:
    def unpromoted(plan: Plan) -> list[str]:
        return [entry.model.name for entry in sorted(plan.entries, key=lambda entry: (entry.score, entry.model.name))]

    whole = ask(house.service(**KEYS), strategy="balanced")
    for left_out in KEYS:
        keys = {name: key for name, key in KEYS.items() if name != left_out}
        provider = left_out.removesuffix("_API_KEY").lower()
        kept = [name for name in unpromoted(whole) if not name.startswith(f"{provider}/")]
        plan = ask(house.service(**keys), strategy="balanced")
        assert unpromoted(plan) == kept
        assert all(left_out in reason for name, reason in reasons(plan).items() if name.startswith(f"{provider}/"))


def test_a_chain_is_followed_in_its_order_whatever_the_scores_say(house: House) -> None:
    configured(house, f'[chains]\nMine = ["{OPENAI}", "mistral/mistral-large", "{ANTHROPIC}", "{OPENAI}"]\n')
    keys = {name: key for name, key in KEYS.items() if name != "MISTRAL_API_KEY"}
    plan = ask(house.service(**keys), chain="mine")
    assert names(plan) == [OPENAI, ANTHROPIC]
    assert (plan.chain, plan.strategy) == ("Mine", None)
    assert "MISTRAL_API_KEY" in next(iter(reasons(plan).values()))
    assert names(ask(house.service(**keys), chain="mine", enable_fallback=False)) == [OPENAI]
    with pytest.raises(RequestError, match="no chain is called 'mien'") as caught:
        ask(house.service(**KEYS), chain="mien")
    assert caught.value.hint == "did you mean Mine?"
    with pytest.raises(RequestError, match="a chain cannot be combined with model, provider or fallback"):
        ask(house.service(**KEYS), chain="mine", model=OPENAI)


def test_an_entry_that_nothing_succeeds_is_left_out_of_its_chain(house: House) -> None:
    configured(
        house,
        f'[chains]\nmine = ["openai/house", "{OPENAI}"]\n[models."openai/house"]\nretires_on = 2026-01-01\n',
    )
    plan = ask(house.service(**KEYS), chain="mine")
    assert names(plan) == [OPENAI]
    assert reasons(plan) == {"openai/house": "retired on 2026-01-01"}


def test_fallbacks_follow_the_model_that_was_named_and_nothing_else_does(house: House) -> None:
    plan = ask(house.service(**KEYS), model=ANTHROPIC, fallback=("mistral/mistral-large", OPENAI))
    assert names(plan)[0] == ANTHROPIC
    assert names(plan)[-1] == OPENAI
    assert len(plan.entries) == 3
    assert names(ask(house.service(**KEYS), fallback=(OPENAI,))) == [OPENAI]


def test_a_provider_that_was_named_answers_first_with_its_best(house: House) -> None:
    alone = [name for name in names(ask(house.service(**KEYS))) if name.startswith("mistral/")]
    plan = ask(house.service(**KEYS), provider="mistral")
    assert names(plan)[0] == alone[0]
    assert plan.entries[1].model.provider != "mistral"
    with pytest.raises(RequestError, match="provider: 'nobody' is not one of"):
        ask(house.service(**KEYS), provider="nobody")
    with pytest.raises(NoCandidateError, match="MISTRAL_API_KEY"):
        ask(house.service(OPENAI_API_KEY=KEY), provider="mistral")


def test_a_model_that_was_named_is_held_to_the_limits_of_the_request(house: House) -> None:
    rated = house.service(**KEYS).registry.resolve(OPENAI).quality
    assert rated is not None
    for limit, said, remedy in (
        ({"min_quality": rated + 1}, f"quality {rated} is below {rated + 1}", "min_quality"),
        ({"max_latency_ms": 1}, "expected latency", "max_latency_ms"),
        ({"required_capability": "reasoning"}, "lacks reasoning", None),
        ({"prompt": "word " * 2_000_000}, "its context window of", None),
    ):
        with pytest.raises(RequestError, match=f"^{OPENAI}: ") as caught:
            ask(house.service(**KEYS), model=OPENAI, **limit)
        assert said in caught.value.message
        assert caught.value.exit_code == 2
        assert [each.option for each in caught.value.remedies] == ([remedy] if remedy else [])
    within = ask(house.service(**KEYS), model=OPENAI, min_quality=rated, required_capability="code")
    assert names(within)[0] == OPENAI
    assert all(entry.candidate.quality >= rated for entry in within.entries)
    assert all("code" in entry.model.capabilities for entry in within.entries)


def test_a_setting_or_a_task_does_not_refuse_a_model_that_was_named(house: House) -> None:
    plan = ask(house.service(**KEYS, LLM_MAX_LATENCY_MS="1"), model=OPENAI, task_type="analysis", enable_fallback=False)
    assert names(plan) == [OPENAI]


def test_what_a_model_can_do_that_is_not_listed_is_for_its_caller_to_know(house: House) -> None:
    plan = ask(house.service(**KEYS), model="openai/unheard-of", required_capability="vision", max_latency_ms=60_000)
    assert names(plan)[0] == "openai/unheard-of"
    with pytest.raises(RequestError, match="below 100"):
        ask(house.service(**KEYS), model="openai/unheard-of", min_quality=100)


@pytest.mark.parametrize("more", [{}, {"fallback": (OPENAI,)}])
def test_a_provider_and_a_model_that_contradict_each_other_are_refused(house: House, more: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="provider openai and model anthropic/claude-x contradict") as caught:
        ask(house.service(**KEYS), provider="openai", model="anthropic/claude-x", **more)
    assert "openai/anthropic/claude-x" in str(caught.value.hint)
    assert names(ask(house.service(**KEYS), provider="openai", model=OPENAI))[0] == OPENAI
    hosted = ask(house.service(**KEYS), provider="together", model="openai/gpt-oss-120b")
    assert names(hosted)[0] == "together/openai/gpt-oss-120b"


def test_a_chain_tells_once_a_day_in_one_line_what_stands_for_its_retired_models(house: House) -> None:
    plan = ask(house.service(**KEYS), chain="COST_OPTIMIZED")
    (note,) = house.notes
    assert note.startswith("chain COST_OPTIMIZED: ")
    for listed in ("openai/gpt-3.5-turbo", "anthropic/claude-3-haiku", "mistral/mistral-tiny"):
        assert f"{listed} is retired, replaced by {listed.partition('/')[0]}/" in note
    house.notes.clear()
    assert names(ask(house.service(**KEYS), chain="cost_optimized")) == names(plan)
    assert house.notes == []
    assert ask(house.service(**KEYS), chain="HIGH_QUALITY").entries
    assert len(house.notes) == 1


@pytest.mark.parametrize("chain", ["COST_OPTIMIZED", "FAST_LATENCY"])
def test_what_was_cheap_stays_cheap_in_a_chain(house: House, chain: str) -> None:
    service = house.service(**KEYS)
    listed = [service.registry.resolve(f"{provider}/{model}") for provider, model in PREDEFINED[chain]]
    prices = {model.provider: sum(rates_on(model, service.registry.today)) for model in listed}
    shown = [entry.resolved for entry in chains_today(service.core, chain)[chain]]
    plan = ask(service, chain=chain)
    assert [name for name in shown if not str(name).startswith("ollama/")] == names(plan)
    for entry in plan.entries:
        price = sum(rates_on(entry.model, service.registry.today))
        assert price <= 3 * prices[entry.model.provider]
        assert service.registry.status(entry.model) == "active"


def test_a_first_model_that_rests_gives_way_and_is_tried_last(house: House) -> None:
    service = house.service(**KEYS)
    taught(house, service, OPENAI, **rest())
    plan = ask(service, model=OPENAI)
    assert names(plan)[0] != OPENAI
    assert names(plan)[-1] == OPENAI
    assert len(house.notes) == 1
    assert "circuit open for" in house.notes[0]
    assert f"using {names(plan)[0]}" in house.notes[0]


def test_when_all_rest_the_soonest_is_tried_first(house: House) -> None:
    service = house.service(**KEYS)
    for name, seconds in ((OPENAI, 900), (ANTHROPIC, 300)):
        taught(house, service, name, **rest(seconds))
    plan = ask(service, fallback=(OPENAI, ANTHROPIC))
    assert names(plan) == [ANTHROPIC, OPENAI]
    assert all("circuit open for" in reason for reason in reasons(plan).values())


def test_a_key_that_was_refused_is_not_tried_again_until_it_changes(house: House) -> None:
    service = house.service(OPENAI_API_KEY=KEY)
    year_ms = 365 * 86_400_000
    taught(house, service, OPENAI, trip=BreakerRule("key", TripReason.KEY_REFUSED, 10 * year_ms, 10 * year_ms))
    with pytest.raises(NoCandidateError, match="key rejected"):
        ask(service, fallback=(OPENAI,))
    assert names(ask(house.service(OPENAI_API_KEY=f"{KEY}-new"), fallback=(OPENAI,))) == [OPENAI]


def test_what_was_learned_moves_the_plan(house: House) -> None:
    service = house.service(**KEYS)
    before = names(ask(service, strategy="latency_optimized"))
    slow = before[0]
    sibling = next(name for name in before if name != slow and name.partition("/")[0] == slow.partition("/")[0])
    for _ in range(5):
        taught(house, service, slow, succeeded=True, ttft_s=40.0, per_token_s=0.1)
        # As much faster than its class, so that the provider as a whole is neither fast nor slow.
        taught(house, service, sibling, succeeded=True, ttft_s=0.01, per_token_s=0.001)
    plan = ask(house.service(**KEYS), strategy="latency_optimized")
    assert names(plan)[0] != slow
    last = max(plan.entries, key=lambda entry: entry.expected_latency_ms)
    assert last.model.name == slow
    assert last.expected_latency_ms > 40_000


def test_no_upgrade_holds_for_models_that_were_named_too(house: House) -> None:
    plan = ask(house.service(**KEYS), fallback=("openai/gpt-5-nano", "anthropic/claude-opus-5-5"), upgrade=False)
    assert [entry.model.name for entry in plan.entries] == ["openai/gpt-5-nano"]
    assert "upgrade=False forbids" in reasons(plan)["anthropic/claude-opus-5-5"]


def test_no_upgrade_leaves_out_what_costs_over_three_times_the_first(house: House) -> None:
    free = ask(house.service(**KEYS), model=OPENAI)
    first = free.entries[0].candidate.typical_cost_picousd
    assert first
    dear = {e.model.name for e in free.entries if (e.candidate.typical_cost_picousd or 10**15) > 3 * first}
    assert dear
    plan = ask(house.service(**KEYS), model=OPENAI, upgrade=False)
    assert set(names(plan)) == set(names(free)) - dear
    assert all("upgrade=False forbids" in reasons(plan)[name] for name in dear)
    assert all("--no-upgrade forbids" in in_flags(reasons(plan)[name]) for name in dear)
    configured(house, "upgrade = false\n")
    assert names(ask(house.service(**KEYS), model=OPENAI)) == names(plan)


def test_what_runs_here_comes_first_where_that_is_preferred(house: House) -> None:
    with serving([PULLED]) as server:
        here = {**KEYS, "OLLAMA_BASE_URL": server.url}
        assert names(ask(house.service(**here), strategy="quality_optimized"))[0] != "ollama/mistral"
        assert names(ask(house.service(**here), strategy="quality_optimized", prefer_local=True))[0] == "ollama/mistral"
        assert names(ask(house.service(**here), strategy="local_first"))[0] == "ollama/mistral"
        assert names(ask(house.service(**here, LLM_PREFER_LOCAL="true")))[0] == "ollama/mistral"


def test_a_model_that_is_not_listed_is_sent_as_asked_and_those_called_nearly_so_are_told(house: House) -> None:
    assert names(ask(house.service(OPENAI_API_KEY=KEY), model="openai/gpt-5.4-mni"))[0] == "openai/gpt-5.4-mni"
    (note,) = house.notes
    assert note.startswith(
        "openai/gpt-5.4-mni is not in the catalogue; its name is sent unchanged (did you mean openai/gpt-5"
    )
    house.notes.clear()
    gateway = house.service(OPENAI_API_KEY=KEY, OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert names(ask(gateway, model="openai/gpt-5.4-mni"))[0] == "openai/gpt-5.4-mni"
    assert house.notes == [], "a gateway calls its models as it likes"


def test_the_engine_of_last_resort_says_so_and_how_to_get_a_better_one(house: House) -> None:
    plan = ask(house.service(OLLAMA_BASE_URL=f"http://127.0.0.1:{closed_port()}"))
    assert names(plan) == ["builtin/smollm2-135m"]
    (note,) = house.notes
    assert "the embedded engine" in note
    assert "OPENAI_API_KEY" in note
    house.notes.clear()
    ask(house.service(OLLAMA_BASE_URL=f"http://127.0.0.1:{closed_port()}"))
    assert house.notes == [], "it was told today"
    memory = house.service().config.config_dir / ENGINE_NOTICE
    memory.write_text("2026-01-01\n")
    unheard = house.service(OLLAMA_BASE_URL=f"http://127.0.0.1:{closed_port()}").config
    ask(LLMService(config=unheard, note=discard))
    assert memory.read_text() == "2026-01-01\n", "nobody heard it"
    ask(house.service(OLLAMA_BASE_URL=f"http://127.0.0.1:{closed_port()}"))
    assert len(house.notes) == 1
    house.notes.clear()
    memory.unlink()
    assert names(ask(house.service(), local_only=True)) == ["builtin/smollm2-135m"]
    assert names(ask(house.service(), model="builtin/smollm2-135m"))[0] == "builtin/smollm2-135m"
    assert house.notes == [], "it was asked for"


def test_the_engine_of_last_resort_names_the_limit_that_keeps_the_others_out(house: House) -> None:
    plan = ask(house.service(OPENAI_API_KEY="sk-secret-0123456789"), budget_remaining=1e-9)
    assert names(plan) == ["builtin/smollm2-135m"]
    (note,) = house.notes
    assert "the nearest is openai/" in note
    assert "(budget_remaining=0.0000" in note
    assert "(--budget 0.0000" in in_flags(note)
    assert "OPENAI_API_KEY" not in note, "there is one"


@pytest.mark.parametrize(
    ("asked", "kind", "said", "option"),
    [
        ({"min_quality": 100}, NoCandidateError, "below 100", "min_quality"),
        ({"max_latency_ms": 1}, NoCandidateError, "expected latency", "max_latency_ms"),
        ({"budget_remaining": 0.0, "max_tokens": 100}, BudgetExceededError, "could cost up to $", "budget_remaining"),
    ],
)
def test_the_nearest_miss_is_named_with_the_option_that_admits_it(
    house: House, asked: dict[str, Any], kind: type[NoCandidateError], said: str, option: str
) -> None:
    with pytest.raises(kind, match="no model can serve this request; the nearest is ") as caught:
        ask(house.service(**KEYS), provider="openai", **asked)
    assert said in caught.value.message
    (remedy,) = caught.value.remedies
    assert (caught.value.option, remedy.option) == (option, option)
    assert caught.value.hint == f"{option}={remedy.figure} would admit it"
    assert in_flags(caught.value.hint) == f"{flag_of(option)} {remedy.figure} would admit it"
    assert ask(house.service(**KEYS), provider="openai", **asked | {option: remedy.value}).entries


def test_without_a_near_miss_the_reasons_are_named(house: House) -> None:
    with pytest.raises(NoCandidateError, match="no model with vision can serve this request: ") as caught:
        ask(house.service(), fallback=("ollama/mistral",), required_capability="vision")
    assert "llmroute health" in str(caught.value.hint)


def test_the_balance_of_the_balanced_score_comes_from_the_config_and_from_the_request(house: House) -> None:
    cheapest = names(ask(house.service(**KEYS), strategy="cost_optimized"))[0]
    configured(house, "[balance]\nwrong_answer_usd = 0\nsecond_usd = 0\n")
    plan = ask(house.service(**KEYS), strategy="balanced")
    assert names(plan)[0] == cheapest
    assert [name for name, value in plan.entries[0].terms.items() if value] == ["call_usd"]
    best = ask(house.service(**KEYS), strategy="balanced", worth_usd=1000.0).entries[0]
    assert best.terms["wrong_answer_usd"] > 0
    assert best.candidate.quality > plan.entries[0].candidate.quality


def test_worth_implies_the_balanced_strategy(house: House) -> None:
    configured(house, 'strategy = "cost_optimized"\n')
    assert ask(house.service(**KEYS)).strategy == "cost_optimized"
    plan = ask(house.service(**KEYS), worth_usd=1000.0)
    assert plan.strategy == "balanced"
    assert plan.entries[0].terms["wrong_answer_usd"] > 0


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({"model": "haiku"}, "and model chooses the model"),
        ({"chain": "REVIEW"}, "and chain chooses the model"),
        ({"fallback": ("haiku",)}, "and fallback chooses the model"),
        ({"strategy": "cost_optimized"}, "and the strategy is cost_optimized"),
        ({"strategy": "latency_optimized"}, "and the strategy is latency_optimized"),
    ],
)
def test_worth_is_refused_where_it_has_no_effect(house: House, choices: dict[str, Any], reason: str) -> None:
    with pytest.raises(RequestError) as caught:
        ask(house.service(**KEYS), worth_usd=1.0, **choices)
    assert str(caught.value) == f"worth_usd is for the balanced strategy, {reason}"
    assert caught.value.exit_code == 2
    for allowed in ({"provider": "openai"}, {"strategy": "quality_optimized"}):
        assert ask(house.service(**KEYS), worth_usd=1.0, **allowed).entries


def test_the_old_weights_are_refused_with_the_setting_that_took_their_place(house: House) -> None:
    configured(house, "[weights]\ncost = 1\n")
    with pytest.raises(ConfigError, match=r"config\.toml: weights is replaced by \[balance\]"):
        house.service(**KEYS)


def test_a_plan_makes_no_ledger(house: House) -> None:
    ask(house.service(**KEYS))
    assert {path.name for path in house.folder.iterdir()} <= {"config.snapshot.json"}


def test_models_of_a_provider_that_rests_stand_in_after_those_of_all_others(house: House) -> None:
    service = house.service(**KEYS)
    taught(house, service, OPENAI, **rest())
    providers = [entry.model.provider for entry in ask(service, model=OPENAI).entries]
    assert providers.index("openai") > max(providers.index(name) for name in ("anthropic", "mistral", "together"))
    assert providers == sorted(providers, key=lambda name: name == "openai")
