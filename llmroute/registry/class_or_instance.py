"""A decorator for registry methods that can be called on the class as well as on an instance."""

from __future__ import annotations

from functools import wraps
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from llmroute import defaults

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class class_or_instance_method(Generic[P, T]):  # noqa: N801 (a decorator)
    """A method that runs on the user's default registry when it is called on the class.

    The default registry is read on the first call, not when the method is looked up.
    """

    def __init__(self, method: Callable[Concatenate[Any, P], T]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, instance: object | None, owner: type) -> Callable[P, T]:
        """Bind the method to the instance, or to the registry that is the default at the time of the call."""
        return self._on_default_registry() if instance is None else MethodType(self._method, instance)

    def _on_default_registry(self) -> Callable[P, T]:
        from inspect import signature

        method = self._method

        @wraps(method)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return method(defaults.own_registry(), *args, **kwargs)

        full = signature(method)
        without_self = full.replace(parameters=list(full.parameters.values())[1:])
        call.__signature__ = without_self  # type: ignore[attr-defined]
        return call
