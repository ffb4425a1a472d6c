#!/bin/sh
# ledge quantize: the model that comes out answers alike, and every mistake is one sentence that
# leaves nothing behind.
. "$(dirname "$0")/common.sh"

pictures=$work/pictures
before=$(cksum "$data/classifier.onnx")
expect 0 quantize "$data/classifier.onnx" -o "$work/q.onnx" --calibrate "$pictures" --preprocess none
err 'only 4 samples'
out 'q.onnx: .* instead of'
out '1 of 1 layers with weights on integers'
expect 0 inspect --json "$work/q.onnx"
json 'o["run"]["runnable"] and o["quantized"]["weighted_quantized"] == 1 if "quantized" in o else True'
json 'any(k == "ledge.quantization" for k in o["metadata"]) and any(k == "ledge.baseline" for k in o["metadata"])'
json '"ledge.preprocess" in o["metadata"] and "ledge.labels" in o["metadata"]'
for picture in red green blue; do
    expect 0 run --json "$data/classifier.onnx" "$pictures/$picture.png"
    cp "$work/out" "$work/float.json"
    expect 0 run --json "$work/q.onnx" "$pictures/$picture.png"
    json "o['results'][0]['top'][0]['label'] == json.load(open('$work/float.json'))['results'][0]['top'][0]['label']"
done

expect 0 quantize --json "$data/classifier.onnx" -o "$work/q.onnx" -d "$pictures" -l "$work/labels.csv" -n 3
json 'o["quantization"]["samples"] == 3 and o["layers_integer"] == 1 and o["layers_float"] == 0'
json 'o["output_bytes"] > 0 and o["ratio"] > 0 and len(o["warnings"]) >= 1'
json 'o["quantization"]["calibrator"] == "minmax" and "scores" not in o["quantization"]["ranges"]'
for calibrator in minmax percentile entropy mse; do
    expect 0 quantize --json "$data/classifier.onnx" -o "$work/$calibrator.onnx" -d "$pictures" --calibrator $calibrator
    json "o['quantization']['calibrator'] == '$calibrator'"
done
expect 0 quantize --json "$data/classifier.onnx" -o "$work/q.onnx" -i "picture=$work/picture.npy" --target tensorrt
json 'o["quantization"]["target"] == "tensorrt"'
json 'o["quantization"]["activations"] == 8'
for target in cpu npu; do
    expect 0 quantize --json "$data/classifier.onnx" -o "$work/wide.onnx" -d "$pictures" --activations 16 --target $target
    json 'o["quantization"]["activations"] == 16 and o["layers_integer"] == 1'
    expect 0 run --json "$work/wide.onnx" "$pictures/blue.png"
    json "o['results'][0]['top'][0]['label'] == json.load(open('$work/float.json'))['results'][0]['top'][0]['label']"
done
expect 0 quantize --json "$data/classifier.onnx" -o "$work/q.onnx" -d "$work/picture.npy"
expect 0 quantize --json "$data/classifier.onnx" -o "$work/q.onnx" -i "picture=$work/mixed.npy"
json 'any("unlike each other" in w and "sample 2" in w for w in o["warnings"])'
expect 0 quantize --json "$data/classifier.onnx" -o "$work/q.onnx" -i "picture=$work/zeros.npy"
json 'any("one value in all samples" in w for w in o["warnings"])'
for mode in dynamic weights int4 'int4 --format onnx --block 16'; do
    expect 0 quantize "$data/classifier.onnx" -o "$work/q.onnx" --mode $mode
    expect 0 inspect --json "$work/q.onnx"
done
expect 0 quantize --json "$data/classifier.onnx" -o "$work/q.onnx" --mode weights -x Gemm
json 'o["layers_integer"] == 0 and o["float_nodes"][0]["why"] == "it was excluded"'

# mistakes of usage
expect 2 quantize "$data/classifier.onnx" -d "$pictures"
err '-o OUT.onnx'
expect 2 quantize "$data/classifier.onnx" -o "$work/n.onnx"
err 'needs data'
expect 2 quantize "$data/classifier.onnx" -o "$work/n.onnx" -d "$pictures" --dataset "cifar10:$work/cifar.bin"
for bad in '--activations 12' '--activations 16 --mode weights' '--activations 16 --target tensorrt' \
    '--activations 16 --calibrator mse' '--activations 16 --compare-modes' '--mode fast' '--calibrator best' '--percentile 20' '--percentile x' '--target gpu' \
    '--weights big' '--block 48' '--block 8' '--format q4'; do
    expect 2 quantize "$data/classifier.onnx" -o "$work/n.onnx" -d "$pictures" $bad
    no_out
done

# bad input
mkdir "$work/none"
expect 3 quantize "$data/classifier.onnx" -o "$work/n.onnx" -d "$work/none"
err 'holds no .jpg or .png picture'
one_sentence
expect 3 quantize "$data/classifier.onnx" -o "$work/n.onnx" -d "$work/nowhere"
one_sentence
mkdir "$work/broken"
cp "$work/no_picture.png" "$work/broken"
expect 3 quantize "$data/classifier.onnx" -o "$work/n.onnx" -d "$work/broken" --preprocess tf
err 'no_picture.png'
expect 3 quantize "$data/classifier.onnx" -o "$work/n.onnx" -i "picture=$work/a.npy"
err 'dimensions'
expect 3 quantize "$data/classifier.onnx" -o "$work/n.onnx" -i "nobody=$work/picture.npy"
err 'no input of this name'
expect 3 quantize "$data/classifier.onnx" -o "$work/n.onnx" -i "picture=$work/nan.npy"
err 'NaN'
expect 3 quantize "$data/pair.onnx" -o "$work/n.onnx" --mode weights
err 'nothing to quantize'
one_sentence
expect 3 quantize "$data/qdq.onnx" -o "$work/n.onnx" --mode weights
err 'quantized already'
one_sentence
expect 3 quantize "$work/minmax.onnx" -o "$work/n.onnx" -d "$pictures"
err 'quantized already'
expect 2 quantize "$data/classifier.onnx" -o "$work/n.onnx" --mode weights -x NoSuchThing
err 'NoSuchThing'
one_sentence
expect 3 quantize "$work/text.onnx" -o "$work/n.onnx" --mode weights
one_sentence
expect 3 quantize "$data/unsupported.onnx" -o "$work/n.onnx" --mode weights
one_sentence
expect 0 compile "$data/classifier.onnx" -o "$work/c.ledge"
expect 3 quantize "$work/c.ledge" -o "$work/n.onnx" --mode weights
err 'compiled'
one_sentence
[ ! -e "$work/n.onnx" ] || fail 'a model was written in spite of a mistake'

# the output
cp "$data/classifier.onnx" "$work/same.onnx"
expect 2 quantize "$work/same.onnx" -o "$work/same.onnx" --mode weights
err 'is the model that is read'
cmp -s "$data/classifier.onnx" "$work/same.onnx" || fail 'the input was changed'
expect 1 quantize "$data/classifier.onnx" -o /nonexistent/q.onnx --mode weights
one_sentence
# a disk that is full: no file may grow beyond one block of 512 bytes
(ulimit -f 1; "$ledge" quantize "$data/classifier.onnx" -o "$work/full.onnx" -d "$pictures" >"$work/out" 2>"$work/err")
code=$?
last='quantize on a full disk'
[ $code = 1 ] || fail "exit code $code, not 1"
[ ! -e "$work/full.onnx" ] || fail 'half a file was left'
ls "$work" | grep -q 'full.onnx' && fail 'a temporary file was left'

# Ctrl-C while calibrating
mkdir "$work/many"
python3 -c '
import os, sys
for i in range(30000):
    os.link(sys.argv[1], os.path.join(sys.argv[2], "%05d.png" % i))' "$pictures/red.png" "$work/many"
interrupted quantize "$root/models/signs.onnx" -o "$work/int.onnx" -d "$work/many"
ls "$work" | grep -q '^int\.onnx' && fail "$last: something was left behind"
[ "$before" = "$(cksum "$data/classifier.onnx")" ] || fail 'the input was changed'
finish
