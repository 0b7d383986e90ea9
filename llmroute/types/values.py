"""What frozen dataclasses of the house have in common."""

from typing import Any


class Value:
    """What dataclasses are equal, hashed and shown by, written once: made for each of them it doubles their cost."""

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Value) or type(other) is not type(self):
            return NotImplemented
        return self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self._facts())

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({told})"

    def _facts(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__match_args__)


class Answered(Value):
    """A part of an answer, which is data: FastAPI, pydantic and `dataclasses` see a mapping of its fields."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by their names as plain data that `json.dumps` takes: parts as dicts, tuples as lists."""
        return {name: _plain(getattr(self, name)) for name in self.__match_args__}


def _plain(value: object) -> object:
    if isinstance(value, Answered):
        return value.as_dict()
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
