"""The error for several attempts that failed: it names all of them, and can be caught as what the last of them was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.errors import AllProvidersFailedError, LLMRouteError, remade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.errors import AttemptError
    from llmroute.types import AttemptRecord

_CLASSES: dict[type[AttemptError], type[AllProvidersFailedError]] = {}


def all_failed(
    message: str, failures: Sequence[AttemptError], *, hint: str | None, attempts: Sequence[AttemptRecord]
) -> AllProvidersFailedError:
    """Return the error for failures in their order: an AllProvidersFailedError and an instance of the last one's class.

    It has the fields of the last failure and exits as that does.  `retry_after_s`, if all failures are of one class, is
    the shortest of theirs.
    """
    last = failures[-1]
    error = _class_for(type(last))(message, exit_code=last.exit_code, hint=hint, attempts=attempts)
    of_all = vars(LLMRouteError(""))
    vars(error).update({name: value for name, value in vars(last).items() if name not in of_all})
    if len({type(failure) for failure in failures}) == 1:
        waits_s = [failure.retry_after_s for failure in failures if failure.retry_after_s is not None]
        vars(error).update(retry_after_s=min(waits_s, default=None))
    return error


def _class_for(last: type[AttemptError]) -> type[AllProvidersFailedError]:
    """Return the class of errors that are both; made when it is first needed, for few programs need more than one."""
    if last not in _CLASSES:
        body = {
            "__module__": AllProvidersFailedError.__module__,
            "__doc__": AllProvidersFailedError.__doc__,
            "__reduce__": lambda error: (_remade, (last, error.args), vars(error)),
        }
        # Two threads may both make it: the first one's is kept.
        _CLASSES.setdefault(last, type(AllProvidersFailedError.__name__, (AllProvidersFailedError, last), body))
    return _CLASSES[last]


def _remade(last: type[AttemptError], args: tuple[Any, ...]) -> LLMRouteError:
    return remade(_class_for(last), args)
