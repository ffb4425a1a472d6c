#!/bin/sh
# Builds the engine for aarch64 and wasm32-wasi, runs models there (qemu-user, Node's WASI) and holds
# the answers against the scalar kernels' on this machine: every CPU level must agree, and those of
# quantized models (tests/data/q8) to the bit.
# Debian: gcc-aarch64-linux-gnu qemu-user clang lld wasi-libc libclang-rt-14-dev-wasm32 nodejs
#   CROSS_MODELS="a.onnx b.onnx"    models to run; else models/*.onnx and small shared ones
#   LEDGE_ORT_ARM64=libonnxruntime.so  ONNX Runtime for aarch64, to run the first model through it
set -eu
cd "$(dirname "$0")/.."
root=$PWD
assets=${LEDGE_ASSETS:-../shared/assets}
models=${CROSS_MODELS:-}
if [ -z "$models" ]; then
    for m in "$root"/models/*.onnx "$assets"/models/mnist_cnn.onnx \
        "$assets"/models/resnet20_cifar10.onnx "$assets"/models/squeezenet_v1.1.onnx; do
        [ -f "$m" ] && models="$models $(realpath "$m")"
    done
fi
out=build-cross
mkdir -p $out
build() { # folder, meson options
    [ -f "$1/build.ninja" ] || meson setup "$@" -Dcli=false >/dev/null
    # shellcheck disable=SC2086 # each target is an argument
    ninja -C "$1" $targets >/dev/null
}
quantized=$(ls "$root"/tests/data/q8/*.onnx)
compared=0
agree() { # name
    printf '%-12s ' "$1"
    $out/native/tests/cross/answers --compare "$out/$1.bin" $out/scalar.bin
    cmp "$out/$1.q8" $out/scalar.q8
    compared=$((compared + 1))
}

targets='tests/cross/answers tests/cross/same_q8'
build $out/native
$out/native/tests/cross/same_q8
# shellcheck disable=SC2086 # each model is an argument
LEDGE_CPU=scalar $out/native/tests/cross/answers $out/scalar.bin $models >/dev/null
# shellcheck disable=SC2086
LEDGE_CPU=scalar $out/native/tests/cross/answers $out/scalar.q8 $quantized >/dev/null
case $(uname -m) in
    x86_64) levels='sse41 avx2 avxvnni avx512 avx512vnni' ;;
    *) levels=neon ;;
esac
for level in $levels; do
    # shellcheck disable=SC2086
    LEDGE_CPU=$level $out/native/tests/cross/answers --threads 2 "$out/$level.bin" $models >/dev/null
    # shellcheck disable=SC2086
    LEDGE_CPU=$level $out/native/tests/cross/answers --threads 2 "$out/$level.q8" $quantized >/dev/null
    agree "$level"
done

if command -v aarch64-linux-gnu-gcc >/dev/null && command -v qemu-aarch64 >/dev/null; then
    build $out/aarch64 --cross-file packaging/cross/aarch64.txt
    for cpu in cortex-a53 cortex-a76 max; do
        qemu-aarch64 -cpu $cpu -L /usr/aarch64-linux-gnu $out/aarch64/tests/cross/same_q8
        # shellcheck disable=SC2086
        qemu-aarch64 -cpu $cpu -L /usr/aarch64-linux-gnu $out/aarch64/tests/cross/answers \
            "$out/$cpu.bin" $models >/dev/null
        # shellcheck disable=SC2086
        qemu-aarch64 -cpu $cpu -L /usr/aarch64-linux-gnu $out/aarch64/tests/cross/answers \
            "$out/$cpu.q8" $quantized >/dev/null
        agree $cpu
    done
    if [ -n "${LEDGE_ORT_ARM64:-}" ]; then
        # Its detection of the CPU reads /proc/cpuinfo and falls over that of another machine.
        mkdir -p $out/root/proc
        ln -sfn /usr/aarch64-linux-gnu/lib $out/root/lib
        printf 'processor\t: 0\nFeatures\t: fp asimd crc32 atomics asimddp\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\nCPU revision\t: 1\n' >$out/root/proc/cpuinfo
        first=${models# }
        first=${first%% *}
        mv $out/scalar.bin $out/scalar-all.bin
        LEDGE_CPU=scalar $out/native/tests/cross/answers $out/scalar.bin "$first" >/dev/null
        LEDGE_ORT=$LEDGE_ORT_ARM64 LEDGE_PROBE_SECONDS=300 qemu-aarch64 -cpu neoverse-n1 \
            -L $out/root $out/aarch64/tests/cross/answers --provider ort $out/ort.bin "$first"
        agree ort
        mv $out/scalar-all.bin $out/scalar.bin
    fi
else
    echo "cross.sh: aarch64 left out: apt-get install gcc-aarch64-linux-gnu qemu-user"
fi

if [ -d /usr/lib/wasm32-wasi ] && command -v wasm-ld >/dev/null && command -v node >/dev/null; then
    # meson 1.0 passes options to wasm-ld that it does not know, so the last link is made by hand.
    targets='libledge.a tests/cross/answers.p/answers.c.o tests/cross/same_q8.p/same_q8.c.o
        src/engine/kernels/wasm/libkernels_simd128.a'
    build $out/wasm --cross-file packaging/cross/wasm32-wasi.txt -Ddefault_library=static
    for program in answers same_q8; do
        clang --target=wasm32-wasi -o $out/$program.wasm \
            $out/wasm/tests/cross/$program.p/$program.c.o $out/wasm/libledge.a \
            $out/wasm/src/engine/kernels/wasm/*.a -lwasi-emulated-mman -lwasi-emulated-signal -lm \
            -Wl,-z,stack-size=1048576
    done
    node --no-warnings scripts/wasi.mjs $out/same_q8.wasm
    # shellcheck disable=SC2086
    node --no-warnings scripts/wasi.mjs $out/answers.wasm "$root/$out/wasm.bin" $models >/dev/null
    # shellcheck disable=SC2086
    node --no-warnings scripts/wasi.mjs $out/answers.wasm "$root/$out/wasm.q8" $quantized >/dev/null
    agree wasm
else
    echo "cross.sh: wasm left out: apt-get install clang lld wasi-libc libclang-rt-14-dev-wasm32 nodejs"
fi
echo "$compared levels agree with the scalar kernels"
