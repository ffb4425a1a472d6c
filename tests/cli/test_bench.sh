#!/bin/sh
# ledge bench: every figure is there and in order.
. "$(dirname "$0")/common.sh"

expect 0 bench --json "$data/classifier.onnx" --runs 20 --warmup 2 --cold 2 --threads 1 --seed 7
json 'o["runs"] == 20 and o["warmup"] == 2 and o["threads"] == 1 and o["provider"] == "cpu"'
json 'all(k in o["milliseconds"] for k in ("avg", "p50", "p90", "p95", "p99", "min", "max"))'
json '(lambda m: 0 < m["min"] <= m["p50"] <= m["p90"] <= m["p95"] <= m["p99"] <= m["max"])(o["milliseconds"])'
json 'o["cold_start_ms"]["p50"] >= o["cold_start_ms"]["min"] > 0 and o["peak_memory_bytes"] > 100000'
expect 0 bench "$data/classifier.onnx" -n 5 --cold 1
out 'avg [0-9.]+  p50 [0-9.]+  p90 [0-9.]+  p95 [0-9.]+  p99 [0-9.]+  min [0-9.]+ ms'
out 'cold start, exec to first answer'
out 'peak memory'
expect 0 bench --json "$data/classifier.onnx" -n 5 --cold 0 --profile
json 'o["cold_start_ms"] is None and len(o["steps"]) >= 1 and sum(s["milliseconds"] for s in o["steps"]) > 0'
json 'sum(s["macs"] for s in o["steps"]) > 0'
expect 0 bench --json "$data/pair.onnx" -n 5 --cold 0 -i "a=$work/a.npy" --shape b=1x2
expect 0 bench --json "$data/classifier.onnx" -n 5 --cold 1 --shape picture=4x3x8x8
json 'o["cold_start_ms"] is not None'
expect 3 bench "$data/classifier.onnx" --shape picture=4x3x9x8
err "does not fit the input's float32 \[N,3,8,8\]"
one_sentence
expect 2 bench "$data/classifier.onnx" --shape picture
expect 3 bench "$data/classifier.onnx" --shape nosuch=1
expect 3 bench "$work/text.onnx"
one_sentence
no_out
expect 3 bench "$data/unsupported.onnx"
finish
