"""What kind of value each option of a request takes."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from llmroute.types import Message

# What stands where a list may, and need not be kept in a tuple: it can be read again, or is refused.
READ_AT_WILL: Final = (type(None), tuple, list, str, bytes, bytearray, Mapping)


def is_text(value: object) -> bool:
    """Whether a value is text."""
    return isinstance(value, str)


def is_number(value: object) -> bool:
    """Whether a value is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _are_texts(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, tuple | list) and all(map(is_text, value)))


def _are_messages(value: object) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(each, Message | Mapping) for each in value)


class Kind(NamedTuple):
    """A kind of value: whether one fits, and what is expected, in words."""

    fits: Callable[[object], bool]
    expected: str


_TEXT = Kind(is_text, "text")
_NUMBER = Kind(is_number, "a number")
_WHOLE = Kind(_is_whole, "a whole number")
_FLAG = Kind(_is_flag, "True or False")
_TEXTS = Kind(_are_texts, "text or a list of texts")
_MESSAGES = Kind(_are_messages, 'a list of messages like {"role": "user", "content": "text"}')

KINDS: Final = {
    "prompt": _TEXT,
    "system": _TEXT,
    "messages": _MESSAGES,
    "provider": _TEXT,
    "model": _TEXT,
    "strategy": _TEXT,
    "chain": _TEXT,
    "fallback": _TEXTS,
    "fallback_on": _TEXT,
    "task_type": _TEXT,
    "required_capability": _TEXTS,
    "budget_remaining": _NUMBER,
    "worth_usd": _NUMBER,
    "on_budget": _TEXT,
    "max_latency_ms": _WHOLE,
    "min_quality": _WHOLE,
    "temperature": _NUMBER,
    "max_tokens": _WHOLE,
    "effort": _TEXT,
    "tier": _TEXT,
    "stop": _TEXTS,
    "timeout_s": _NUMBER,
    "workspace_id": _TEXT,
    "execution_id": _TEXT,
    "enable_fallback": _FLAG,
    "max_attempts": _WHOLE,
    "prefer_local": _FLAG,
    "local_only": _FLAG,
    "strict_params": _FLAG,
    "upgrade": _FLAG,
    "atomic": _FLAG,
}


def shown(value: object) -> str:
    """Return a value of the wrong kind as it is told of: in short."""
    import reprlib

    try:
        return reprlib.repr(value)
    except ValueError:
        # Of thousands of digits, which Python does not write out.
        return "so large a number"
