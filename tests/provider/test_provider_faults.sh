#!/bin/sh
# What can be wrong with ONNX Runtime's library, each told in a sentence, and never a crash.
. "$(dirname "$0")/provider_common.sh"
relu=$models/relu.onnx
run_rows() { # EXIT-CODE OPTION...
    code=$1
    shift
    expect "$code" run --json "$relu" "$rows" "$@"
}
expect 0 run "$relu" "$rows" -o "$work/cpu"
out '^ran on cpu: all 2 nodes, 0 MACs$'
no_err

# Not there: the CPU runs, loudly; with --strict nothing does.
LEDGE_ORT=$work/nosuch.so
export LEDGE_ORT
run_rows 0 --provider ort -o "$work/absent"
err "warning: ort does not run: LEDGE_ORT names '.*nosuch.so', which cannot be read; install"
json 'o["provider"] == "cpu" and o["placement"]["fell_back"] and o["placement"]["asked"] == "ort"'
json '[p["usable"] for p in o["placement"]["providers"]] == [False, True]'
same_answer cpu absent
run_rows 4 --provider ort --strict
err 'strict: it cannot be used, cpu would run instead'
one_sentence
json 'o["error"]["status"] == 12'

# A text file in its place.
echo 'this is no library' >"$work/text.so"
LEDGE_ORT=$work/text.so
run_rows 0 --provider ort
err 'no library that can be loaded here'
run_rows 4 --provider ort --strict
one_sentence
# A library, but another one.
LEDGE_ORT=$odd
run_rows 4 --provider ort --strict
err 'it has no OrtGetApiBase'

LEDGE_ORT=$fake
fakes() { # MODE
    FAKE_ORT=$1
    export FAKE_ORT
}
fakes old
run_rows 4 --provider ort --strict
err 'ONNX Runtime 1.12.1 is too old: its C API must be version 18 or later'
fakes low
run_rows 4 --provider ort --strict
err 'ONNX Runtime 1.30.0 is too old'
fakes crash
run_rows 4 --provider ort --strict
err 'crashed while being probed \(Segmentation fault'
run_rows 0 --provider ort
err 'crashed while being probed'
fakes exit
run_rows 4 --provider ort --strict
err 'ended the process while being probed'
fakes hang
LEDGE_PROBE_SECONDS=1 run_rows 4 --provider ort --strict
err 'did not answer within 1 seconds'

# One that works.
fakes plain
run_rows 0 --provider ort --strict -o "$work/ort"
no_err
json 'o["provider"] == "ort" and not o["placement"]["fell_back"]'
json 'o["placement"]["providers"][0]["version"] == "ONNX Runtime 1.20.0"'
same_answer cpu ort

# One that lists a provider that it cannot add; that it lacks; that runs nothing; that runs half.
fakes missing
run_rows 4 --provider cuda --strict
err 'Failed to load libcublasLt.so.12: no such file; install an NVIDIA driver'
run_rows 0 --provider cuda,ort
json 'o["provider"] == "ort" and o["placement"]["fell_back"]'
err 'warning: cuda does not run'
run_rows 0 --provider openvino
err "this build of ONNX Runtime 1.20.0 has no OpenVINOExecutionProvider \(it has cuda, ort\)"
fakes liar
run_rows 0 --provider cuda
json 'o["provider"] == "ort" and o["placement"]["fell_back"] and o["placement"]["settled"]'
json 'o["placement"]["source"].startswith("ONNX Runtime") and "profile" in o["placement"]["source"]'
json '[f["node"] for f in o["placement"]["fallbacks"]] == ["a", "b"]'
err '2 of 2 nodes do not run on cuda, the first being Relu .a. on ort'
fakes half
run_rows 0 --provider cuda
json '{p["name"]: p["nodes"] for p in o["placement"]["providers"]} == {"cuda": 1, "ort": 1}'
json 'o["placement"]["fallbacks"][0] == {"node": "b", "op_type": "Relu", "from": "cuda", "to": "ort", "reason": "CUDAExecutionProvider does not take this Relu here"}'
checks=$((checks + 1))
ls "${TMPDIR:-/tmp}"/ledge-*_1.json >/dev/null 2>&1 && fail 'a profile was left behind'
fakes record
run_rows 0 --provider cuda
json 'o["placement"]["source"].endswith("record") and o["placement"]["providers"][0]["nodes"] == 1'
run_rows 4 --provider cuda --strict
err "strict: 1 of 2 nodes would run elsewhere, the first being Relu 'b' on ort"
one_sentence

# Memory that gives out: a smaller batch, then the next provider, said out loud.
fakes oom2
run_rows 0 --provider cuda,cpu -o "$work/oom2"
json 'o["provider"] == "cuda" and "at most 2" in o["placement"]["note"]'
err 'warning: out of memory at batch 3; run in parts of at most 2'
same_answer cpu oom2
fakes oom0
run_rows 0 --provider cuda,cpu -o "$work/oom0"
json 'o["provider"] == "cpu" and "cuda ran out of memory" in o["placement"]["note"]'
err 'cuda ran out of memory; cpu goes on'
same_answer cpu oom0
run_rows 4 --provider cuda,cpu --strict
err 'strict: out of memory'

# A model that it refuses, and an operator that only it knows.
fakes refuse
run_rows 0 --provider ort
err 'ONNX Runtime refuses the model: Fatal error: Foo'
expect 3 run "$models/unknown.onnx" "$rows" --provider ort
err 'operator Frobnicate .*; and ort: ONNX Runtime refuses'
fakes plain
expect 3 run "$models/unknown.onnx" "$rows"
err 'Frobnicate .*ONNX Runtime 1.20.0 is here and may know it: --provider ort'
one_sentence
expect 0 run "$models/unknown.onnx" "$rows" --provider cpu,ort
out 'ran on ort'
err 'cpu does not run: operator Frobnicate'
expect 3 run "$models/unknown.onnx" "$rows" --provider cpu
err 'Frobnicate'

# Where it is looked for: LEDGE_ORT, the library path, npm's folder.
unset LEDGE_ORT
mkdir -p "$work/lib" && cp "$fake" "$work/lib/libonnxruntime.so.1"
LD_LIBRARY_PATH=$work/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} expect 0 doctor --json
json 'o["providers"][1]["library"].endswith("/lib/libonnxruntime.so.1") and o["providers"][1]["usable"]'
case $(uname -m) in x86_64) arch=x64 ;; *) arch=arm64 ;; esac
npm=node_modules/onnxruntime-node/bin/napi-v6/linux/$arch
mkdir -p "$work/$npm" && cp "$fake" "$work/$npm/libonnxruntime.so.1"
here=$PWD
case $ledge in /*) ;; *) ledge=$here/$ledge ;; esac
cd "$work" || exit 1
expect 0 doctor --json
json 'o["providers"][1]["library"].endswith("libonnxruntime.so.1") or o["providers"][1]["library"].startswith("/usr")'
cd "$here" || exit 1
LEDGE_ORT=$fake

# Names and options.
expect 2 run "$relu" "$rows" --provider cdua
err "no provider 'cdua'; did you mean 'cuda'"
one_sentence
expect 2 run "$relu" "$rows" --provider zzzzzz
err 'there are cpu, ort, cuda, tensorrt, openvino'
expect 2 run "$relu" "$rows" --provider ,
err 'list of providers is empty'
expect 2 run "$relu" "$rows" --provider ort,ort
err 'twice'
expect 2 run "$relu" "$rows" --provider ort,auto
err 'stands alone'
expect 2 run "$relu" "$rows" --provider cuda --provider-option cuda.devise_id=0
err "no option 'devise_id'; did you mean 'device_id'"
expect 2 run "$relu" "$rows" --provider cuda --provider-option cuda.device_id=first
err "cuda.device_id takes 0, 1 or a whole number, not 'first'"
expect 2 run "$relu" "$rows" --provider cuda --provider-option device_id=0
err 'PROVIDER.KEY=VALUE'
expect 2 run "$relu" "$rows" --provider ort --provider-option cuda.device_id=0
err "is for provider cuda, which is not in the list 'ort'"
expect 2 run "$relu" "$rows" --provider ort --provider-option ort.graph_optimization_level=most
err 'takes disable, basic, extended, layout or all'
expect 2 run "$relu" "$rows" --provider-option ort.x=1
err 'without --provider'
expect 0 run "$relu" "$rows" --provider ort --provider-option ort.session.use_env_allocators=1 --provider-option ort.graph_optimization_level=basic
expect 0 run "$relu" "$rows" --provider tensorrt,cpu --provider-option tensorrt.fp16=1 --provider-option tensorrt.engine_cache=true --provider-option tensorrt.max_workspace_size=1000000
expect 2 run "$relu" "$rows" --provider cpu --provider-option cpu.fast=1
err 'provider cpu has no option .fast.'
finish
