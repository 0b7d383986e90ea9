"""Base classes of frozen dataclasses."""

from typing import Any


class Value:
    """Equality, hash and repr by the fields; generated for each dataclass, they double its definition time."""

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Value) or type(other) is not type(self):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({fields})"

    def _fields(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__match_args__)


class Answered(Value):
    """A part of a response; FastAPI, pydantic and `dataclasses` treat it as a mapping of its fields."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name as JSON-compatible data: parts as dicts, tuples as lists."""
        return {name: _as_json(getattr(self, name)) for name in self.__match_args__}


def _as_json(value: object) -> object:
    if isinstance(value, Answered):
        return value.as_dict()
    return [_as_json(each) for each in value] if isinstance(value, tuple) else value
