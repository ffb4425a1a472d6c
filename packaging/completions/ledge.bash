# bash completion of ledge; made by generate.sh
_ledge() {
    local word=${COMP_WORDS[COMP_CWORD]} options=
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "inspect run bench eval compile prune quantize distill compress certify preprocess serve agent wasm drift key registry doctor help --version" -- "$word"))
        return
    fi
    case ${COMP_WORDS[1]} in
    inspect) options="--graph --steps --cpu --json --help" ;;
    run) options="--top --labels --preprocess --input --output --threads --provider --provider-option --strict --cpu --no-optimize --json --help" ;;
    bench) options="--runs --warmup --cold --threads --input --shape --seed --pixels --profile --provider --provider-option --strict --cpu --no-optimize --json --help" ;;
    eval) options="--images --labels --dataset --limit --names --preprocess --confused --predictions --ladder --min-top1 --threads --provider --provider-option --strict --cpu --json --help" ;;
    compile) options="--output --cpu --shape --json --help" ;;
    prune) options="--output --method --amount --target-macs --target-latency --importance --scope --layer-limit --round --keep --steps --block --finetune --teacher --preprocess --epochs --batch --optimizer --rate --momentum --nesterov --decay --schedule --step --warmup --smoothing --clip --crop --flip --colour --mixup --seed --checkpoint --resume --threads --json --help" ;;
    quantize) options="--output --mode --calibrate --labels --dataset --input --samples --preprocess --calibrator --percentile --target --activations --weights --exclude --block --format --equalize --rounding --seed --mixed --max-drop --min-agreement --compare-modes --report --finetune --epochs --rate --batch --threads --json --help" ;;
    distill) options="--output --teacher --student --init --data --labels --limit --eval --alpha --temperature --feature --freeze --preprocess --teacher-preprocess --names --epochs --batch --optimizer --rate --momentum --nesterov --decay --schedule --step --warmup --smoothing --clip --crop --flip --colour --mixup --seed --checkpoint --resume --threads --json --help" ;;
    compress) options="--output --recipe --train --test --preprocess --report --stages --threads --json --help" ;;
    certify) options="--reference --images --labels --dataset --limit --preprocess --max-drop --min-agreement --max-latency-ratio --runs --days --key --output --check --model --remeasure --threads --cpu --json --help" ;;
    preprocess) options="--output --labels --json --help" ;;
    serve) options="--config --host --port --repository --workers --threads --pixels --batch --delay --cache --cache-ttl --guest --guest-beside --guest-key --guest-pages --guest-time --queue --deadline --body --connections --shared-memory --token-file --tls-cert --tls-key --no-drift --state --telemetry --telemetry-mb --telemetry-overflow --shadow --samples --sample-key --sample-below --samples-per-hour --samples-mb --watch --alert-log --alert-webhook --alertmanager --alert-exec --alert-token-file --drain --cpu --json --help" ;;
    agent) options="--state --registry --root --device --label --token-file --ca --tls-cert --tls-key --proxy --bandwidth --quota --keep --interval --serve --serve-args --sample-key --turns --quiet --json --help" ;;
    wasm) options="--output --target --bounds --wasm2c --cc --key --dir --env --nn-preload --memory-page-limit --time-limit --fuel --stack --nn-memory --nn-time --nn-models --isolate --invoke --no-cache --threads --cpu --json --help" ;;
    drift) options="--images --dataset --limit --preprocess --output --baseline --window --gate --threads --cpu --json --help" ;;
    key) options="--type --json --help" ;;
    registry) options="" ;;
    doctor) options="--provider --provider-option --strict --threads --json --help" ;;
    help) options="inspect run bench eval compile prune quantize distill compress certify preprocess serve agent wasm drift key registry doctor help" ;;
    esac
    if [ "${word#-}" != "$word" ] || [ "${COMP_WORDS[1]}" = help ]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    else
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}
complete -o filenames -F _ledge ledge
