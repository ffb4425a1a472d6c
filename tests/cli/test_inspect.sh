#!/bin/sh
# ledge inspect: what is in a file, and files that are none.
. "$(dirname "$0")/common.sh"

expect 0 inspect "$data/classifier.onnx"
out '^inputs +picture  float32 \[N,3,8,8\]'
out '^outputs +scores  float32 \[N,4\]'
out 'opset 13'
out '^parameters +16 in 2 tensors, 64 B: float32 64 B'
out '1  Gemm'
out '^quantized +nothing'
out '^runs +all [0-9]+ steps on cpu'
expect 0 inspect --json "$data/classifier.onnx"
json 'o["parameters"] == 16 and o["nodes"] == 3 and o["opsets"] == [{"domain": "", "version": 13}]'
json 'o["inputs"] == [{"name": "picture", "type": "float32", "shape": ["N", 3, 8, 8]}]'
json 'o["metadata"]["ledge.labels"].split("\n")[2] == "blue"'
json 'o["run"]["runnable"] is True and o["run"]["macs"] >= 12 and o["run"]["provider"] == "cpu"'
json 'len(o["run"]["steps"]) >= 1'
expect 0 inspect --steps "$data/classifier.onnx"
out '^step '
expect 0 inspect --graph "$data/classifier.onnx"
out 'Gemm'
expect 2 inspect --graph --json "$data/classifier.onnx"
expect 0 inspect --json "$data/qdq.onnx"
json 'o["quantization"] == {"weighted_operators": 1, "quantized": 1, "quantize_linear": 1, "dequantize_linear": 2}'
# What really runs in integers: all of a quantized model's work, or what is left in float by name.
expect 0 inspect "$data/qdq.onnx"
out '^work .*100.0 % of them in 8-bit integers'
expect 0 inspect --json "$data/qdq.onnx"
json 'o["run"]["integer_macs"] == o["run"]["macs"] > 0'
json 'any(s["integer"] for s in o["run"]["steps"])'
expect 0 inspect --json "$data/subgraph.onnx"
json 'o["subgraphs"] == 4 and o["nodes"] == 5'
expect 0 inspect --json "$data/external.onnx"
json 'o["external_bytes"] == 8012 and o["parameters"] == 2003'
# What cannot run is still shown, with the reason.
expect 0 inspect "$data/unsupported.onnx"
out 'NoSuchOperator   \(not supported\)'
out '^runs +no: .*NoSuchOperator'
expect 0 inspect --json "$data/unsupported.onnx"
json 'o["run"]["runnable"] is False and "NoSuchOperator" in o["run"]["message"] + o["run"]["where"]'
expect 0 inspect --json "$data/everything.onnx"
json 'o["run"]["runnable"] is False'
expect 0 inspect --json "$data/function.onnx"
json 'o["functions"] == 1 and all(p["supported"] for p in o["operators"])'
# Names and values in models cannot move the terminal's cursor.
python3 - "$data/classifier.onnx" "$work/evil.onnx" <<'PY'
import sys
data = open(sys.argv[1], "rb").read()
open(sys.argv[2], "wb").write(data.replace(b"picture", b"pic\x1b[2J"))
PY
expect 0 inspect "$work/evil.onnx"
if grep -q "$(printf '\033')" "$work/out"; then fail 'an escape character reaches the terminal'; fi
# No models.
for file in text.onnx empty.onnx nonexistent.onnx pictures; do
    expect 3 inspect "$work/$file"
    err "^ledge: $work/$file: "
    one_sentence
    no_out
done
head -c 200 "$data/classifier.onnx" >"$work/cut.onnx"
expect 3 inspect "$work/cut.onnx"
err 'byte [0-9]+: '
one_sentence
finish
