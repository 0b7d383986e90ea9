"""Turns what a provider says went wrong into one of our errors: one line, no key in it, and what the table needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llmroute.errors import (
    AttemptError,
    AuthenticationError,
    BadOutputError,
    ContextLengthError,
    ModelGoneError,
    ParameterError,
    QuotaError,
    UnreachableError,
)
from llmroute.providers.errors.retry_after import parse_retry_after, parse_should_retry
from llmroute.providers.errors.rules import ErrorDetails, ErrorRule, classify, parameter
from llmroute.providers.wire import lenient_json
from llmroute.text.redaction import MARK, Redaction, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmroute.types import Usage

MAX_MESSAGE = 500
MAX_SAID = 4_000
"""How much of a message is looked at; a prompt that it repeats is not searched for reasons."""
MAX_BODY = 4 * 1024 * 1024
MAX_PAGE = 16 * 1024
MAX_ID = 200
ERROR_STATUSES = range(400, 600)
NOTHING_SECRET = Redaction()

REQUEST_IDS = ("request-id", "x-request-id", "mistral-correlation-id", "x-kong-request-id", "cf-ray")

HINTS: dict[type[AttemptError], str] = {
    AuthenticationError: "check {key_variable} and what the key may do",
    QuotaError: "add credit at the provider, or raise the limit of the key",
    ModelGoneError: "see `llmroute models`; where every model is missing, check the provider's base URL",
    UnreachableError: "check the provider's base URL: it answers with a redirect, and redirects are not followed",
    ContextLengthError: "shorten the prompt, or choose a model with a larger window",
}

_KEYLIKE = re.compile(
    r"\b(?:sk|rk|pk|sess|tgp_v\d)[-_][\w.*\-…]+"
    r"|(?<=\bbearer )\S+"
    r"|(?<=\bprovided: )\S+(?=\. |\.?$)"
    r"|[^\s\"'`]{0,64}\*{3,}[^\s\"'`.]*"
    r"|\b(?=[A-Za-z]*\d)[A-Za-z0-9]{32,}\b",
    re.IGNORECASE,
)


class ErrorParser:
    """One provider's errors.  `rules` are its own, asked before the common table; `redaction` hides what it echoes.

    `parse_usage` reads the usage that an error may carry, in the provider's format; without it none is read.
    """

    def __init__(
        self,
        provider: str,
        redaction: Redaction = NOTHING_SECRET,
        rules: tuple[ErrorRule, ...] = (),
        parse_usage: Callable[[dict[str, Any]], Usage] | None = None,
    ) -> None:
        self.provider = provider
        self.redaction = redaction
        self.rules = rules
        self._parse_usage = parse_usage

    def from_response(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
        """Say what an answer with an error status means."""
        told = _parse(body)
        evidence = _evidence(status, told) if told else ErrorDetails(status, message=_plain(body))
        error = self._error(evidence, status)
        error.usage = self._usage(told)
        error.request_id = self._request_id(headers, told)
        error.retry_after_s = parse_retry_after(status, headers)
        error.should_retry = parse_should_retry(headers)
        return error

    def in_band(self, told: object) -> AttemptError:
        """Say what an error object inside an answer with status 200 means."""
        body = told if isinstance(told, dict) else {"error": told}
        status = _status_within(body)
        error = self._error(_evidence(status, body), status)
        error.usage = self._usage(body)
        error.request_id = self._request_id({}, body)
        return error

    def read_answer(self, body: bytes, what: str = "the answer") -> Any:
        """Read the JSON of an answer with status 200.

        Raises:
            AttemptError: it is no JSON, or an error in spite of its status.
        """
        try:
            told = lenient_json.read(body)
        except ValueError:
            raise self.unreadable(f"{what} is not JSON") from None
        if isinstance(told, dict) and is_error(told):
            raise self.in_band(told)
        return told

    def unreadable(self, what: str) -> BadOutputError:
        """Say that an answer cannot be read."""
        return BadOutputError(what, provider=self.provider)

    def _error(self, evidence: ErrorDetails, status: int | None) -> AttemptError:
        told = evidence.message
        evidence = evidence._replace(message=one_line(told[:MAX_SAID]))
        kind = classify(evidence, self.rules)
        code = evidence.codes[0] if evidence.codes else None
        if kind is ParameterError:
            code = parameter(evidence) or evidence.param or code
        message = self._redact(told) or (f"status {status}" if status else "an error without a message")
        return kind(
            message,
            provider=self.provider,
            http_status=status,
            code=self._redact(code) if code else None,
            hint=HINTS.get(kind, "").format(key_variable=f"{self.provider.upper()}_API_KEY") or None,
        )

    def _usage(self, body: dict[str, Any]) -> Usage | None:
        told = lenient_json.mapping(body.get("usage") or lenient_json.mapping(body.get("error")).get("usage"))
        usage = self._parse_usage(told) if self._parse_usage and told else None
        return None if usage is None or None in (usage.input_tokens, usage.output_tokens) else usage

    def _request_id(self, headers: Mapping[str, str], body: dict[str, Any]) -> str | None:
        said = [body.get("request_id"), *(headers.get(name) for name in REQUEST_IDS), body.get("id")]
        found = next((value for value in said if isinstance(value, str) and value.strip()), None)
        return None if found is None else self.redaction.line(found, MAX_ID)

    def _redact(self, message: str) -> str:
        message = _KEYLIKE.sub(MARK, self.redaction.line(message, MAX_SAID))
        return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def is_error(told: dict[str, Any]) -> bool:
    """Whether what came in place of an answer is an error, in the form of any provider."""
    if told.get("error") or told.get("type") == "error" or told.get("object") in ("error", "Error"):
        return True
    bare = isinstance(told.get("message") or told.get("detail"), str)
    return bare and not {"choices", "content", "data", "models", "response"} & told.keys()


def _status_within(body: dict[str, Any]) -> int | None:
    sources = (lenient_json.mapping(body.get("error")), body)
    codes = [str(source.get(key)) for source in sources for key in ("code", "status", "status_code")]
    numbers = (int(code) for code in codes if len(code) == 3 and code.isascii() and code.isdecimal())  # noqa: PLR2004
    return next((number for number in numbers if number in ERROR_STATUSES), None)


def _parse(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_BODY:
        return {}
    try:
        return lenient_json.mapping(lenient_json.read(body))
    except ValueError:
        return {}


def _evidence(status: int | None, body: dict[str, Any]) -> ErrorDetails:
    """Read an error body in any of the shapes that were seen: `error` an object or a text, or no `error` at all."""
    inner = body.get("error")
    source = inner if isinstance(inner, dict) else body
    said = source.get("message") or source.get("detail") or (inner if isinstance(inner, str) else None)
    said = _unwrap(said if said is not None else body.get("message", body.get("detail")))
    faults = lenient_json.objects(said)
    codes = [source.get("code"), source.get("type"), source.get("type_"), *(fault.get("type") for fault in faults)]
    param = source.get("param") or next((_place(fault)[-1] for fault in faults if _place(fault)), None)
    return ErrorDetails(
        status,
        tuple(
            str(code) for code in codes if isinstance(code, (str, int)) and not isinstance(code, bool) and code != ""
        ),
        param if isinstance(param, str) else None,
        said if isinstance(said, str) else "; ".join(filter(None, map(_fault_text, faults))) or _anything(said),
    )


def _unwrap(said: object) -> object:
    """Take the message out of the wrappings that Mistral puts round it: JSON in a text, `detail` in an object."""
    if isinstance(said, str) and said[:1] in ("{", "["):
        try:
            said = lenient_json.read(said)
        except ValueError:
            return said
    if isinstance(said, dict):
        return said.get("detail") or said.get("message") or said
    return said


def _place(fault: dict[str, Any]) -> list[str]:
    return [str(part) for part in lenient_json.items(fault.get("loc"))]


def _fault_text(fault: dict[str, Any]) -> str:
    return ": ".join(filter(None, (".".join(_place(fault)), lenient_json.text(fault.get("msg")))))


def _anything(said: object) -> str:
    return str(said) if said else ""


def _plain(body: bytes) -> str:
    """Return the text of a body that is not JSON: a gateway's page is its title, or its words without the tags."""
    said = body[:MAX_PAGE].decode("utf-8", "replace")
    if not said.lstrip("\ufeff \t\r\n").startswith("<"):
        return said
    title = re.search(r"<title[^<>]*>([^<]*)", said, re.IGNORECASE)
    if title and title[1].strip():
        said = title[1]
    else:
        said = re.sub(r"<[^<>]*>", " ", re.sub(r"(?is)<(script|style)\b.*?</\1\s*>", " ", said))
    from html import unescape

    return unescape(said)
