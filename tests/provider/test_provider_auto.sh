#!/bin/sh
# auto takes the fastest that is here, and keeps what it measured; doctor lists what is here.
. "$(dirname "$0")/provider_common.sh"
relu=$models/relu.onnx
XDG_CACHE_HOME=$work/cache
LEDGE_ORT=$fake
FAKE_ORT=plain
export XDG_CACHE_HOME LEDGE_ORT FAKE_ORT
kept() {
    find "$XDG_CACHE_HOME" -type f 2>/dev/null
}

expect 0 run --json "$relu" "$rows" --provider auto -o "$work/auto"
json 'o["placement"]["asked"] == "auto" and o["provider"] in ("cpu", "ort", "cuda") and not o["placement"]["fell_back"]'
checks=$((checks + 1))
[ "$(kept | wc -l)" = 1 ] || fail 'auto did not keep its measurement'
# What is kept counts, and is not measured again.
last='kept choice'
for first in ort cpu; do
    second=$([ $first = ort ] && echo cpu || echo ort)
    echo "$first,$second" >"$(kept)"
    expect 0 run --json "$relu" "$rows" --provider auto
    json "o[\"provider\"] == \"$first\""
done
# A damaged file is measured anew; another model has a file of its own.
echo 'rm -rf /' >"$(kept)"
expect 0 run --json "$relu" "$rows" --provider auto
json 'o["provider"] in ("cpu", "ort", "cuda")'
expect 0 bench --json "$models/mixed.onnx" --provider auto --runs 1 --cold 0
checks=$((checks + 1))
[ "$(kept | wc -l)" = 2 ] || fail 'another model shares a measurement'
# An operator that only ONNX Runtime knows decides by itself.
expect 0 run --json "$models/unknown.onnx" "$rows" --provider auto
json 'o["provider"] in ("ort", "cuda")'
# Nowhere to keep it: it works all the same.
XDG_CACHE_HOME=/proc/nosuch expect 0 run "$relu" "$rows" --provider auto
LEDGE_ORT=$work/nosuch.so expect 0 run --json "$relu" "$rows" --provider auto
json 'o["provider"] == "cpu" and not o["placement"]["fell_back"]'

expect 0 doctor --json
json 'o["providers"][0]["name"] == "cpu" and len(o["providers"]) >= 13'
json '{p["name"]: p["usable"] for p in o["providers"]}["ort"] is True'
json '"has no QNNExecutionProvider" in {p["name"]: p["reason"] for p in o["providers"]}["qnn"]'
expect 0 doctor
out '^ +providers +cpu [0-9.]+, ort 1.20.0, cuda 1.20.0$'
FAKE_ORT=crash expect 0 doctor
out '^! +onnxruntime +.*crashed while being probed'
FAKE_ORT=old expect 0 doctor
out '^! +onnxruntime +.*too old'
FAKE_ORT=missing expect 0 doctor
out '^! +cuda +.*libcublasLt.so.12'
FAKE_ORT=half expect 0 doctor "$relu" --provider cuda
out '^! +fallback +1 of 2 nodes'
out '^ +placement +ran on cuda'
FAKE_ORT=half expect 0 doctor "$relu" --provider cuda --json
json 'o["placement"]["fell_back"] and o["findings"]["fallback"]["warning"]'
FAKE_ORT=record expect 4 doctor "$relu" --provider cuda --strict
expect 0 doctor "$relu"
out '^ +placement +ran on cpu: all 2 nodes'
expect 3 doctor "$work/nosuch.onnx"
expect 2 doctor "$relu" "$relu"
finish
