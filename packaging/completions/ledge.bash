# bash completion of ledge; made by generate.sh
_ledge() {
    local word=${COMP_WORDS[COMP_CWORD]} options=
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "inspect run bench eval compile preprocess drift doctor help --version" -- "$word"))
        return
    fi
    case ${COMP_WORDS[1]} in
    inspect) options="--graph --steps --cpu --json --help" ;;
    run) options="--top --labels --preprocess --input --output --threads --cpu --no-optimize --json --help" ;;
    bench) options="--runs --warmup --cold --threads --input --shape --seed --pixels --profile --cpu --no-optimize --json --help" ;;
    eval) options="--images --labels --dataset --limit --names --preprocess --confused --predictions --min-top1 --threads --cpu --json --help" ;;
    compile) options="--output --cpu --shape --json --help" ;;
    preprocess) options="--output --labels --json --help" ;;
    drift) options="--images --dataset --limit --preprocess --output --baseline --window --gate --threads --cpu --json --help" ;;
    doctor) options="--json --help" ;;
    help) options="inspect run bench eval compile preprocess drift doctor help" ;;
    esac
    if [ "${word#-}" != "$word" ] || [ "${COMP_WORDS[1]}" = help ]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    else
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}
complete -o filenames -F _ledge ledge
