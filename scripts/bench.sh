#!/bin/sh
# Times models on a release build, on 1 and on 2 threads: the demo model, the shared models and
# those in BENCH_MODELS. LEDGE_ORT=libonnxruntime.so.1 measures ONNX Runtime beside ledge, in turn,
# in one process. Arguments go to bench_models.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}
models=models/signs.onnx
for model in ../shared/assets/models/*.onnx ${BENCH_MODELS:-}; do
    [ -f "$model" ] && models="$models $model"
done
for threads in 1 2; do
    echo "== $threads thread(s)"
    # shellcheck disable=SC2086 # the list of models is meant to split
    "$build/tests/bench/bench_models" --threads $threads "$@" $models
done
