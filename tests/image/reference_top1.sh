#!/bin/sh
# The classes that ledge gives for the shared photos are those of the reference, photo by photo.
#   reference_top1.sh LEDGE ASSETS MODEL PRESET COLUMN LIMIT
# 77 (skipped) where the shared assets are not there.
set -eu
ledge=$1 assets=$2 model=$3 preset=$4 column=$5 limit=$6
photos=$assets/images/imagenet
[ -f "$photos/reference_top1.csv" ] || exit 77
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$ledge" eval "$assets/models/$model.onnx" --images "$photos" --labels "$photos/labels.csv" \
    --preprocess "$preset" --limit "$limit" --predictions "$dir/got.csv"
sed 1d "$dir/got.csv" | cut -d, -f1,3 >"$dir/got"
sed 1d "$photos/reference_top1.csv" | cut -d, -f"1,$column" | head -n "$limit" >"$dir/want"
[ "$(wc -l <"$dir/got")" = "$limit" ]
diff "$dir/want" "$dir/got"
