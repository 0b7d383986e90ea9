function _llmroute_complete
    set -l typed (commandline -cp)
    set -l word (commandline -ct)
    test -n "$word"; or set typed "$typed''"
    set -l cut (string match -r '^--[^=]+=' -- $word)
    set -l offered (env COMP_WORDS="$typed" COMP_CWORD=-1 _LLMROUTE_COMPLETE=complete_bash llmroute 2>/dev/null)
    string length -q -- $offered; or set offered (__fish_complete_path (string replace -r '^--[^=]+=' '' -- "$word"))
    test (count $offered) -gt 0; and printf '%s\n' "$cut"$offered
end

complete --command llmroute --no-files --arguments '(_llmroute_complete)'
