_llmroute_completion() {
    local typed="${COMP_LINE:0:COMP_POINT}" IFS=$'\n' word cut quoted
    # Bash replaces only what stands behind the last : or = of the word.
    word="${typed##*[[:space:]]}"
    cut="${word%"${word##*[:=]}"}"
    [ -n "$word" ] || typed="$typed''"
    COMPREPLY=()
    for word in $(COMP_WORDS="$typed" COMP_CWORD=-1 _LLMROUTE_COMPLETE=complete_bash llmroute 2>/dev/null); do
        printf -v quoted '%q' "${word#"$cut"}"
        COMPREPLY+=("$quoted")
    done
}

complete -o default -F _llmroute_completion llmroute
