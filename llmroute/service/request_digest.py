"""The digest of requests, by which a later call finds the batch jobs of an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from os import PathLike, fspath
from typing import TYPE_CHECKING

from llmroute.jobs.line_schemas import class_name
from llmroute.types.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.errors import LLMRouteError
    from llmroute.request.options import Options


def digest_of(requests: Iterable[Options | LLMRouteError]) -> str:
    """Return a digest of requests in their order; the same in every process.

    An attachment by path counts with its path, a class with its name, and an invalid request as such.
    """
    digest = sha256()
    for request in requests:
        text = _text(request).encode(errors="surrogatepass")
        digest.update(b"%d:" % len(text) + text)
    return digest.hexdigest()


def _text(value: object) -> str:
    """Return a text that differs where values differ."""
    if isinstance(value, Value):
        given = {name: getattr(value, name) for name in value.__match_args__}
        # Fields without a value are left out, so that a new one changes no digest.
        return type(value).__name__ + _text({name: each for name, each in given.items() if not _is_absent(each)})
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{_text(key)}:{_text(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, bytes | bytearray):
        return f"bytes {sha256(value).hexdigest()}"
    if isinstance(value, type):
        return f"class {class_name(value)}"
    if isinstance(value, PathLike):
        return f"path {fspath(value)!r}"
    # The text of another object may hold its address.
    return repr(value) if isinstance(value, str | int | float | None) else class_name(type(value))


def _is_absent(value: object) -> bool:
    return value is None or value is False or value == ()
