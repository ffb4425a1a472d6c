#!/bin/sh
# ledge quantize beyond ranges: equalization, adaptive rounding, mixed precision, compared modes and
# the report; each mistake is one sentence that leaves nothing behind.
. "$(dirname "$0")/common.sh"

model=$data/classifier.onnx
set -- "$model" --dataset "cifar10:$work/usual.bin" --samples 60
expect 0 quantize "$@" -o "$work/q.onnx" --equalize --rounding adaptive --seed 3 --mixed --max-drop 0 --compare-modes --report "$work/r.html"
out '^equalized: 0 pairs of layers'
out '^adaptive rounding: 1 layers'
out '^mixed precision: [01] of 1 layers stay in float; .* \(0.00 allowed\), agreement .* 60 samples'
for mode in float 'static, minmax' 'static, percentile' 'static, entropy' 'static, mse' dynamic 'weights only' 'int4 weights'; do
    out "^$mode +[0-9.]+ k?B .*top-1 +[0-9.]+%  agreement +[0-9.]+%  p50"
done
grep -q '<h1>q.onnx</h1>' "$work/r.html" || fail 'the report does not name the model'
grep -q 'adaptive in 1 layers' "$work/r.html" || fail 'the report does not say how the model was made'
grep -q 'static, minmax, equalized, adaptive, mixed &larr; written' "$work/r.html" || fail 'the report does not mark what was written'
grep -Eq 'https?:|<script|url\(' "$work/r.html" && fail 'the report is not self-contained'
expect 0 quantize --json "$@" -o "$work/a.onnx" --rounding adaptive --seed 3 --mixed --min-agreement 100
json 'o["search"]["adapted_layers"] == 1 and o["search"]["adapted_gain_db"] >= 0'
json 'len(o["search"]["damage"]) == 1 and o["search"]["damage"][0]["sqnr_db"] > 0'
json 'o["search"]["mixed"]["agreement"] == 1 and o["search"]["mixed"]["holds"] is True and o["search"]["mixed"]["drop"] <= 0.3'
json '[v["name"] for v in o["search"]["variants"]] == ["float", "static, minmax, adaptive, mixed"]'
# The same seed gives the same model, whatever the threads.
expect 0 quantize "$@" -o "$work/b.onnx" --rounding adaptive --seed 3 --mixed --threads 1
cmp "$work/a.onnx" "$work/b.onnx" || fail 'the same seed gives another model'
expect 0 quantize "$@" -o "$work/c.onnx" --report "$work/plain.html"
grep -q 'Damage layer by layer' "$work/plain.html" || fail 'the report has no layers'
for mode in dynamic weights; do
    expect 0 quantize "$@" -o "$work/c.onnx" --mode $mode --rounding adaptive --report "$work/plain.html"
done

before=$(cksum "$work/c.onnx")
# Ctrl-C in the middle of a search: one sentence, nothing written.
interrupted quantize "$root/models/signs.onnx" --dataset "cifar10:$work/usual.bin" --mixed --compare-modes -o "$work/stopped.onnx"
err 'interrupted; nothing was written'
ls "$work" | grep -q '^stopped\.onnx' && fail "$last: something was left behind"
expect 2 quantize "$@" -o "$work/c.onnx" --rounding up
err 'nearest or adaptive'
one_sentence
expect 2 quantize "$@" -o "$work/c.onnx" --mixed --max-drop much
expect 2 quantize "$@" -o "$work/c.onnx" --max-drop 1
err 'go with --mixed'
expect 2 quantize "$@" -o "$work/c.onnx" --mixed --min-agreement 101
expect 2 quantize "$model" -o "$work/c.onnx" --mode weights --report "$work/n.html"
err '.-report looks at data'
expect 2 quantize "$model" -o "$work/c.onnx" --mode weights --rounding adaptive
expect 2 quantize "$@" -o "$work/c.onnx" --mode int4 --rounding adaptive
err 'not for --mode int4'
[ "$before" = "$(cksum "$work/c.onnx")" ] || fail 'a refused command changed the output'
expect 1 quantize "$@" -o "$work/c.onnx" --report /nonexistent/r.html
err 'r.html'
expect 3 quantize "$data/pair.onnx" -o "$work/n.onnx" -i "a=$work/a.npy" -i "b=$work/b.npy" --mixed
[ ! -e "$work/n.onnx" ] || fail 'a failed search left a model'
finish
