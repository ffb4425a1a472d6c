#!/bin/sh
# ledge preprocess: kept in the model, found again by run; the input file is only replaced whole.
. "$(dirname "$0")/common.sh"

cp "$data/classifier.onnx" "$work/m.onnx"
chmod u+w "$work/m.onnx"
expect 0 preprocess show "$work/m.onnx"
json 'o["from"] == "model" and o["preprocess"]["resize"] == {"width": 8, "height": 8}'
expect 0 preprocess set "$work/m.onnx" tf -o "$work/tf.onnx"
expect 0 preprocess show "$work/tf.onnx"
json 'o["preprocess"]["mean"] == [127.5] * 3'
cmp -s "$data/classifier.onnx" "$work/m.onnx" || fail '-o changed the model itself'
expect 0 preprocess set "$work/m.onnx" '{"resize": {"width": 8, "height": 8}, "color": "bgr"}' --labels "$work/names.txt"
# With the colours swapped, red is taken for blue.
expect 0 run --json "$work/m.onnx" "$work/pictures/red.png"
json 'o["results"][0]["top"][0]["class"] == 2 and o["results"][0]["top"][0]["label"] == "bleu"'
expect 0 preprocess set --json "$work/m.onnx" none
json 'o["preprocess"]["scale"] == 1'
expect 3 preprocess set "$work/m.onnx" nosuch
one_sentence
expect 3 preprocess set "$work/m.onnx" "$work/bad.json"
one_sentence
expect 3 preprocess set "$work/text.onnx" tf
one_sentence
[ "$(cat "$work/text.onnx")" = 'this is no model at all' ] || fail 'a file that is no model was changed'
expect 2 preprocess sett "$work/m.onnx" tf
err "did you mean 'set'"
expect 2 preprocess show "$work/m.onnx" tf
expect 2 preprocess set "$work/m.onnx"
expect 1 preprocess set "$work/m.onnx" tf -o /nonexistent/m.onnx
one_sentence
finish
