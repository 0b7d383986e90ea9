"""The way of a request through the modules: from `LLMService.answer` to the wire and back.

A stay begins where a call hands the request, or what has become of it, to another module that makes the next form of
it: the options become a rendered request, a plan, a context, an attempt in the ledger, an HTTP request, a completion,
a settled attempt and a response.  A module of `service` or `execution` is a place of its own; a package below them,
which answers a question without knowing of the request, is one place.  Questions whose answer is no such form (is the
option valid, which timeout applies) are not stays, and the reads of one response are one stay.

A climb is a stay in a module that stands above the one before it: it imports that module, directly or by others.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from itertools import pairwise
from types import GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.request.options import Options
from tests.support.fault_server import serving
from tests.support.provider_servers import OPENAI, House, openai_answer
from tests.test_layout import SOURCES, imports

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

MOST_STAYS = 24
MOST_CLIMBS = 4
FORMS = {
    "Options", "RenderedRequest", "Prompt", "RoutingConstraints", "Planner", "Plan", "RequestContext",
    "RequestFlow", "Attempt", "ProviderCall", "Begin", "Open", "Settle", "Pending", "Settled", "HTTPRequest",
    "Exchange", "Completion", "Usage", "Settlement", "UsageCost", "AttemptRow", "Observation", "LLMResponse",
}  # fmt: skip
OPERATIONS = {"Begin", "Open", "Settle", "Pending", "Settled"}
CO_GENERATOR = 0x20


class Stay(NamedTuple):
    module: str
    function: str
    caller: str | None

    @property
    def place(self) -> str:
        return place_of(self.module)


def module_of(frame: FrameType) -> str | None:
    name = frame.f_globals.get("__name__", "")
    return name if name in SOURCES else None


def place_of(module: str) -> str:
    parts = module.split(".")
    return module if parts[1] in ("service", "execution") else ".".join(parts[:2])


def forms_in(value: Any) -> set[str]:
    values = value if type(value) in (list, tuple) else [value]
    return {type(one).__name__ for one in values if type(one).__module__.startswith("llmroute.")} & FORMS


class Walk:
    """A profiler that keeps the stays of one request."""

    def __init__(self) -> None:
        self._calls: list[tuple[Stay, FrameType]] = []
        self._moved: set[FrameType] = set()
        self._operating: set[FrameType] = set()
        self._seen: set[FrameType] = set()

    @property
    def stays(self) -> list[Stay]:
        """The stays in their order; what a module hands to itself is the same stay."""
        moved = [stay for stay, frame in self._calls if frame in self._moved]
        return moved[:1] + [
            stay for before, stay in pairwise(moved) if place_of(before.module) != place_of(stay.module)
        ]

    def __call__(self, frame: FrameType, event: str, result: Any) -> None:
        module = module_of(frame)
        if module is None or event not in ("call", "return"):
            return
        if event == "return":
            performed = frame in self._operating and not isinstance(result, bool)
            if performed or (frame in self._seen and (forms_in(result) or isinstance(result, GeneratorType))):
                self._move(frame)
        elif frame not in self._seen:
            self._seen.add(frame)
            self._enter(frame, module)

    def _enter(self, frame: FrameType, module: str) -> None:
        code, caller = frame.f_code, caller_of(frame)
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        handed = set[str]().union(*(forms_in(frame.f_locals.get(name)) for name in names))
        from_elsewhere = caller is None or place_of(caller) != place_of(module)
        if not handed or not (from_elsewhere or handed & OPERATIONS):
            return
        self._calls.append((Stay(module, code.co_qualname, caller), frame))
        if handed & OPERATIONS:
            self._operating.add(frame)
        if code.co_flags & CO_GENERATOR:
            self._move(frame)

    def _move(self, frame: FrameType | None) -> None:
        """Note that the request has moved on through a call, and so through those around it."""
        while frame is not None:
            self._moved.add(frame)
            frame = frame.f_back


def caller_of(frame: FrameType) -> str | None:
    above = frame.f_back
    while above is not None and module_of(above) is None:
        above = above.f_back
    return None if above is None else module_of(above)


@cache
def imports_of(module: str) -> set[str]:
    return imports(SOURCES[module], SOURCES)


def imports_indirectly(module: str, other: str) -> bool:
    found: set[str] = set()
    left = {module}
    while left and other not in found:
        left = set[str]().union(*map(imports_of, left)) - found
        found |= left
    return other in found


def is_climb(stay: Stay) -> bool:
    """Whether the request was handed up; an operation that a generator has yielded comes up to its driver."""
    return stay.caller is not None and (stay.caller == stay.module or imports_indirectly(stay.module, stay.caller))


def test_every_form_of_a_request_is_a_class() -> None:
    classes = set(re.findall(r"^class (\w+)", "\n".join(SOURCES.values()), re.MULTILINE))
    assert classes >= FORMS


def test_the_way_of_a_request_is_at_most_24_stays_and_4_climbs(tmp_path: Path) -> None:
    with serving([openai_answer("Hello!")]) as server:
        service = House(tmp_path, openai=server).service()
        options = Options(prompt="hi", model=OPENAI)
        list(service.answer(options, streaming=False))
        walk = Walk()
        sys.setprofile(walk)
        try:
            list(service.answer(options, streaming=False))
        finally:
            sys.setprofile(None)
        service.close()
    places = [stay.place for stay in walk.stays]
    assert places[0] == "llmroute.service.client"
    assert places.index("llmroute.transport") in range(places.index("llmroute.ledger"), len(places))
    assert places[-1] == "llmroute.ledger", "settled"
    assert len(places) <= MOST_STAYS, places
    climbs = [stay for stay in walk.stays if is_climb(stay)]
    assert len(climbs) <= MOST_CLIMBS, climbs
