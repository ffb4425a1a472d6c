#!/bin/sh
# ledge eval: accuracy, agreement and confusions that can be worked out by hand.
. "$(dirname "$0")/common.sh"

set -- --images "$work/pictures" --labels "$work/labels.csv"
expect 0 eval --json "$data/classifier.onnx" "$@"
json 'o["pictures"] == 4 and o["labelled"] == 4'
json 'o["models"][0]["top1_count"] == 3 and o["models"][0]["top1"] == 0.75 and o["models"][0]["top5"] == 1'
json '[(c["truth"]["label"], c["answer"]["label"], c["count"]) for c in o["models"][0]["confused"]] == [("green", "red", 1)]'
expect 0 eval "$data/classifier.onnx" "$@"
out 'top-1 75.00% \(3 of 4\)  top-5 100.00%'
out 'green taken for red, 1 time$'
expect 0 eval --json "$data/classifier.onnx" "$data/classifier.onnx" "$@" --limit 3 --threads 2
json 'o["pictures"] == 3 and o["models"][1]["top1"] == 1 and o["agreement"][0]["share"] == 1'
expect 0 eval "$data/classifier.onnx" "$@" -o "$work/predictions.csv"
[ "$(sed -n 5p "$work/predictions.csv")" = rose.png,1,0 ] || fail 'the last prediction is not rose.png,1,0'
# Without labels there is agreement alone.
expect 0 eval --json "$data/classifier.onnx" "$data/classifier.onnx" --images "$work/pictures"
json 'o["labelled"] == 0 and o["models"][0]["top1"] is None and o["agreement"][0]["count"] == 4'
expect 0 eval --json "$data/classifier.onnx" --dataset "cifar10:$work/cifar.bin"
json 'o["models"][0]["top1"] == 1 and o["pictures"] == 3'
# As a ladder: the same model twice is as right as alone, and slower where the first is never sure.
expect 0 eval --json "$data/classifier.onnx" "$data/classifier.onnx" "$@" --ladder top1
json 'all(p["top1"] == 0.75 for p in o["ladder"]["curve"]) and o["ladder"]["curve"][0]["shares"] == [1, 0]'
json 'o["ladder"]["curve"][-1]["shares"] == [0, 1] and o["ladder"]["best"]["threshold"] < 1'
expect 0 eval "$data/classifier.onnx" "$data/classifier.onnx" "$@" --ladder margin
out 'as right as .* from threshold'
expect 2 eval "$data/classifier.onnx" "$data/classifier.onnx" "$@" --ladder entropy
err 'top1 or margin'
expect 2 eval "$data/classifier.onnx" "$@" --ladder top1
err '2 to 8 models'
# The gate.
expect 5 eval "$data/classifier.onnx" "$@" --min-top1 80
err 'below the 80% asked for'
expect 0 eval "$data/classifier.onnx" "$@" --min-top1 75
expect 5 eval --json "$data/classifier.onnx" "$@" --min-top1 75.1
json 'o["passed"] is False'
expect 2 eval "$data/classifier.onnx" "$@" --min-top1 much
expect 2 eval "$data/classifier.onnx"
err 'give --images DIR or --dataset SET'
expect 2 eval "$data/classifier.onnx" "$@" --dataset "cifar10:$work/cifar.bin"
expect 3 eval "$data/classifier.onnx" --dataset "cifar10:$work/labels.csv"
one_sentence
expect 3 eval "$data/classifier.onnx" --images /nonexistent
one_sentence
expect 3 eval "$data/pair.onnx" "$@"
err 'one input'
cp "$work/no_picture.png" "$work/pictures/bad.png"
echo 'bad.png,1' >>"$work/labels.csv"
expect 3 eval "$data/classifier.onnx" "$@"
err 'bad.png'
one_sentence
no_out
expect 1 eval "$data/classifier.onnx" "$@" --limit 4 -o /nonexistent/p.csv
one_sentence
finish
