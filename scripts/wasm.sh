#!/bin/sh
# Compiles the engine to wasm32-wasi with SIMD128 (docs/wasm-engine.md) and leaves in build-wasm/:
#   ledge.wasm        the command: inspect, run, bench
#   ledge_page.wasm   what a page calls (src/module/module_page.c)
#   libledge_wasm.a   the engine for guests that carry it, with ledge_wasm.pc
#   browser/          examples/browser, ready for any static web server
# Prints the sizes. WASM_OPT=none skips binaryen, which is used where it is at hand.
set -eu
cd "$(dirname "$0")/.."
out=${BUILD_WASM:-build-wasm}
[ -f "$out/build.ninja" ] ||
    meson setup "$out" --cross-file packaging/cross/wasm32-wasi.txt -Dcli=false \
        -Ddefault_library=static >&2
ninja -C "$out" -j "${JOBS:-2}" libledge.a src/module/libledge_module.a \
    src/engine/kernels/wasm/libkernels_simd128.a >&2

# One archive: meson keeps the kernels of an instruction set in one of their own.
rm -f "$out/libledge_wasm.a"
llvm-ar -M <<END
create $out/libledge_wasm.a
addlib $out/libledge.a
addlib $out/src/engine/kernels/wasm/libkernels_simd128.a
save
end
END
cat >"$out/ledge_wasm.pc" <<END
# for clang --target=wasm32-wasi: PKG_CONFIG_PATH=$out pkg-config --cflags --libs ledge_wasm
prefix=$PWD
Name: ledge_wasm
Description: The ledge engine for WebAssembly guests with SIMD128
Version: $(sed -n "s/^ *version: '\(.*\)',/\1/p" meson.build | head -n 1)
Cflags: -I\${prefix}/include -msimd128
Libs: \${prefix}/$out/libledge_wasm.a -lwasi-emulated-mman -lwasi-emulated-signal -lwasi-emulated-getpid -lm -Wl,-z,stack-size=1048576
END

# meson 1.0 gives wasm-ld options that it does not know, so the links are made here.
link() { # PROGRAM OPTION...
    program=$1
    shift
    clang --target=wasm32-wasi -o "$out/$program-linked.wasm" "$@" \
        "$out/src/module/libledge_module.a" "$out/libledge_wasm.a" \
        -lwasi-emulated-mman -lwasi-emulated-signal -lwasi-emulated-getpid -lm \
        -Wl,-z,stack-size=1048576 -Wl,--gc-sections -Wl,--strip-all
    if [ "${WASM_OPT:-}" != none ] && command -v wasm-opt >/dev/null; then
        wasm-opt -O3 --enable-simd --enable-bulk-memory --enable-sign-ext \
            --enable-nontrapping-float-to-int --strip-debug --strip-producers \
            "$out/$program-linked.wasm" -o "$out/$program.wasm"
    else
        cp "$out/$program-linked.wasm" "$out/$program.wasm"
    fi
}
link ledge
link ledge_page -mexec-model=reactor -Wl,--undefined=ledge_page_open

mkdir -p "$out/browser"
cp examples/browser/* models/signs.onnx "$out/ledge.wasm" "$out/ledge_page.wasm" "$out/browser/"

for f in ledge-linked.wasm ledge.wasm ledge_page.wasm libledge_wasm.a; do
    printf '%-18s %8s bytes\n' $f "$(wc -c <"$out/$f")"
done
for f in ledge.wasm ledge_page.wasm; do
    printf '%-18s %8s bytes compressed\n' $f "$(gzip -9 -c "$out/$f" | wc -c)"
done
