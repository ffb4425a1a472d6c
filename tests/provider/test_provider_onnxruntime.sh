#!/bin/sh
# The real ONNX Runtime, where LEDGE_ORT names it or it is installed; skipped (77) elsewhere.
. "$(dirname "$0")/provider_common.sh"
ASAN_OPTIONS=detect_leaks=0 # the library keeps a few bytes until the process ends
export ASAN_OPTIONS
"$ledge" run --json "$models/relu.onnx" "$rows" --provider ort --strict >"$work/out" 2>"$work/err" || {
    echo "skipped: $(cat "$work/err")"
    exit 77
}
expect 0 run --json "$models/relu.onnx" "$rows" --provider ort --strict
json 'o["provider"] == "ort" and o["placement"]["providers"][0]["version"].startswith("ONNX Runtime 1.")'
expect 0 run "$models/relu.onnx" "$rows" -o "$work/cpu"
expect 0 run "$models/relu.onnx" "$rows" --provider ort -o "$work/ort"
same_answer cpu ort
# An operator that nobody knows is refused by both, by name.
expect 3 run "$models/unknown.onnx" "$rows" --provider ort
err 'operator Frobnicate .*; and ort: ONNX Runtime refuses'
# Every model at hand gives the same answer on both.
assets=$root/../shared/assets/models
for model in "$root"/models/*.onnx "$models"/mixed.onnx "$data"/classifier.onnx "$assets"/*.onnx; do
    [ -f "$model" ] || continue
    expect 0 bench --json "$model" --provider cpu,ort --runs 2 --warmup 1 --cold 0 -t 1
    json 'o["comparisons"][0]["nmse"] < 1e-8 and o["comparisons"][0]["top1_agreement"] in (None, 1.0)'
    json '[s["placement"]["got"] for s in o["sides"]] == ["cpu", "ort"]'
done
expect 0 run --json "$models/mixed.onnx" --provider ort --strict --input x="$work/picture.npy"
json 'o["placement"]["macs"] == 64 * 9 * (12 + 3 * 16 + 8)'
finish
