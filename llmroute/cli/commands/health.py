"""`llmroute health`: the status of the providers and the setup."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmroute import exit_codes
from llmroute.cli import options as flags
from llmroute.cli.completion import candidates
from llmroute.cli.errors import error_text, failures, say
from llmroute.cli.output.costs.budgets import budgets_as_json, cap_as_text
from llmroute.cli.output.settings import show_settings
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.tables import cell, flowing
from llmroute.cli.output.terminal import terminal_width
from llmroute.errors import LedgerError, RequestError

if TYPE_CHECKING:
    from llmroute.config import Config
    from llmroute.ledger.budgets import BudgetStatus
    from llmroute.service.health import Health


# The minimum difference between clocks that is reported as an error.
CLOCK_OFF_MS = 60_000


def health(
    provider: Annotated[
        list[str] | None,
        typer.Option(
            "-p", "--provider", help="Check only this provider; repeatable.", autocompletion=candidates.providers
        ),
    ] = None,
    reset: Annotated[
        list[str] | None,
        typer.Option(
            "--reset",
            help="Reset the circuit breakers of this provider, without a request; repeatable.",
            autocompletion=candidates.providers,
        ),
    ] = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="Print each effective setting and its origin, without a request.")
    ] = False,
    as_json: flags.AsJSON = False,
) -> None:
    """Check provider status.

    The requests run concurrently and cost nothing.
    """
    with failures(as_json=as_json):
        from llmroute.providers import PROVIDERS
        from llmroute.request.fields import require_one_of

        for option, names in {"provider": provider, "reset": reset}.items():
            for name in names or ():
                require_one_of(option, name, PROVIDERS)
        if settings:
            if provider or reset:
                raise RequestError(f"--settings and --{'provider' if provider else 'reset'} exclude each other")
            show_settings(as_json=as_json)
        elif reset:
            _reset(tuple(dict.fromkeys(reset)), as_json=as_json)
        else:
            _probe(tuple(provider or ()), as_json=as_json)


def _probe(providers: tuple[str, ...], *, as_json: bool) -> None:
    """Write the status of some providers; with none, that of all and of the setup.

    Raises:
        Exit: a provider that is configured or requested failed.
    """
    from llmroute.service.client import LLMService

    service = LLMService(note=say)
    found = service.probe(providers)
    budgets = _budgets(service.config)
    if as_json:
        document = None if budgets is None else budgets_as_json(budgets, service.config.warn_at)
        status = {name: _as_json(one) for name, one in found.items()}
        write_json({"providers": status, "budgets": document, **_server_json(service.config)})
    else:
        write_text(_as_text(found) + ("" if providers else f"\n{_setup(service.config, budgets)}"))
    if any(not one.ok and (one.configured or providers) for one in found.values()):
        raise typer.Exit(exit_codes.TRY_LATER)


def _budgets(config: Config) -> list[BudgetStatus] | None:
    """Return the caps and the spent amounts; None where the ledger cannot be read, which is reported."""
    from llmroute.service.costs.maintenance import standings

    try:
        return standings(config)
    except LedgerError as error:
        say(f"warning: {error_text(error)}")
        return None


def _reset(names: tuple[str, ...], *, as_json: bool) -> None:
    from llmroute.service.client import LLMService

    service = LLMService(note=say)
    try:
        closed = {name: service.core.reset_breakers(name) for name in names}
    finally:
        service.close()
    if as_json:
        write_json({"reset": closed})
        return
    for name, count in closed.items():
        result = f"{count} circuit{'' if count == 1 else 's'} closed" if count else "no open circuits"
        write_text(f"{name}: {result}\n")


def _as_json(one: Health) -> dict[str, Any]:
    return {key: value for key, value in asdict(one).items() if key not in ("configured", "until_key_changes")}


def _server_json(config: Config) -> dict[str, Any]:
    """Return the row of the ledger's server; empty for a file."""
    from llmroute.ledger.opening import server_status

    try:
        server = server_status(config.ledger)
    except LedgerError as error:
        return {"ledger": {"name": config.ledger.name, "error": error.message}}
    return {} if server is None else {"ledger": {"name": config.ledger.name, **server._asdict()}}


def _remark(one: Health) -> str:
    circuit = f"circuit open until {one.open_until}" if one.open_until and not one.until_key_changes else ""
    return "; ".join(filter(None, (one.detail, circuit)))


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
    return flowing(("provider", "status", "latency", "models", ""), rows, terminal_width(), numbers=(2, 3))


def _ledger_remark(config: Config) -> str:
    """Return the status of the ledger, in parentheses."""
    from llmroute.ledger.opening import server_status

    try:
        server = server_status(config.ledger)
    except LedgerError as error:
        return f" ({error.message})"
    if server is None:
        return "" if config.ledger.exists() else " (does not exist)"
    clock = ""
    if abs(server.clock_offset_ms) > CLOCK_OFF_MS:
        clock = ": the clock of this machine or of the server is wrong"
    return (
        f" (PostgreSQL {server.version}, {server.round_trip_ms:.1f} ms a round trip, schema version"
        f" {server.schema_version}, clock {server.clock_offset_ms / 1000:+.1f} s{clock})"
    )


def _caps(config: Config, budgets: list[BudgetStatus] | None) -> str:
    """Return the caps; where the ledger cannot be read, those that bind nevertheless."""
    from llmroute.service.costs.maintenance import limits_last_seen

    limits = limits_last_seen(config) if budgets is None else [status.cap for status in budgets]
    if limits is None:
        return "unknown: this host never reached the server of the ledger"
    return ", ".join(map(cap_as_text, limits)) or "none (llmroute costs budget set --month 20)"


def _setup(config: Config, budgets: list[BudgetStatus] | None) -> str:
    """Return the paths of the configuration and the ledger, the routing defaults and the budgets."""
    from llmroute.ledger.budgets import near_cap_warning

    path = config.config_dir / "config.toml"
    first = f", {config.default_provider} preferred" if config.default_provider else ""
    rows = [
        ["settings", f"{path}{'' if path.exists() else ' (does not exist)'}"],
        ["ledger", f"{config.ledger.name}{_ledger_remark(config)}"],
        ["strategy", config.strategy + first],
        ["workspace", cell(config.workspace) if config.workspace else "none"],
        ["budget", _caps(config, budgets)],
    ]
    rows += [["", cell(near_cap_warning(status))] for status in budgets or () if status.is_near(config.warn_at)]
    if not any(settings.api_key for settings in config.providers.values()):
        rows.append(["next", "export ANTHROPIC_API_KEY=... (or OPENAI_, MISTRAL_, TOGETHER_), or: ollama serve"])
    return flowing(("", ""), rows, terminal_width()).lstrip("\n")
