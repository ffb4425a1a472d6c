#!/bin/sh
# The demo: draws pictures of traffic signs that the model in models/ has never seen, lets ledge
# name some, measures its accuracy over all of them and its latency.
# DEMO_SEED picks other pictures; by default the clock does.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}
ledge=$build/ledge
model=models/signs.onnx
seed=${DEMO_SEED:-$(date +%s)}
out=demo-out

say() {
    printf '\n%s\n' "$*"
}

rm -rf "$out"
"$build/models/draw_signs" "$out" 400 "$seed"
say "Drew 400 traffic signs that $model has not seen (seed $seed) in $out/"

say "\$ ledge run $model $out/sign_0000[0-5].png --top 2"
"$ledge" run "$model" "$out"/sign_0000[0-5].png --top 2
echo "(what was drawn: $(sed -n '2,7s/.*,//p' "$out/labels.csv" | while read -r class; do
    "$build/models/draw_signs" --names | sed -n "$((class + 1))p"
done | paste -sd, | sed 's/,/, /g'))"

say "\$ ledge eval $model --images $out --labels $out/labels.csv"
"$ledge" eval "$model" --images "$out" --labels "$out/labels.csv"

say "\$ ledge bench $model"
"$ledge" bench "$model"

say "next: look at the pictures in $out/, then give ledge a model of your own:"
cat <<END
  $ledge inspect MODEL.onnx              what is in it
  $ledge run     MODEL.onnx PHOTO.jpg --preprocess imagenet
  $ledge run     MODEL.onnx --input NAME=DATA.npy --output DIR
  $ledge bench   MODEL.onnx              its latency here
END
