# bash completion of ledge; made by generate.sh
_ledge() {
    local word=${COMP_WORDS[COMP_CWORD]} options=
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "inspect run bench eval compile quantize distill certify preprocess serve drift key doctor help --version" -- "$word"))
        return
    fi
    case ${COMP_WORDS[1]} in
    inspect) options="--graph --steps --cpu --json --help" ;;
    run) options="--top --labels --preprocess --input --output --threads --provider --provider-option --strict --cpu --no-optimize --json --help" ;;
    bench) options="--runs --warmup --cold --threads --input --shape --seed --pixels --profile --provider --provider-option --strict --cpu --no-optimize --json --help" ;;
    eval) options="--images --labels --dataset --limit --names --preprocess --confused --predictions --min-top1 --threads --provider --provider-option --strict --cpu --json --help" ;;
    compile) options="--output --cpu --shape --json --help" ;;
    quantize) options="--output --mode --calibrate --labels --dataset --input --samples --preprocess --calibrator --percentile --target --weights --exclude --block --format --equalize --rounding --seed --mixed --max-drop --min-agreement --compare-modes --report --finetune --epochs --rate --batch --threads --json --help" ;;
    distill) options="--output --teacher --student --init --data --labels --limit --eval --alpha --temperature --feature --freeze --preprocess --teacher-preprocess --names --epochs --batch --optimizer --rate --momentum --nesterov --decay --schedule --step --warmup --smoothing --clip --crop --flip --colour --mixup --seed --checkpoint --resume --threads --json --help" ;;
    certify) options="--reference --images --labels --dataset --limit --preprocess --max-drop --min-agreement --max-latency-ratio --runs --days --key --output --check --model --remeasure --threads --cpu --json --help" ;;
    preprocess) options="--output --labels --json --help" ;;
    serve) options="--host --port --repository --workers --threads --batch --delay --cache --cache-ttl --queue --deadline --body --connections --token-file --tls-cert --tls-key --no-drift --state --watch --alert-log --alert-webhook --alertmanager --alert-exec --alert-token-file --drain --cpu --json --help" ;;
    drift) options="--images --dataset --limit --preprocess --output --baseline --window --gate --threads --cpu --json --help" ;;
    key) options="--json --help" ;;
    doctor) options="--provider --provider-option --strict --threads --json --help" ;;
    help) options="inspect run bench eval compile quantize distill certify preprocess serve drift key doctor help" ;;
    esac
    if [ "${word#-}" != "$word" ] || [ "${COMP_WORDS[1]}" = help ]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    else
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}
complete -o filenames -F _ledge ledge
