#!/bin/sh
# ledge run: pictures and tensors in, answers out; wrong names, types, shapes and files.
. "$(dirname "$0")/common.sh"

expect 0 run "$data/classifier.onnx" "$work/pictures/red.png" "$work/pictures/blue.png"
out 'pictures/red.png  \([0-9.]+ ms\)'
[ "$(sed -n 2p "$work/out" | awk '{print $3}')" = red ] || fail 'red is not the first answer for red.png'
out '2  blue'
expect 0 run --json "$data/classifier.onnx" "$work/pictures/green.png" --top 2
json 'len(o["results"]) == 1 and len(o["results"][0]["top"]) == 2'
json 'o["results"][0]["top"][0]["label"] == "green" and o["results"][0]["top"][0]["class"] == 1'
json 'abs(o["results"][0]["top"][0]["score"] - 4 * 250 / 255) < 1e-4'
json '0 < o["results"][0]["top"][0]["probability"] < 1'
# Other names for the classes; WordNet ids are skipped.
expect 0 run --labels "$work/names.txt" "$data/classifier.onnx" "$work/pictures/blue.png"
out '2  bleu$'
# A tensor as it is: its last plane is 1.
expect 0 run --json "$data/classifier.onnx" "$work/picture.npy"
json 'o["results"][0]["top"][0]["label"] == "blue"'
# Several inputs and outputs, by name and in order, for any number of threads.
for threads in 1 2; do
    expect 0 run --json -t $threads "$data/pair.onnx" -i "b=$work/b.npy" --input="a=$work/a.npy" -o "$work/res"
    json '[(x["name"], x["min"], x["max"]) for x in o["results"][0]["outputs"]] == [("sum", 4, 7), ("product/x", 3, 10)]'
done
[ -f "$work/res/sum.npy" ] && [ -f "$work/res/product_x.npy" ] || fail 'outputs were not written'
expect 0 run --json "$data/pair.onnx" -i "a=$work/res/sum.npy" "$work/res/product_x.npy"
json 'o["results"][0]["outputs"][0]["max"] == 17'
expect 0 run "$data/pair.onnx" -i "a=$work/a.npy" "$work/b.npy"
out 'sum +float32 \[1,2\]  min 4  max 7  mean 5.5'
expect 0 run --no-optimize --json "$data/classifier.onnx" "$work/picture.npy"
json 'o["results"][0]["top"][0]["score"] == 4'
# Two pictures, two files.
expect 0 run "$data/classifier.onnx" "$work/pictures/red.png" "$work/pictures/blue.png" -o "$work/two"
[ -f "$work/two/red.scores.npy" ] && [ -f "$work/two/blue.scores.npy" ] || fail 'one file a picture is missing'
# Mistakes: one sentence, code 3.
expect 3 run "$data/pair.onnx" -i "nosuch=$work/a.npy"
err "no input 'nosuch'; it has 'a', 'b'"
one_sentence
expect 3 run "$data/pair.onnx" -i "a=$work/a.npy"
err "input 'b' .* is not given"
expect 3 run "$data/pair.onnx" -i "a=$work/wrong_shape.npy" -i "b=$work/b.npy"
err "'?a'?"
one_sentence
expect 3 run "$data/pair.onnx" -i "a=$work/wrong_type.npy" -i "b=$work/b.npy"
err 'int32'
one_sentence
expect 3 run "$data/pair.onnx" -i "a=$work/a.npy" -i "a=$work/b.npy"
err 'given twice'
expect 3 run "$data/pair.onnx" -i "a=$work/a.npy" -i "b=$work/a.npy" "$work/b.npy"
err 'one too many'
for file in no_picture.png cut.png nonexistent.jpg; do
    expect 3 run "$data/classifier.onnx" "$work/$file"
    err "^ledge: $work/$file: "
    one_sentence
done
expect 3 run "$data/unsupported.onnx" "$work/a.npy"
err 'NoSuchOperator'
one_sentence
expect 3 run "$data/classifier.onnx" "$work/pictures/red.png" --preprocess nosuch
expect 3 run "$data/classifier.onnx" "$work/pictures/red.png" --preprocess "$work/bad.json"
expect 3 run "$data/classifier.onnx" "$work/pictures/red.png" --labels /nonexistent
expect 2 run --cpu nosuch "$data/classifier.onnx" "$work/picture.npy"
err 'not a CPU level'
expect 1 run "$data/classifier.onnx" "$work/picture.npy" -o "$work/text.onnx/below"
one_sentence
# A model that does not say how its pictures are prepared: a warning, on stderr.
expect 0 run "$data/classifier.onnx" "$work/pictures/red.png"
[ ! -s "$work/err" ] || fail 'a warning where there is nothing to warn of'
finish
