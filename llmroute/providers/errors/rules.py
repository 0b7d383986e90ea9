"""The table from error responses to error classes. The body decides first, the status second.

A code decides where a provider sends one.  Words are for errors that providers send without a code, or with one that
says only `invalid_request_error`: there the message is the only sign.  They are here, and those that one provider alone
uses in its own module; everything else decides by the class and the fields of an error.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from llmroute.errors import (
    AttemptError,
    AuthenticationError,
    BadRequestError,
    ContentError,
    ContextLengthError,
    ModelGoneError,
    ParameterError,
    QuotaError,
    RateLimitError,
    TransientError,
    UnreachableError,
)

IN_BAND = 400
"""An error inside an answer has no status; it is classified like a 400."""


class ErrorDetails(NamedTuple):
    """The fields of an error response: status (None inside a stream), codes, rejected parameter, message."""

    status: int | None
    codes: tuple[str, ...] = ()
    param: str | None = None
    message: str = ""


class ErrorRule(NamedTuple):
    """An error class and its signs: a code, words in the message, or a status that suffices alone.

    `only` limits codes and words to some statuses.
    """

    error: type[AttemptError]
    codes: str = ""
    words: str = ""
    only: tuple[int, ...] = ()
    statuses: tuple[int, ...] = ()


RULES: tuple[ErrorRule, ...] = (
    ErrorRule(
        QuotaError,
        codes=r"insufficient_quota|billing_error|billing_not_active|billing_hard_limit_reached"
        r"|credit_balance_exhausted|enforced_spend_limit_reached|\w+_(spend|usage)_limit_(exceeded|reached)",
        words=r"exceeded your current quota|credit balance is too low|insufficient (funds|credits?|balance|quota)"
        r"|out of credits?|(usage|spend|spending|credit|billing) (hard )?limits?\b(?! per)",
        only=(400, 402, 403, 429),
        statuses=(402,),
    ),
    ErrorRule(
        ContextLengthError,
        codes=r"context_length_exceeded|exceed_context_size_error|request_too_large|string_above_max_length"
        r"|context_window_exceeded|model_context_window_exceeded|prompt_too_long",
        words=r"(prompt|input|request) (is )?too (long|large)|maximum context|max context"
        r"|context[ _-]?(length|window|size|limit)"
        r"|inputs?`? tokens? \+ `?max_new_tokens|input tokens exceed|too large for model"
        r"|longer than the context|exceeds? the maximum size",
        statuses=(413,),
    ),
    ErrorRule(
        ContentError,
        codes=r"content_filter|content_policy_violation|content_moderation|moderation_blocked|responsible_ai_policy_violation",
        words=r"content (management |usage )?policy|content filter(ing)?\b|flagged (by|as|for)\b|safety system",
        only=(400, 403, 422),
    ),
    ErrorRule(
        ModelGoneError,
        codes=r"model_not_found|model_not_available|dedicated_endpoint_not_running|invalid_model|unknown_model"
        r"|model_deprecated|model_not_supported|model_terminated",
        words=r"non-serverless|invalid model\b|unknown model\b"
        r"|model\b.{0,200}\b(not found|does not exist|doesn't exist)"
        r"|model\b.{0,200}\bhas been (deprecated|retired|shut down|decommissioned|removed)|not a chat model",
        only=(400, 403, 404, 410, 422),
    ),
    ErrorRule(AuthenticationError, codes=r"invalid_api_key|authentication_error|permission_error|invalid_organization"),
    ErrorRule(
        RateLimitError,
        codes=r"rate_limit|rate_limit_exceeded|rate_limit_error|rate_limited|slow_down|too_many_requests"
        r"|dynamic_request_limited|dynamic_token_limited",
        words=r"rate limit|rate-limit|too many requests|service tier capacity exceeded"
        r"|maximum pending requests|server busy|enqueued token limit",
        only=(400, 403, 429, 503),
        statuses=(429,),
    ),
    ErrorRule(
        ParameterError,
        codes=r"unsupported_parameter|unsupported_value|unknown_parameter|invalid_parameter_combination|extra_forbidden"
        r"|(integer|decimal|number|array)_(above|below)_(max|min)_\w+",
        words=r"\b(unsupported|unknown|unrecognized) (request )?(parameter|value|argument)"
        r"|not supported (in|with|by|for) this model|does(n't| not) support\b|extra inputs are not permitted"
        r"|deprecated for this model|maximum allowed number of output tokens|this model supports at most",
        only=(400, 404, 422),
    ),
    ErrorRule(AuthenticationError, statuses=(401, 403)),
    ErrorRule(ModelGoneError, statuses=(404, 410)),
    ErrorRule(TransientError, statuses=(408, 409, 425, 499)),
)

PARAMETERS = frozenset(
    {
        "temperature",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "stop_sequences",
        "reasoning_effort",
        "reasoning",
        "thinking",
        "output_config",
        "think",
        "stream_options",
        "num_ctx",
        "num_predict",
        "response_format",
        "output_format",
        "format",
    }
)
"""The parameters of ours that a model may reject; any other rejected parameter is the caller's."""

_MAXIMUM = re.compile(
    r"(?:[><]=?|at most|up to|less than(?: or equal to)?|maximum(?: value| allowed)?(?: of| is| value is)?|exceeds?)"
    r"\s*:?\s*(?P<maximum>\d[\d,_]*)",
    re.IGNORECASE,
)
_NOT_TAKEN = re.compile(
    r"unsupported|not supported|unknown|unrecognized|not permitted|unexpected|\buse\b", re.IGNORECASE
)
_NAMED = re.compile(rf"""^[`'"]?(?P<param>{"|".join(sorted(PARAMETERS))})(?:\.\w+)*[`'"]?(?=[\s:])""")


def classify(evidence: ErrorDetails, rules: tuple[ErrorRule, ...] = ()) -> type[AttemptError]:
    """Return the class of the first rule that matches: the provider's own `rules`, then the common table."""
    for rule in (*rules, *RULES):
        if _matches(rule, evidence) or evidence.status in rule.statuses:
            return rule.error
        if rule.error is ParameterError and evidence.status in (400, 422) and parameter(evidence):
            return ParameterError
    return _by_status(evidence.status)


def parameter(evidence: ErrorDetails) -> str | None:
    """Return the parameter of ours that was rejected; None where it is another or unknown."""
    if evidence.param and re.split(r"[.\[]", evidence.param)[0] in PARAMETERS:
        return evidence.param
    named = _NAMED.match(evidence.message)
    return named["param"] if named else None


def maximums(message: str) -> tuple[int, ...]:
    """Return the numbers that a message names as the largest ones allowed."""
    return tuple(int(re.sub(r"[,_]", "", match["maximum"])) for match in _MAXIMUM.finditer(message))


def is_unsupported(message: str) -> bool:
    """Whether a message about a parameter says that the parameter itself is not supported."""
    return _NOT_TAKEN.search(message) is not None


def _matches(rule: ErrorRule, evidence: ErrorDetails) -> bool:
    if rule.only and (evidence.status or IN_BAND) not in rule.only:
        return False
    if rule.codes and any(re.fullmatch(rule.codes, code) for code in evidence.codes):
        return True
    return bool(rule.words and re.search(rule.words, evidence.message, re.IGNORECASE))


def _by_status(status: int | None) -> type[AttemptError]:
    if status is None or status >= 500:  # noqa: PLR2004
        return TransientError
    return UnreachableError if status < 400 else BadRequestError  # noqa: PLR2004
