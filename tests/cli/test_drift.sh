#!/bin/sh
# ledge drift: a baseline is made, travels with the model, and tells changed pictures from usual ones.
. "$(dirname "$0")/common.sh"

model=$data/classifier.onnx
usual=cifar10:$work/usual.bin
changed=cifar10:$work/changed.bin
expect 0 drift baseline --json "$model" --dataset "$usual" -o "$work/b.json"
json 'o["samples"] == 400 and o["baseline"]["format"] == 1 and sum(o["baseline"]["classes"]) == 400'
json '[f["name"] for f in o["baseline"]["features"]] == ["mean", "spread", "sharpness", "red_blue"]'
expect 0 drift check "$model" --dataset "$usual" -b "$work/b.json" --window 200 --gate warning
out 'answers 201 to 400: fine'
expect 0 drift check --json "$model" --dataset "$changed" -b "$work/b.json" --window 200
json 'o["severity"] == "high" and o["passed"] and o["windows"][-1]["window"] == 200'
json 'any(f["measure"] == "feature_psi(mean)" and f["severity"] == "high" for f in o["windows"][-1]["findings"])'
expect 5 drift check "$model" --dataset "$changed" -b "$work/b.json" --window 200 --gate high
out 'high +class_psi'
err 'drift is high'
# In the model itself.
expect 0 drift baseline "$model" --dataset "$usual" -o "$work/watched.onnx"
expect 5 drift check --json "$work/watched.onnx" --dataset "$changed" --gate warning
json 'o["passed"] is False'
cmp -s "$model" "$work/watched.onnx" && fail 'the model did not get its baseline'
expect 0 run "$work/watched.onnx" "$work/pictures/red.png"
# What cannot be.
expect 3 drift check "$model" --dataset "$usual"
err 'carries no baseline'
expect 3 drift check "$model" --dataset "$usual" -b "$work/bad.json"
one_sentence
expect 3 drift check "$model" --dataset "$usual" -b /nonexistent
one_sentence
expect 3 drift baseline "$model" --dataset "$usual" -n 49 -o "$work/few.json"
err '49 pictures'
[ ! -e "$work/few.json" ] || fail 'a refused baseline was written'
expect 1 drift baseline "$model" --dataset "$usual" -n 60 -o /nonexistent/b.json
one_sentence
expect 2 drift baseline "$model" --dataset "$usual"
expect 2 drift check "$model"
expect 2 drift check "$model" --dataset "$usual" --gate low
expect 2 drift look "$model" --dataset "$usual"
err 'neither baseline nor check'
expect 3 drift baseline "$data/pair.onnx" --dataset "$usual" -o "$work/few.json"
err 'one input'
finish
