"""The command line: the Typer app, and main(), where errors and signals become exit codes."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from llmroute import exit_codes
from llmroute.cli import signals, standard_streams
from llmroute.cli.app import Commands
from llmroute.cli.completion import scripts
from llmroute.cli.help import PROGRAM, START, exit_codes_in_short
from llmroute.version import __version__

app = typer.Typer(
    name="llmroute",
    cls=Commands,
    help=PROGRAM,
    epilog=exit_codes_in_short(),
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "color": False},
)


def _print_version(is_given: bool) -> None:
    if is_given:
        typer.echo(f"llmroute {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    _install: Annotated[
        str | None,
        typer.Option(
            "--install-completion",
            metavar="[SHELL]",
            callback=scripts.install,
            autocompletion=scripts.shells,
            is_eager=True,
            help="Install completion for this shell or SHELL.",
        ),
    ] = None,
    _show: Annotated[
        str | None,
        typer.Option(
            "--show-completion",
            metavar="[SHELL]",
            callback=scripts.show,
            autocompletion=scripts.shells,
            is_eager=True,
            help="Print the script for bash, zsh or fish.",
        ),
    ] = None,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help() if _is_set_up() else START.removesuffix("\n"))


def _is_set_up() -> bool:
    """Whether any provider has a key; True for an invalid configuration, which commands report."""
    from llmroute.errors import ConfigError
    from llmroute.planning.settings import load

    try:
        return any(provider.api_key for provider in load().providers.values())
    except ConfigError:
        return True


def main() -> NoReturn:
    """Run the command line and exit with the documented code.

    Raises:
        Interrupted: a signal ended the program.
    """
    # This process is the command's own: httpx need not import its command line, which loads click and rich.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    standard_streams.take()
    signals.install()
    scripts.use()
    try:
        code = app(standalone_mode=False, prog_name="llmroute")
        sys.stdout.flush()
    except standard_streams.ReaderGone:
        signals.leave_quietly()
    except standard_streams.OutputFailed as failure:
        from llmroute.cli.errors import say

        say(str(failure))
        sys.exit(exit_codes.SETUP)
    except typer.Abort:
        sys.exit(exit_codes.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 (the outermost handler: any other exception is a bug)
        if isinstance(error.__cause__, signals.Interrupted):
            # The signal arrived in a `__set_name__`, whose exceptions Python turns into a RuntimeError.
            raise error.__cause__ from None
        from llmroute.cli.errors import report_bug, report_usage

        sys.exit(report_usage(error) or report_bug(error))
    sys.exit(code if isinstance(code, int) else 0)
