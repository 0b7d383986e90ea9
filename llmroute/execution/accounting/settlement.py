"""Usage and cost of an attempt: reported by the provider, else estimated or bounded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import BadOutputError, ProviderTimeoutError, UnreachableError
from llmroute.planning.usage_cost import priced
from llmroute.routing.token_estimate import estimated_tokens
from llmroute.types import Completion, Service, Usage

if TYPE_CHECKING:
    from llmroute.errors import AttemptError
    from llmroute.ledger.attempt_row import CostBasis
    from llmroute.routing.token_estimate import PromptSize
    from llmroute.types import ModelConfig, Price, Prompt

# How far beyond its bounds a usage is still believed: so many times, and for an answer's own limit so many tokens more.
SLACK = 2
SLACK_TOKENS = 256
# The window of a model of which none is known: larger than any there is.
UNKNOWN_WINDOW = 4_000_000
# How often a provider may have used one of its own tools for one answer.
MOST_TOOL_USES = 1_000
GAVE_UP_STATUSES = frozenset((408, 460, 499, 504, 520, 522, 524, 598, 599))
"""A gateway before the provider waited no longer, or lost the answer: what the provider did is not known.

408 and 504 as in RFC 9110, 499 of nginx, 460 of AWS, 520, 522 and 524 of Cloudflare, 598 and 599 of other proxies.
"""
GAVE_UP_CODE = "timeout_error"
"""Anthropic's name of the error of a 504, also inside an answer with status 200."""


class Sent(NamedTuple):
    """The request that was sent, and its worst case.  `prompt` is as the model received it: fitted and adapted.

    `reserved_picousd` is the worst case, None where the price is unknown; `bound` says that a budget counts it.
    """

    prompt: Prompt
    size: PromptSize
    model: ModelConfig
    price: Price | None
    reserved_picousd: int | None
    bound: bool
    expected_output_tokens: int


class Settlement(NamedTuple):
    """The usage and cost of an attempt as they are written; `doubt` is a warning about them.

    `price` is the one that the cost is at, and `service` what else set it; without a tier in the answer, with the
    requested one.
    """

    usage: Usage = Usage()
    cost_picousd: int | None = 0
    basis: CostBasis = "reported"
    doubt: str | None = None
    price: Price | None = None
    service: Service = Service()


UNSENT = Settlement()
"""Nothing was sent, or the provider answered that it did nothing."""


def settle(sent: Sent, seen: Completion | None) -> Settlement:
    """Return the outcome of an attempt; `seen` is the part of its answer that was received, None without its beginning.

    A usage that is the provider's last word is a fact, also of an answer that is of no use.  Else the provider may have
    billed all that was allowed: under a budget that is what counts, without one a guess.
    `ledger.sqlite.maintenance.orphans.lose` has the same rule, in SQL, for an attempt whose process died.
    """
    usage, service = Usage() if seen is None else seen.usage, _service(sent, seen)
    if seen is None or not seen.usage_final or usage.input_tokens is None or usage.output_tokens is None:
        return _unknown(sent, _estimated(sent, seen), service.tier)
    searched = max((count for _, count in seen.service.tools), default=0)
    if searched > MOST_TOOL_USES or not is_plausible(seen, sent):
        guess = _estimated(sent, seen._replace(usage=Usage()))
        cached = f" ({usage.cached_input_tokens:,} cached)" if usage.cached_input_tokens else ""
        reported = f"{usage.input_tokens:,} input{cached} and {usage.output_tokens:,} output tokens"
        doubt = f"reports {reported}, which cannot be; they are not counted"
        return _unknown(sent, replace(guess, source="implausible"), service.tier)._replace(doubt=doubt)
    silent = seen.service.tier is None and sent.prompt.tier not in (None, "standard")
    cost, exact, price = priced(usage, sent.price, service)
    # An answer that does not say by which tier it was served is priced by the requested one.
    basis = "estimated" if silent and exact else _basis(price, exact=exact)
    return Settlement(usage, cost, basis, _above(cost, sent), price, service)


def _service(sent: Sent, seen: Completion | None) -> Service:
    """Return the price factors beside the usage: as the answer reports them, else with the requested tier."""
    reported = Service() if seen is None else seen.service
    return reported if reported.tier is not None else reported._replace(tier=sent.prompt.tier)


def _basis(price: Price | None, *, exact: bool) -> CostBasis:
    if not exact:
        return "at_least"
    return "reported" if price is None or price.doubt is None else price.doubt


def _unknown(sent: Sent, guess: Usage, tier: str | None) -> Settlement:
    """Settle a call of unknown end: at its reservation where a budget bound it, else at what it has probably cost.

    `_LOSE` in ledger/sqlite/maintenance/orphans.py is the same rule in SQL, for the rows of processes that died.
    """
    reserved, service = sent.reserved_picousd, Service(tier)
    if reserved == 0:
        # Where nothing costs anything, nothing is unknown.
        return Settlement(guess, 0, service=service)
    cost, _, price = priced(guess, sent.price, service)
    if sent.bound and reserved is not None:
        return Settlement(guess, reserved, "at_most", price=price, service=service)
    if cost is not None and reserved is not None:
        cost = min(cost, reserved)
    return Settlement(guess, cost, "estimated", price=price, service=service)


def _estimated(sent: Sent, seen: Completion | None) -> Usage:
    """Return the probable usage of a call: that of the received text, without its end at least the expected usage."""
    reported = Usage() if seen is None else seen.usage
    written = 0 if seen is None else estimated_tokens(seen.text + seen.thinking)
    if seen is None or not (seen.usage_final or seen.finish_reason):
        # Its end was not seen: more may have been written, or thought before the text.
        written = max(written, sent.expected_output_tokens)
    most = sent.prompt.max_tokens
    return Usage(
        input_tokens=sent.size.expected_input if reported.input_tokens is None else reported.input_tokens,
        cached_input_tokens=reported.cached_input_tokens,
        cache_write_tokens=reported.cache_write_tokens,
        output_tokens=max(written if most is None else min(written, most), reported.output_tokens or 0),
        reasoning_tokens=reported.reasoning_tokens,
        cache_write_1h_tokens=reported.cache_write_1h_tokens,
        source="estimated",
    )


def is_plausible(seen: Completion, sent: Sent) -> bool:
    """Whether a reported usage is plausible for the answer that was received.

    The prompt is within the model's window, or within its own bound of a token for each byte, whichever is more: a
    gateway may put a system prompt or tools before it.  The answer is within the `max_tokens` that was sent, else
    within the model's longest one, or else its window.  Twice as much is let pass, for a catalogue may be behind and a
    server may sum up the rounds of its own tools; beyond `max_tokens` 256 tokens more, for marks and hidden reasoning.

    An answer with text, thinking or a tool call has tokens, and what a cache gave or took is part of the prompt.  A
    prompt may be of none: Ollama does not count one that it has read before.
    """
    usage, model, max_tokens = seen.usage, sent.model, sent.prompt.max_tokens
    window = model.context_window or UNKNOWN_WINDOW
    longest = max_tokens or model.max_output or window
    most_output = SLACK * longest + (SLACK_TOKENS if max_tokens else 0)
    inputs = (usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens)
    outputs = (usage.output_tokens, usage.reasoning_tokens)
    if max(count or 0 for count in inputs) > SLACK * max(window, sent.size.worst_input):
        return False
    if min(count or 0 for count in inputs) < 0 or not all(0 <= (count or 0) <= most_output for count in outputs):
        return False
    return not _is_too_little(seen)


def _is_too_little(seen: Completion) -> bool:
    usage = seen.usage
    prompt_tokens, answer_tokens = usage.input_tokens or 0, usage.output_tokens or 0
    of_cache = max((usage.cached_input_tokens or 0) + (usage.cache_write_tokens or 0), usage.cache_write_1h_tokens or 0)
    answered = bool(seen.text or seen.thinking or seen.tool_calls)
    return (answered and answer_tokens == 0) or of_cache > prompt_tokens


def _above(cost: int | None, sent: Sent) -> str | None:
    """Return the warning that a reported usage is above the possible maximum."""
    if cost is None or sent.reserved_picousd is None or cost <= sent.reserved_picousd:
        return None
    from llmroute.types import PICO_PER_USD

    return (
        f"reports more usage than the request allowed: {cost / PICO_PER_USD:.6f} USD where at most"
        f" {sent.reserved_picousd / PICO_PER_USD:.6f} were possible"
    )


def did_nothing(error: AttemptError, status: int | None, seen: Completion | None) -> bool:
    """Whether the provider answered that it does nothing, which costs nothing; `status` is that of its answer.

    It may say so with an error status, or with an error in place of an answer; an error after the beginning of one
    leaves open how much was written before it, and so does a gateway that did not wait for the answer.
    """
    if error.usage is not None or error.http_status in GAVE_UP_STATUSES or error.code == GAVE_UP_CODE:
        return False
    if is_refusal(status):
        return True
    unknown = isinstance(error, ProviderTimeoutError | UnreachableError | BadOutputError)
    return not unknown and seen in (None, Completion())


def is_refusal(status: int | None) -> bool:
    """Whether a status says that nothing was done."""
    if status is None or status in GAVE_UP_STATUSES:
        return False
    return not 200 <= status < 300  # noqa: PLR2004 (statuses of HTTP)
