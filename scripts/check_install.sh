#!/bin/sh
# Installs the build into an empty folder and builds the example there as a user would, by
# pkg-config: against the shared library, and against the static one. Then runs both.
#   check_install.sh SOURCE BUILD CC...
set -eu
source=$1 build=$2
shift 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
DESTDIR=$dir meson install -C "$build" --no-rebuild --quiet >/dev/null
pc=$(find "$dir" -name ledge.pc)
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$dir"
libdir=$dir$(pkg-config --variable=libdir ledge | sed "s|^$dir||")

say() {
    "$@" "$source/models/signs.onnx" "$source/tests/data/signs/stop.ppm"
}
# shellcheck disable=SC2046 # pkg-config's words are separate arguments
"$@" "$source/examples/classify.c" -o "$dir/shared" $(pkg-config --cflags --libs ledge)
LD_LIBRARY_PATH=$libdir say "$dir/shared" | grep '^class 0,'
# shellcheck disable=SC2046
"$@" "$source/examples/classify.c" -o "$dir/static" $(pkg-config --cflags ledge) \
    "$libdir/libledge.a" -lm -pthread
say "$dir/static" | grep '^class 0,'
ledge=$(find "$dir" -path '*bin/ledge')
"$ledge" --version
# A provider of one's own needs the headers alone; here without OpenBLAS, in plain C.
# shellcheck disable=SC2046
"$@" -shared -fPIC "$source/examples/provider_blas.c" -o "$dir/provider_blas.so" \
    $(pkg-config --cflags ledge)
if "$ledge" doctor | grep -q onnxruntime; then # built with providers
    "$ledge" bench "$source/models/signs.onnx" --provider "$dir/provider_blas.so" --runs 1 --cold 0 |
        grep 'ran on blas (1.0 (plain C)): 5 of 19 nodes'
fi
# A device that runs guests needs ledge-wasm and jansson beside the C library: 3 MB with the guest.
wasm=$(find "$dir" -name ledge-wasm)
if ldd "$wasm" | grep -vE 'linux-vdso|ld-linux|libc\.so|libm\.so|libpthread|libdl|libjansson'; then
    echo "ledge-wasm should not need these" >&2
    exit 1
fi
jansson=$(ldd "$wasm" | sed -n 's/.*libjansson[^ ]* => \([^ ]*\) .*/\1/p')
[ $(($(stat -c %s "$wasm") + $(stat -Lc %s "$jansson"))) -lt 2800000 ] || {
    echo "ledge-wasm and jansson take more than 2.8 MB" >&2
    exit 1
}
# Nothing but the public API leaves the shared library.
if nm -D --defined-only "$libdir/libledge.so" | grep -v ' A ' | grep -v ' ledge_[a-z]'; then
    echo "these symbols should not be exported" >&2
    exit 1
fi
