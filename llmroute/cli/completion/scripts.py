"""The completion scripts for bash, zsh and fish; `--show-completion` and `--install-completion` output them.

Typer's own scripts lose words with a colon in bash, offer nothing at the first TAB in zsh, and run the program twice in
fish.  These hand over the line up to the cursor, whose last word (-1) is the one to complete, and run it once.
They are templates: a per cent sign is doubled.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

import typer

PROGRAM: Final = "llmroute"
VARIABLE: Final = "_LLMROUTE_COMPLETE"
"""The environment variable that the scripts set to request candidates."""
_BASH: Final = r"""
%(complete_func)s() {
    local typed="${COMP_LINE:0:COMP_POINT}" IFS=$'\n' word cut quoted
    # Bash replaces only what stands behind the last : or = of the word.
    word="${typed##*[[:space:]]}"
    cut="${word%%"${word##*[:=]}"}"
    [ -n "$word" ] || typed="$typed''"
    COMPREPLY=()
    for word in $(COMP_WORDS="$typed" COMP_CWORD=-1 %(autocomplete_var)s=complete_bash %(prog_name)s 2>/dev/null); do
        printf -v quoted '%%q' "${word#"$cut"}"
        COMPREPLY+=("$quoted")
    done
}

complete -o default -F %(complete_func)s %(prog_name)s
"""

_ZSH: Final = r"""
#compdef %(prog_name)s

_%(prog_name)s() {
  local typed="${(j: :)words[1,CURRENT-1]} ${PREFIX:-''}"
  local -a offered
  offered=(${(f)"$(COMP_WORDS=$typed COMP_CWORD=-1 %(autocomplete_var)s=complete_bash %(prog_name)s 2>/dev/null)"})
  [[ $PREFIX == --*=* ]] && compset -P '*='
  if (( $#offered )); then
    compadd -a offered
  else
    _files
  fi
}

# Loaded by compinit this file is the function itself; read from a start-up file it names it.
if [[ $funcstack[1] == _%(prog_name)s ]]; then
  _%(prog_name)s "$@"
else
  compdef _%(prog_name)s %(prog_name)s
fi
"""

_FISH: Final = r"""
function _%(prog_name)s_complete
    set -l typed (commandline -cp)
    set -l word (commandline -ct)
    test -n "$word"; or set typed "$typed''"
    set -l cut (string match -r '^--[^=]+=' -- $word)
    set -l offered (env COMP_WORDS="$typed" COMP_CWORD=-1 %(autocomplete_var)s=complete_bash %(prog_name)s 2>/dev/null)
    string length -q -- $offered; or set offered (__fish_complete_path (string replace -r '^--[^=]+=' '' -- "$word"))
    test (count $offered) -gt 0; and printf '%%s\n' "$cut"$offered
end

complete --command %(prog_name)s --no-files --arguments '(_%(prog_name)s_complete)'
"""

SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


SHELLS: Final = "bash, zsh or fish"
_FLAGS: Final = ("--install-completion", "--show-completion")
CURRENT: Final = ""
"""The value for the current shell, where none is named."""


def use() -> None:
    """Enable Typer's completion, which it enables by itself only with its own completion flags."""
    if VARIABLE in os.environ:
        from typer._completion_classes import completion_init

        completion_init()


def with_shell(arguments: list[str]) -> list[str]:
    """Return the arguments of the program with `CURRENT` after a flag without a shell: Typer requires a value."""
    for at, argument in enumerate(arguments):
        if not argument.startswith("-"):
            break
        following = arguments[at + 1 : at + 2]
        if argument in _FLAGS and (not following or following[0].startswith("-")):
            return [*arguments[: at + 1], CURRENT, *arguments[at + 1 :]]
    return arguments


def shells(incomplete: str) -> list[str]:
    """Offer the shells that have a script."""
    return [shell for shell in SCRIPTS if shell.startswith(incomplete)]


def show(context: typer.Context, shell: str | None) -> None:
    """Print the script for a shell and exit, if requested."""
    from llmroute.cli.errors import failures

    if shell is None or context.resilient_parsing:
        return
    with failures():
        script = _script(_known(shell))
    typer.echo(script)
    raise typer.Exit


def install(context: typer.Context, shell: str | None) -> None:
    """Install the script for a shell and exit, if requested."""
    from typer import _completion_shared

    from llmroute.cli.errors import failures
    from llmroute.files import cannot_write

    if shell is None or context.resilient_parsing:
        return
    with failures():
        # Typer knows the location; it accepts only scripts in its table.
        _completion_shared._completion_scripts.update(SCRIPTS)  # noqa: SLF001 (see the line above)
        try:
            name, path = _completion_shared.install(_known(shell), PROGRAM, VARIABLE)
        except OSError as error:
            raise cannot_write(error.filename, error) from error
    typer.echo(f"{name} completion installed in {path}\nCompletion will take effect once you restart the terminal")
    raise typer.Exit


def _script(shell: str) -> str:
    names = {"complete_func": f"_{PROGRAM}_completion", "prog_name": PROGRAM, "autocomplete_var": VARIABLE}
    return (SCRIPTS[shell] % names).strip()


def _known(shell: str) -> str:
    """Return a shell that has a script: the named or the current one.

    Raises:
        RequestError: the shell has no script, or the current shell cannot be detected.
    """
    from llmroute.errors import RequestError

    named = shell or _current()
    if named in SCRIPTS:
        return named
    if named:
        raise RequestError(f"there is no completion for '{named}'", hint=f"name {SHELLS}")
    raise RequestError("the current shell cannot be detected", hint=f"name {SHELLS}")


def _current() -> str | None:
    from typer import _completion_shared

    with suppress(OSError):
        return _completion_shared._get_shell_name()  # noqa: SLF001 (so that shellingham stays Typer's need, not ours)
    return None
