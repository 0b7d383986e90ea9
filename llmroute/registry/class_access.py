"""Methods of the registry that answer on its class as on an instance."""

from __future__ import annotations

from functools import wraps
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from llmroute import defaults

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class answers_on_class(Generic[P, T]):  # noqa: N801 (a decorator)
    """A method that may be called on the class too: the user's own registry answers then.

    Nothing is read until it is called.
    """

    def __init__(self, method: Callable[Concatenate[Any, P], T]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, instance: object | None, owner: type) -> Callable[P, T]:
        """Bind the method to the instance, or to the user's own registry at the time of the call."""
        return self._of_own_registry() if instance is None else MethodType(self._method, instance)

    def _of_own_registry(self) -> Callable[P, T]:
        from inspect import signature

        method = self._method

        @wraps(method)
        def answer(*args: P.args, **kwargs: P.kwargs) -> T:
            return method(defaults.own_registry(), *args, **kwargs)

        asked = signature(method)
        without_self = asked.replace(parameters=list(asked.parameters.values())[1:])
        answer.__signature__ = without_self  # type: ignore[attr-defined]
        return answer
