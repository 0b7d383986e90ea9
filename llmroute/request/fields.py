"""The declaration of a request's fields, and the checks that derive from it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from os import PathLike
from typing import Any, Final, NamedTuple

from llmroute.errors import RequestError
from llmroute.text.option_text import OptionText, Remedy
from llmroute.text.suggest import nearest
from llmroute.types import AnswerSchema, Attachment, Message


class Kind(NamedTuple):
    """A kind of value: a check, its name in messages, and its types as a command-line flag and in a JSON line."""

    accepts: Callable[[object], bool]
    expected: str
    flag_type: Any
    json_type: Any


def is_text(value: object) -> bool:
    """Whether a value is text."""
    return isinstance(value, str)


def is_number(value: object) -> bool:
    """Whether a value is a number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_text_list(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, tuple | list) and all(map(is_text, value)))


def _is_message_list(value: object) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(each, Message | Mapping) for each in value)


def _is_attachment_list(value: object) -> bool:
    kinds = (str, PathLike, bytes, bytearray, memoryview, Attachment)
    return isinstance(value, tuple | list) and all(isinstance(each, kinds) for each in value)


def _is_schema(value: object) -> bool:
    return isinstance(value, AnswerSchema | Mapping | str | type)


TEXT: Final = Kind(is_text, "text", str, str)
NUMBER: Final = Kind(is_number, "a number", float, float)
INTEGER: Final = Kind(_is_integer, "an integer", int, int)
BOOL: Final = Kind(_is_bool, "True or False", bool, bool)
TEXTS: Final = Kind(_is_text_list, "text or a list of texts", list[str], str | list[str])
SCHEMA: Final = Kind(
    _is_schema, "a JSON Schema, the short form of one, or a pydantic model class", str, dict[str, Any] | str
)
CHECK: Final = Kind(callable, "a function", str, None)
MESSAGES: Final = Kind(
    _is_message_list, 'a list of messages like {"role": "user", "content": "text"}', None, list[dict[str, str]]
)

ATTACHMENTS: Final = Kind(_is_attachment_list, "a list of paths, URLs, bytes or Attachments", list[str], list[str])


class RequestField(NamedTuple):
    """The declaration of one field of a request beside its type.

    The flag is `--` and `flag`, or the name of the field, with hyphens; it does not exist where `help` is empty.
    """

    kind: Kind
    help: str = ""
    """The description of the flag in `llmroute gen --help`."""
    panel: str = ""
    """The group of flags in the help that it stands in."""
    flag: str = ""
    """The name of the flag as a Python name, and a second name in a line of a batch, where it is not the field's."""
    short: str = ""
    """A short form of the flag: `-m`."""
    negates: bool = False
    """Whether the flag, given, means False."""
    choices: tuple[str, ...] = ()
    between: tuple[float, float] | None = None
    unit: str = ""
    is_prompt_text: bool = False
    """Whether models read the value, so that on the command line it is in the encoding of the prompt."""
    streaming_only: bool = False
    """Whether only streamed requests have the field: neither `gen` nor a batch."""
    complete_only: bool = False
    """Whether only complete responses have the field: `gen` and a batch, but not `stream`."""

    @property
    def in_lines(self) -> bool:
        """Whether a line of a batch may have the field."""
        return not self.streaming_only and self.kind.json_type is not None

    @property
    def long_flag(self) -> str:
        """The flag as it is typed: `--max-latency`."""
        return f"--{self.flag.replace('_', '-')}"

    def check(self, option: str, value: Any) -> None:
        """Raise a RequestError unless a value of the right kind is one of the choices, or within the range."""
        if self.choices:
            for each in (value,) if value is None or isinstance(value, str) else value:
                require_one_of(option, each, self.choices)
        if self.between:
            check_range(option, value, *self.between, self.unit)


def declare(kind: Kind, help: str = "", *, default: object = None, **settings: Any) -> Any:  # noqa: A002 (as typer)
    """Return a dataclass field; `settings` are fields of `RequestField`."""
    return field(default=default, metadata={"request": RequestField(kind, help, **settings)})


def require_one_of(option: str, value: str | None, allowed: Iterable[str]) -> None:
    """Check that the value of an option is one of those allowed, or None.

    Raises:
        RequestError: it is not; the hint names the most similar one.
    """
    words = tuple(allowed)
    if value is None or value in words:
        return
    near = nearest(str(value).lower(), words)
    raise RequestError(
        OptionText(Remedy(option), f": {value!r} is not {'one of ' * (len(words) > 1)}{', '.join(words)}"),
        hint=f"did you mean {near}?" if near else None,
        option=option,
    )


def check_range(option: str, value: float | None, least: float, most: float, unit: str = "") -> None:
    """Check that the value of an option is a number within its range, or None.

    Raises:
        RequestError: it is not.
    """
    if value is None:
        return
    if not is_number(value):
        raise RequestError(OptionText(Remedy(option), f": {printable(value)} is not a number"), option=option)
    if not least <= value <= most:
        figure = f"{value:g}" if isinstance(value, float) or abs(value) < 10**300 else _HUGE
        expected = f"between {least:,} and {most:,}{' ' if unit else ''}{unit}"
        raise RequestError(OptionText(Remedy(option), f": {figure} is not {expected}"), option=option)


_HUGE = "a number with over 300 digits"


def printable(value: object) -> str:
    """Return a value of the wrong kind as messages quote it, shortened."""
    import reprlib

    try:
        return reprlib.repr(value)
    except ValueError:
        return _HUGE  # Python does not print integers of thousands of digits.
