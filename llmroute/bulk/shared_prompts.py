"""Which requests of a batch begin alike, so that the beginning is worth a place in the provider's prompt cache.

A beginning is a system prompt and the first attachments.  It counts as shared once two requests have it that go to the
same models with the same effort and schema, which separate entries too.  One of them is sent first, the others
when it is answered: an entry exists only then.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from llmroute.request.options import Options
from llmroute.text.token_bounds import BYTES_PER_TOKEN, size_in_bytes
from llmroute.types import Attachment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from llmroute.types.attachment import AttachmentSource

Item = TypeVar("Item")

LEAST_TOKENS = 512
"""No provider caches a shorter beginning."""
MOST_BEGINNINGS = 4_096
AHEAD = 64
_MOST_CHARACTERS_AHEAD = 4_000_000


class SharedPart(NamedTuple):
    """The beginning that a request shares: its key, and how many attachments are in it.

    `certain` as in `CacheMark`.
    """

    key: int
    attachments: int
    certain: bool = False


class SharedPrompts:
    """Counts the beginnings of requests, and lets one request of each shared beginning go first."""

    def __init__(self) -> None:
        self._counts: OrderedDict[int, int] = OrderedDict()
        self._answered: dict[int, asyncio.Event] = {}

    def note(self, options: object) -> None:
        """Count the beginnings of a request of the batch."""
        if not isinstance(options, Options):
            return
        for part in _parts(options):
            self._counts[part.key] = self._counts.pop(part.key, 0) + 1
        while len(self._counts) > MOST_BEGINNINGS:
            self._counts.popitem(last=False)

    def part_of(self, options: Options) -> SharedPart | None:
        """Return the longest beginning that a request shares, None where there is none."""
        parts = _parts(options)
        if options.cache_prompt:
            return parts[-1]._replace(certain=True) if parts else None
        shared = [part for part in parts if self._counts.get(part.key, 0) > 1]
        return shared[-1] if shared else None

    async def leads(self, part: SharedPart) -> bool:
        """Return whether a request is the first of its beginning; wait for the answer of the first if it is not."""
        answered = self._answered.get(part.key)
        if answered is None:
            self._answered[part.key] = asyncio.Event()
            return True
        await answered.wait()
        return False

    def let_others_follow(self, part: SharedPart) -> None:
        """Release the requests that wait for the first one."""
        self._answered[part.key].set()


def read_ahead(items: Iterable[Item], note: Callable[[Item], int]) -> Iterator[Item]:
    """Yield items, each after `note` has seen those that follow it closely; it returns the length of an item."""
    waiting: deque[tuple[Item, int]] = deque()
    characters = 0
    for item in items:
        length = note(item)
        waiting.append((item, length))
        characters += length
        while len(waiting) > AHEAD or characters > _MOST_CHARACTERS_AHEAD:
            ready, length = waiting.popleft()
            characters -= length
            yield ready
    for ready, _ in waiting:
        yield ready


def _parts(options: Options) -> list[SharedPart]:
    """Return the beginnings of a request, shortest first, without those that are too short to be cached."""
    attachments = options.attachments if isinstance(options.attachments, list | tuple) else ()
    system = options.system if isinstance(options.system, str) else ""
    base = hash((system, repr(_audience(options))))
    parts = []
    if options.cache_prompt or size_in_bytes((system,)) >= LEAST_TOKENS * BYTES_PER_TOKEN:
        parts = [SharedPart(base, 0)] if system else []
    for number, source in enumerate(attachments, 1):
        base = hash((base, _identity(source)))
        parts.append(SharedPart(base, number))
    return parts


def _audience(options: Options) -> tuple[object, ...]:
    """Return the options that decide on the model, and on its cache."""
    schema = getattr(options.schema, "text", options.schema)
    return options.model, options.provider, options.chain, options.fallback, options.strategy, options.effort, schema


def _identity(source: AttachmentSource) -> object:
    if isinstance(source, Attachment):
        return source.url, source.data
    return bytes(source) if isinstance(source, bytes | bytearray | memoryview) else str(source)
