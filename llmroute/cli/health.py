"""`llmroute health`: how the providers are."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmroute import exit_codes
from llmroute.cli import completing
from llmroute.cli import options as flags
from llmroute.cli.failures import failures
from llmroute.cli.output import write_json, write_text
from llmroute.cli.render import columns

if TYPE_CHECKING:
    from llmroute.service.health import Health


def health(
    provider: Annotated[
        list[str] | None,
        typer.Option("-p", "--provider", help="Ask only this one; repeatable.", autocompletion=completing.providers),
    ] = None,
    reset: Annotated[
        list[str] | None,
        typer.Option(
            "--reset",
            help="Let calls go to this provider again, and ask nobody; repeatable.",
            autocompletion=completing.providers,
        ),
    ] = None,
    as_json: flags.AsJSON = False,
) -> None:
    """Tell what is set up, and how each provider is.

    All are asked at once, with requests that cost nothing.
    """
    with failures(as_json=as_json):
        from llmroute.providers import PROVIDERS
        from llmroute.service.api import LLMService
        from llmroute.service.health import probe_all
        from llmroute.service.options import require_one_of

        for name in (*(provider or ()), *(reset or ())):
            require_one_of("provider", name, PROVIDERS)
        if reset:
            _reset(tuple(dict.fromkeys(reset)), as_json=as_json)
            return
        found = probe_all(LLMService(), tuple(provider or ()))
        if as_json:
            write_json({"providers": {name: _as_json(one) for name, one in found.items()}})
        else:
            write_text(_as_text(found))
        if any(not one.ok and (one.configured or provider) for one in found.values()):
            raise typer.Exit(exit_codes.TRY_LATER)


def _reset(names: tuple[str, ...], *, as_json: bool) -> None:
    from llmroute.service.api import LLMService

    service = LLMService()
    try:
        closed = {name: service.reset_breakers(name) for name in names}
    finally:
        service.close()
    if as_json:
        write_json({"reset": closed})
        return
    for name, count in closed.items():
        write_text(f"{name}: {count} breaker{'' if count == 1 else 's'} closed\n")


def _as_json(one: Health) -> dict[str, Any]:
    return {key: value for key, value in asdict(one).items() if key != "configured"}


def _remark(one: Health) -> str:
    resting = f"left alone until {one.open_until}" if one.open_until else ""
    return "; ".join(filter(None, (one.detail, resting)))


def _as_text(found: dict[str, Health]) -> str:
    rows = [
        [
            name,
            one.status,
            "" if one.latency_ms is None else f"{one.latency_ms} ms",
            "" if one.models is None else str(one.models),
            _remark(one),
        ]
        for name, one in found.items()
    ]
    return columns(("provider", "status", "latency", "models", ""), rows, numbers=(2, 3))
