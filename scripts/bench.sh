#!/bin/sh
# ledge beside ONNX Runtime on every model at hand: first one thread, then two, then cold starts.
# Run it on a quiet machine. Models: models/*.onnx here; the shared assets where they lie
# (LEDGE_ASSETS, ../shared/assets); and those of BENCH_MODELS (a folder or files). Where the peers'
# make_models.py is at hand, its MobileNetV2, ResNet-50 and BERT-mini, float and 8-bit, are made once
# in build/bench. Where the shared photos are, `ledge quantize` is timed and the accuracy of what it
# makes is measured, in ledge and in ONNX Runtime.
#   BENCH_ROUNDS=5 BENCH_RUNS=20     bursts in turn, and runs in each
#   BENCH_KERNELS=1                  first the kernels alone, against the machine's limits
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}
scripts/build.sh "$build"
[ "${BENCH_KERNELS:-0}" = 0 ] ||
    meson test -C "$build" --no-rebuild --benchmark --verbose --num-processes 1 </dev/null

if library=$(scripts/get_onnxruntime.sh); then
    set -- --ort "$library"
else
    echo "bench.sh: no ONNX Runtime, so ledge is timed alone" >&2
    set --
fi
assets=${LEDGE_ASSETS:-../shared/assets}
peers=${LEDGE_PEERS:-../shared/peers}
if [ -x "$peers/make_models.py" ] && [ ! -f "$build/bench/resnet50_fp32.onnx" ]; then
    "$peers/make_models.py" "$build/bench" >/dev/null ||
        echo "bench.sh: make_models.py failed; its models are left out" >&2
fi
models=
for m in models/*.onnx "$assets"/models/*.onnx "$build"/bench/*_fp32.onnx \
    "$build"/bench/*_qdq_*.onnx "$build"/bench/*_dynint8.onnx ${BENCH_MODELS:-}; do
    [ -d "$m" ] && m=$(ls "$m"/*.onnx)
    [ -f "${m%%
*}" ] && models="$models $m"
done
for threads in 1 2; do
    # shellcheck disable=SC2086 # each model is an argument
    "$build/tests/bench/bench_models" "$@" --threads $threads --rounds "${BENCH_ROUNDS:-5}" \
        --runs "${BENCH_RUNS:-20}" $models
done
compiled=$build/bench/mobilenetv2.ledge
mkdir -p "$build/bench"
for m in $models; do
    case $m in *mobilenetv2_1.0_224.onnx) "$build/src/cli/ledge" compile "$m" -o "$compiled" >/dev/null ;; esac
done
# shellcheck disable=SC2086
"$build/tests/bench/bench_models" "$@" --cold --rounds 10 $models
[ ! -f "$compiled" ] || "$build/tests/bench/bench_models" --ort "" --cold --rounds 10 "$compiled"
# What quantizing costs, beside what is asked for.
[ ! -d "$assets/images/imagenet" ] ||
    python3 scripts/bench_quantize.py "$build/src/cli/ledge" "$assets" "${library:-}"
strip -o "$build/bench/libledge.so" "$build"/libledge.so.?.?.?
printf 'libledge.so stripped: %s bytes\n' "$(stat -c %s "$build/bench/libledge.so")"
[ "$#" = 0 ] || printf 'libonnxruntime.so:    %s bytes\n' "$(stat -c %s "$library")"
