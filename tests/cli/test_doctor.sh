#!/bin/sh
# ledge doctor: says something of each part of the machine, on any machine.
. "$(dirname "$0")/common.sh"

expect 0 doctor
for part in cpu features cores caches heat memory stack clock disk providers onnxruntime; do
    out "^!? +$part "
done
out '[0-9]+ warnings?$'
expect 0 doctor --json
json 'o["findings"]["cores"]["text"] and isinstance(o["warnings"], int)'
json 'o["warnings"] == sum(f["warning"] for f in o["findings"].values())'
expect 3 doctor x
one_sentence
expect 2 doctor x y
expect 2 doctor --provider ort
err 'give one'
expect 0 doctor "$data/classifier.onnx"
out '^ +placement +ran on cpu: all '
LEDGE_CPU=scalar
export LEDGE_CPU
expect 0 doctor
out 'scalar'
finish
