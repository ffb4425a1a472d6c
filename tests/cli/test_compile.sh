#!/bin/sh
# ledge compile: the compiled file gives the same answers; what cannot be written leaves nothing.
. "$(dirname "$0")/common.sh"

expect 0 compile "$data/classifier.onnx" -o "$work/c.ledge"
out 'c.ledge'
expect 0 inspect --json "$work/c.ledge"
json 'o["format"] == "ledge" and o["run"]["runnable"] is True'
expect 0 run --json "$work/c.ledge" "$work/pictures/blue.png"
json 'o["results"][0]["top"][0]["label"] == "blue"'
expect 0 run "$data/classifier.onnx" "$work/picture.npy" -o "$work/from_onnx"
expect 0 run "$work/c.ledge" "$work/picture.npy" -o "$work/from_ledge"
cmp "$work/from_onnx/scores.npy" "$work/from_ledge/scores.npy" || fail 'the compiled model answers otherwise'
expect 0 compile --json "$data/classifier.onnx" -o "$work/c.ledge" --shape picture=2x3x8x8
json 'o["output_bytes"] > 0'
expect 3 preprocess set "$work/c.ledge" tf
err 'a compiled model is not changed'
one_sentence
expect 2 compile "$data/classifier.onnx"
err '-o M.ledge'
expect 3 compile "$work/text.onnx" -o "$work/t.ledge"
one_sentence
[ ! -e "$work/t.ledge" ] || fail 'a file was left for a model that cannot be read'
expect 1 compile "$data/classifier.onnx" -o /nonexistent/c.ledge
one_sentence
head -c 4000 "$work/c.ledge" >"$work/cut.ledge"
expect 3 run "$work/cut.ledge" "$work/picture.npy"
one_sentence
expect 3 inspect "$work/cut.ledge"
one_sentence
finish
