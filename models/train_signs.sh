#!/bin/sh
# Trains the demo model by ledge alone: train_signs.sh BUILD OUT.onnx [WORK]
# Pictures are drawn into WORK (a folder in BUILD if not given) unless they are there already.
# THREADS says how many to train on (0: every fast core); the model is the same for any number.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$1
out=$2
work=${3:-$build/signs}
mkdir -p "$work"
[ -f "$work/train/labels.csv" ] || "$build/models/draw_signs" "$work/train" 8000 1
[ -f "$work/check/labels.csv" ] || "$build/models/draw_signs" "$work/check" 1000 2
"$build/models/draw_signs" --names >"$work/names.txt"
exec "$build/src/cli/ledge" distill --student tiny --preprocess "$here/signs.json" \
    --names "$work/names.txt" --data "folder:$work/train,$work/train/labels.csv" \
    --eval "folder:$work/check,$work/check/labels.csv" --optimizer adamw --rate 0.003 --warmup 1 \
    --smoothing 0.05 --epochs 14 --seed 1 --threads "${THREADS:-0}" -o "$out"
