#!/bin/sh
# Providers of one's own: partition, fallback, transfer, and everything one can do wrong.
. "$(dirname "$0")/provider_common.sh"
mixed=$models/mixed.onnx
relu=$models/relu.onnx
LEDGE_ORT=$work/nosuch.so
export LEDGE_ORT

# The example runs Conv and leaves the rest to the CPU.
expect 0 bench --json "$mixed" --provider "cpu,$blas" --runs 3 --cold 1 -t 1 --shape x=2x3x8x8
json '[s["placement"]["got"] for s in o["sides"]] == ["cpu", "blas+cpu"]'
json 'o["comparisons"][0]["nmse"] < 1e-10 and o["comparisons"][0]["ratio_min"] > 0'
json 'all(s["cold_start_ms"]["p50"] > 0 and s["peak_memory_bytes"] > 0 for s in o["sides"])'
json '{p["name"]: p["nodes"] for p in o["sides"][1]["placement"]["providers"]} == {"blas": 5, "cpu": 4}'
json 'o["sides"][1]["placement"]["providers"][0]["macs"] == o["sides"][0]["placement"]["macs"] == 64 * 9 * (12 + 3 * 16 + 8)'
json 'sorted(f["op_type"] for f in o["sides"][1]["placement"]["fallbacks"]) == ["Add", "Flatten", "Relu", "Sigmoid"]'
json 'o["sides"][1]["placement"]["fallbacks"][0]["reason"] == "this provider runs Conv alone"'
expect 0 bench "$mixed" --provider "cpu,$blas" --runs 3 --cold 0 --shape x=5x3x8x8
out 'NMSE [0-9.e-]+, top-1 agrees 100.0%'
out 'ran on blas \(1.0 \(.*\)\): 5 of 9 nodes, 39.17 k MACs; cpu: 4 of 9 nodes'
expect 4 bench "$mixed" --provider "$blas" --strict
err "strict: 4 of 9 nodes would run elsewhere, the first being Relu '.*' on cpu: this provider runs Conv alone"
one_sentence
expect 0 bench "$mixed" --provider "$blas" --profile --runs 2 --cold 0
out 'External +blas_part_0'
expect 0 bench "$relu" --provider "$odd" --profile --runs 2 --cold 0
err 'odd runs the model in one go'
# The weights are too much: the CPU takes over, with the provider's own words.
expect 0 bench --json "$mixed" --provider "$blas" --provider-option blas.memory_limit=100 --runs 2 --cold 0
json 'o["provider"] == "cpu" and "do not fit" in o["placement"]["providers"][0]["reason"]'
err "the weights do not fit the device's memory"
# The weights fit, large batches do not: they are cut.
expect 0 bench --json "$mixed" --provider "$blas" --provider-option blas.memory_limit=12000 --runs 2 --cold 0 --shape x=9x3x8x8
json 'o["provider"] == "blas+cpu" and "in parts of at most" in o["placement"]["note"]'
expect 0 bench --json "$mixed" --provider "$blas" --provider-option blas.memory_limit=3000 --runs 2 --cold 0 --shape x=9x3x8x8
json 'o["provider"] == "cpu" and "blas ran out of memory; cpu goes on" == o["placement"]["note"]'
expect 2 bench "$mixed" --provider "$blas" --provider-option blas.memory_limits=1
err "did you mean 'memory_limit'"
PROVIDER_BLAS_MISSING=unplugged expect 4 bench "$mixed" --provider "$blas" --strict
err 'no device: unplugged'

# Whole models: it takes every node, and no plan of ledge's is made.
expect 0 run "$relu" "$rows" -o "$work/cpu"
expect 0 run --json "$relu" "$rows" --provider "$odd" --strict -o "$work/odd"
json 'o["provider"] == "odd" and o["placement"]["nodes"] == 2'
no_err
same_answer cpu odd
expect 0 run --json "$models/through.onnx" "$rows" --provider "$odd" --strict -o "$work/through"
json 'o["provider"] == "odd" and len(o["results"][0]["outputs"]) == 2'
tail -c 80 "$rows" >"$work/want"
tail -c 80 "$work/through/x.npy" >"$work/got"
checks=$((checks + 1))
cmp -s "$work/want" "$work/got" || fail "$last: an output that is an input came back changed"
# Two providers and the CPU: each takes what the one before leaves.
expect 0 bench --json "$mixed" --provider "$blas" --runs 1 --cold 0
expect 0 run --json "$mixed" --provider "$odd,$blas" --input x="$work/picture.npy"
json '{p["name"]: p["nodes"] for p in o["placement"]["providers"]} == {"odd": 1, "blas": 5, "cpu": 3}'

odds() { # MODE EXIT-CODE PATTERN
    ODD_PROVIDER=$1 expect "$2" run --json "$relu" "$rows" --provider "$odd,cpu" -o "$work/$1"
    err "$3"
}
odds crash 0 'crashed while being probed \(Aborted'
same_answer cpu crash
LEDGE_PROBE_SECONDS=1
export LEDGE_PROBE_SECONDS
odds hang 0 'did not answer within 1 seconds'
odds absent 0 'no such chip; plug one in'
odds old 0 'interface version 0'
odds nameless 0 'leaves out its name'
odds namesake 0 "calls itself 'cpu'"
odds open 0 'the chip is in use'
odds claim 0 'the model is too strange'
odds compile 0 'the compiler gave up'
same_answer cpu compile
odds none 0 '2 of 2 nodes do not run on odd, the first being Relu .a. on cpu: only Relu is done here'
odds run 1 'the chip overheated'
odds small 1 'gave no output 0'
odds memory 0 "out of memory at batch 3; run in parts of at most 2"
same_answer cpu memory
ODD_PROVIDER=run expect 1 run "$mixed" --provider "$odd" --input x="$work/picture.npy"
err 'provider odd: the chip overheated'
for bad in "$fake" "$work/nosuch.so" "$rows/x.so"; do
    expect 4 run "$relu" "$rows" --provider "$bad" --strict
    err 'it cannot be used'
    one_sentence
done
# A compiled model has no ONNX in it to give away.
expect 0 compile "$relu" -o "$work/relu.ledge"
expect 0 run --json "$work/relu.ledge" "$rows" --provider "$odd"
json 'o["provider"] == "cpu" and "compiled model" in o["placement"]["providers"][0]["reason"]'
finish
