"""Parses error responses of providers: a message of one line without keys, and the codes for the rules."""

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
from llmroute.providers.errors.rules import ErrorDetails, ErrorRule, classify, is_unsupported, maximums, parameter
from llmroute.providers.wire import lenient_json
from llmroute.text.redaction import MARK, Redaction, one_line, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmroute.types import Usage

MAX_MESSAGE = 500
MAX_MESSAGE_CHARACTERS = 4_000
"""The length of a message that is examined; a prompt that it repeats is not searched for reasons."""
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
    """One provider's errors.

    `rules` are its own, applied before the common table; `redaction` hides secrets that it echoes.

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
        """Parse a response with an error status."""
        payload = _parse(body)
        evidence = _evidence(status, payload) if payload else ErrorDetails(status, message=_plain(body))
        error = self._error(evidence, status)
        error.usage = self._usage(payload)
        error.request_id = self._request_id(headers, payload)
        error.retry_after_s = parse_retry_after(status, headers)
        error.should_retry = parse_should_retry(headers)
        return error

    def in_band(self, payload: object) -> AttemptError:
        """Parse an error object inside a response with status 200."""
        body = payload if isinstance(payload, dict) else {"error": payload}
        status = _status_within(body)
        error = self._error(_evidence(status, body), status)
        error.usage = self._usage(body)
        error.request_id = self._request_id({}, body)
        return error

    def read_answer(self, body: bytes, what: str = "the answer") -> Any:
        """Parse the JSON of a response with status 200.

        Raises:
            AttemptError: it is not JSON, or is an error despite its status.
        """
        try:
            payload = lenient_json.read(body)
        except ValueError:
            raise self.unreadable(f"{what} is not JSON") from None
        if isinstance(payload, dict) and is_error(payload):
            raise self.in_band(payload)
        return payload

    def unreadable(self, what: str) -> BadOutputError:
        """Return the error for a malformed answer."""
        return BadOutputError(what, provider=self.provider)

    def _error(self, evidence: ErrorDetails, status: int | None) -> AttemptError:
        text = evidence.message
        evidence = evidence._replace(message=one_line(text[:MAX_MESSAGE_CHARACTERS]))
        kind = classify(evidence, self.rules)
        code = evidence.codes[0] if evidence.codes else None
        if kind is ParameterError:
            code = parameter(evidence) or evidence.param or code
        message = self._redact(text) or (f"status {status}" if status else "an error without a message")
        error = kind(
            message,
            provider=self.provider,
            http_status=status,
            code=self._redact(code) if code else None,
            hint=HINTS.get(kind, "").format(key_variable=f"{self.provider.upper()}_API_KEY") or None,
        )
        if isinstance(error, ParameterError):
            error.maximums, error.unsupported = maximums(message), is_unsupported(message)
        return error

    def _usage(self, body: dict[str, Any]) -> Usage | None:
        usage_fields = lenient_json.mapping(body.get("usage") or lenient_json.mapping(body.get("error")).get("usage"))
        usage = self._parse_usage(usage_fields) if self._parse_usage and usage_fields else None
        return None if usage is None or None in (usage.input_tokens, usage.output_tokens) else usage

    def _request_id(self, headers: Mapping[str, str], body: dict[str, Any]) -> str | None:
        candidates = [body.get("request_id"), *(headers.get(name) for name in REQUEST_IDS), body.get("id")]
        found = next((value for value in candidates if isinstance(value, str) and value.strip()), None)
        return None if found is None else self.redaction.line(found, MAX_ID)

    def _redact(self, message: str) -> str:
        message = _KEYLIKE.sub(MARK, self.redaction.line(message, MAX_MESSAGE_CHARACTERS))
        return shortened(message, MAX_MESSAGE)


def is_error(payload: dict[str, Any]) -> bool:
    """Whether an object is an error instead of an answer, in the form of any provider."""
    if payload.get("error") or payload.get("type") == "error" or payload.get("object") in ("error", "Error"):
        return True
    bare = isinstance(payload.get("message") or payload.get("detail"), str)
    return bare and not {"choices", "content", "data", "models", "response"} & payload.keys()


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
    """Parse an error body in any known form: `error` an object or a text, or no `error` at all."""
    inner = body.get("error")
    source = inner if isinstance(inner, dict) else body
    content = source.get("message") or source.get("detail") or (inner if isinstance(inner, str) else None)
    content = _unwrap(content if content is not None else body.get("message", body.get("detail")))
    faults = lenient_json.objects(content)
    codes = [source.get("code"), source.get("type"), source.get("type_"), *(fault.get("type") for fault in faults)]
    param = source.get("param") or next((_place(fault)[-1] for fault in faults if _place(fault)), None)
    return ErrorDetails(
        status,
        tuple(
            str(code) for code in codes if isinstance(code, (str, int)) and not isinstance(code, bool) and code != ""
        ),
        param if isinstance(param, str) else None,
        content
        if isinstance(content, str)
        else "; ".join(filter(None, map(_fault_text, faults))) or _anything(content),
    )


def _unwrap(content: object) -> object:
    """Unwrap the message of a Mistral error: JSON in a text, `detail` in an object."""
    if isinstance(content, str) and content[:1] in ("{", "["):
        try:
            content = lenient_json.read(content)
        except ValueError:
            return content
    if isinstance(content, dict):
        return content.get("detail") or content.get("message") or content
    return content


def _place(fault: dict[str, Any]) -> list[str]:
    return [str(part) for part in lenient_json.items(fault.get("loc"))]


def _fault_text(fault: dict[str, Any]) -> str:
    return ": ".join(filter(None, (".".join(_place(fault)), lenient_json.text(fault.get("msg")))))


def _anything(content: object) -> str:
    return str(content) if content else ""


def _plain(body: bytes) -> str:
    """Return the text of a body that is not JSON: of an HTML page its title, or its text without the tags."""
    content = body[:MAX_PAGE].decode("utf-8", "replace")
    if not content.lstrip("\ufeff \t\r\n").startswith("<"):
        return content
    title = re.search(r"<title[^<>]*>([^<]*)", content, re.IGNORECASE)
    if title and title[1].strip():
        content = title[1]
    else:
        content = re.sub(r"<[^<>]*>", " ", re.sub(r"(?is)<(script|style)\b.*?</\1\s*>", " ", content))
    from html import unescape

    return unescape(content)
