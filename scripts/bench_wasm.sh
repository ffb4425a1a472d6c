#!/bin/sh
# The engine in WebAssembly against the native one held to SSE4.1, in one process, run by run in
# turn: ledge_page.wasm through wasm2c and the C compiler. Prints milliseconds and ratios.
#   BENCH_MODELS="a.onnx b.onnx"  models that take a picture; else MobileNetV2 and SqueezeNet
#   ROUNDS=30  CC=gcc  CFLAGS=-O2
#   WASM2C=wasm2c  WASM2C_RT=folder of wasm-rt.h and its sources   (wabt 1.0.36 or newer: Debian 13)
#   CPU=sse41 or neon: what the native side is held to
# Debian: libsimde-dev besides what `make` and `make wasm` need.
set -eu
cd "$(dirname "$0")/.."
wasm2c=${WASM2C:-wasm2c}
rt=${WASM2C_RT:-}
for folder in /usr/src/wasm2c /usr/share/wabt/wasm2c; do
    [ -n "$rt" ] || [ ! -e $folder/wasm-rt-mem-impl.c ] || rt=$folder
done
[ -n "$rt" ] && [ -e /usr/include/simde/wasm/simd128.h ] || {
    echo "bench_wasm.sh: wasm2c's run-time sources or simde are missing: apt-get install wabt libsimde-dev" >&2
    exit 1
}
case $(uname -m) in
x86_64) cpu=${CPU:-sse41} machine=-msse4.1 ;;
*) cpu=${CPU:-neon} machine= ;;
esac
cc=${CC:-cc}
assets=${LEDGE_ASSETS:-../shared/assets}
models=${BENCH_MODELS:-$assets/models/mobilenetv2_1.0_224.onnx $assets/models/squeezenet_v1.1.onnx}

scripts/build.sh "${BUILD:-build}"
scripts/wasm.sh >&2
out=build-wasm/bench
if [ ! -e $out/bench ] || [ build-wasm/ledge_page.wasm -nt $out/bench ]; then
    rm -rf $out
    mkdir -p $out/simde
    ln -s /usr/include/simde $out/simde/simde # without the rest of /usr/include
    # shellcheck disable=SC2086 # the command may bring its own loader
    $wasm2c build-wasm/ledge_page.wasm -n page --num-outputs 8 -o $out/page.c ||
        { echo "bench_wasm.sh: this wasm2c cannot; wabt 1.0.36 or newer is needed for SIMD" >&2; exit 1; }
    ls $out/page_*.c "$rt"/wasm-rt*-impl.c | xargs -P "${JOBS:-2}" -I{} sh -c \
        "$cc ${CFLAGS:--O2} $machine -w -I'$rt' -I$out/simde -I$out -c {} -o $out/\$(basename {} .c).o"
    $cc -O2 -D_GNU_SOURCE -I"$rt" -I$out -Iinclude tests/bench/bench_wasm_host.c $out/*.o \
        "${BUILD:-build}/libledge.a" -o $out/bench -lm -lpthread -ldl
fi
for m in $models; do
    $out/bench "$m" "${ROUNDS:-30}" "$cpu"
done
