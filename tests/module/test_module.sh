#!/bin/sh
# The engine compiled to WebAssembly, in Node's WASI and, where it is installed, in WasmEdge: the
# command line's own tests of run and inspect hold there, quantized models answer to the bit as they
# do natively, float models within 1e-9, and a guest that carries engine and model runs.
# Usage: test_module.sh LEDGE ROOT. Exit 77 (skipped) without the tools; the module is compiled
# into build-wasm/ first. LEDGE_WASMEDGE: a command that runs wasmedge, if it is not on PATH.
set -eu
ledge=$(realpath "$1") # before the folder changes
root=$2
cd "$root"
for tool in clang wasm-ld llvm-ar node python3; do
    command -v $tool >/dev/null || exit 77
done
[ -e /usr/lib/wasm32-wasi/libc.a ] && [ -e /usr/include/stb/stb_image.h ] || exit 77
scripts/wasm.sh
work=$(mktemp -d "${TMPDIR:-/tmp}/ledge-module-XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

printf '#!/bin/sh\nexec node --no-warnings %s/scripts/wasi.mjs %s/build-wasm/ledge.wasm "$@"\n' \
    "$root" "$root" >"$work/in-node"
wasmedge=${LEDGE_WASMEDGE:-$(command -v wasmedge || true)}
[ -z "$wasmedge" ] ||
    printf '#!/bin/sh\nexec %s --dir /:/ %s/build-wasm/ledge.wasm "$@"\n' "$wasmedge" "$root" \
        >"$work/in-wasmedge"
chmod +x "$work"/in-*

echo "== the command line's tests"
sh tests/cli/test_run.sh "$work/in-node" "$root"
sh tests/cli/test_inspect.sh "$work/in-node" "$root"
"$work/in-node" bench --json --runs 3 "$root/models/signs.onnx" >"$work/bench.json"
python3 -c 'import json, sys
o = json.load(open(sys.argv[1]))
assert o["runs"] == 3 and o["milliseconds"]["min"] > 0 and o["cpu"] == "wasm"
assert o["cold_start_ms"] is None and o["peak_memory_bytes"] > 1 << 20' "$work/bench.json"
"$work/in-node" help run >"$work/out" && grep -q "^usage: ledge run .OPTION" "$work/out"
status=0
"$work/in-node" serve x 2>"$work/err" || status=$?
[ $status = 2 ] && grep -q "^ledge: 'serve' is no command" "$work/err"

echo "== pictures: taken and refused as the native decoders do"
taken=0
for picture in tests/data/image/*.png tests/data/image/*.jpg; do
    words="run --preprocess {\"resize\":{\"width\":48,\"height\":48}} $root/models/signs.onnx"
    # shellcheck disable=SC2086 # no blanks within a word
    "$ledge" $words "$root/$picture" >/dev/null 2>&1 && native=0 || native=$?
    # shellcheck disable=SC2086
    "$work/in-node" $words "$root/$picture" >/dev/null 2>"$work/err" && here=0 || here=$?
    [ $here = $native ] || { echo "$picture: exit code $here, natively $native"; exit 1; }
    [ $here = 0 ] && taken=$((taken + 1)) || grep -q '^ledge: ' "$work/err"
done
echo "$taken pictures taken"
[ $taken -gt 10 ]

echo "== native against the module"
assets=${LEDGE_ASSETS:-../shared/assets}
float=$root/models/signs.onnx
for m in mobilenetv2_1.0_224 squeezenet_v1.1; do
    [ ! -f "$assets/models/$m.onnx" ] || float="$float $(realpath "$assets/models/$m.onnx")"
done
for program in "$work"/in-*; do
    echo "-- $(basename "$program")"
    models=$float
    # an interpreter takes a minute for each of the large ones
    [ "$(basename "$program")" = in-node ] || models=$root/models/signs.onnx
    # shellcheck disable=SC2086 # each model is an argument
    tests/module/compare_runs.py "$ledge" "$program" 1e-9 $models
    tests/module/compare_runs.py "$ledge" "$program" exact "$root"/tests/data/q8/*.onnx
done

echo "== a guest that carries engine and model"
scripts/bytes_as_c.sh models/signs.onnx >"$work/bytes.inc"
# shellcheck disable=SC2046 # words
clang --target=wasm32-wasi -O2 -I"$work" '-DMODEL_BYTES="bytes.inc"' examples/wasm_guest.c \
    -o "$work/guest.wasm" $(PKG_CONFIG_PATH=build-wasm pkg-config --cflags --libs ledge_wasm)
ls -l "$work/guest.wasm" | awk '{print "guest.wasm", $5, "bytes"}'
node --no-warnings scripts/wasi.mjs "$work/guest.wasm" <tests/data/signs/stop.ppm >"$work/out"
cat "$work/out"
grep -q '^class 0,' "$work/out"
[ -z "$wasmedge" ] || $wasmedge "$work/guest.wasm" <tests/data/signs/stop.ppm | grep '^class 0,'
