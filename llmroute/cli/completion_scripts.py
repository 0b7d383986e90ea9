"""What makes bash, zsh and fish ask llmroute for candidates; `--show-completion` and `--install-completion` give them.

Typer's own scripts lose words with a colon in bash, offer nothing at the first TAB in zsh, and run the program twice in
fish.  These hand over the line up to the cursor, whose last word (-1) is the one to complete, and run it once.
They are templates: a per cent sign is doubled.
"""

from __future__ import annotations

import os
import sys
from typing import Final

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
    if test (count $offered) -gt 0
        printf '%%s\n' "$cut"$offered
    else
        __fish_complete_path $word
    end
end

complete --command %(prog_name)s --no-files --arguments '(_%(prog_name)s_complete)'
"""

SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


_FLAGS: Final = ("--show-completion", "--install-completion")


def use() -> None:
    """Have Typer print and install these scripts, for the shell that is named or else for the current one.

    It has no other door for them, and takes the name of a shell only where it does not look for the current one.
    """
    from typer import _completion_shared

    _completion_shared._completion_scripts.update(SCRIPTS)  # noqa: SLF001 (as said)
    if _names_a_shell(sys.argv[1:]):
        os.environ["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"


def _names_a_shell(arguments: list[str]) -> bool:
    flag, equals, _ = arguments[0].partition("=") if arguments else ("", "", "")
    return flag in _FLAGS and bool(equals or len(arguments) > 1)
