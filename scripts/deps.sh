#!/bin/sh
# Installs what a make target needs and the machine lacks, with apt, without questions.
# Takes the target's group: build, test, fuzz, lint or wasm. What is there by any other means
# (a tool on PATH, a library that pkg-config finds) is left alone. Without root or sudo it
# prints the one apt line and stops.
set -eu

missing=
need_command() { # COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need_library() { # PKG-CONFIG-NAME PACKAGE
    { command -v pkg-config >/dev/null 2>&1 && pkg-config --exists "$1"; } ||
        missing="$missing $2"
}
need_libc_headers() {
    echo '#include <stdio.h>' | cc -E -x c - >/dev/null 2>&1 || missing="$missing libc6-dev"
}

need_build() {
    command -v cc >/dev/null 2>&1 || missing="$missing gcc"
    need_libc_headers
    need_command meson meson
    need_command ninja ninja-build
    need_command pkg-config pkg-config
    need_library libjpeg libjpeg-dev
    need_library libpng libpng-dev
    need_library jansson libjansson-dev
    need_library libcrypto libssl-dev
    need_library zlib zlib1g-dev
    need_library libmicrohttpd libmicrohttpd-dev
    need_library sqlite3 libsqlite3-dev
    need_library libpq libpq-dev
    need_library libcurl libcurl4-openssl-dev
    need_library gnutls libgnutls28-dev
    # The tests are part of every build: a checkout that builds is one that can be checked.
    need_library cmocka libcmocka-dev
}

# For clang's own version; a fresh clang brings none of these along.
need_wasm() {
    need_command meson meson
    need_command ninja ninja-build
    need_command clang clang
    need_command wasm-ld lld
    need_command llvm-ar llvm
    [ -e /usr/lib/wasm32-wasi/libc.a ] || missing="$missing wasi-libc"
    [ -e /usr/include/stb/stb_image.h ] || missing="$missing libstb-dev"
    builtins=
    for file in /usr/lib/llvm-*/lib/clang/*/lib/wasi/libclang_rt.builtins-wasm32.a \
        /usr/lib/llvm-*/lib/clang/*/lib/wasm32-unknown-wasi/libclang_rt.builtins.a; do
        [ ! -e "$file" ] || builtins=$file
    done
    [ -n "$builtins" ] || missing="$missing libclang-rt-dev-wasm32"
    need_command wasm-opt binaryen
}

[ "${1:-build}" = wasm ] || need_build
case "${1:-build}" in
build) ;;
wasm) need_wasm ;;
test)
    need_command zstd zstd
    need_command python3 python3
    need_command wasm2c wabt
    need_command openssl openssl
    ;;
fuzz)
    need_command clang clang
    ;;
lint)
    need_command git git
    need_command clang-format clang-format
    need_command clang-tidy clang-tidy
    ;;
*)
    echo "deps.sh: unknown group '$1' (build, test, fuzz, lint, wasm)" >&2
    exit 2
    ;;
esac
[ -n "$missing" ] || exit 0

line="apt-get install -y --no-install-recommends$missing"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "ledge needs (Debian names):$missing. Install them with your package manager." >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root="env"
elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root="sudo env"
else
    echo "ledge needs a few packages and this user cannot install them. Run once as root:" >&2
    echo "  $line" >&2
    exit 1
fi
echo "installing:$missing" >&2
# Package lists that are there are tried first; an update only where that is not enough.
install() {
    # shellcheck disable=SC2086 # the words of both variables are separate arguments
    $as_root DEBIAN_FRONTEND=noninteractive $line </dev/null >&2
}
install || { $as_root apt-get update </dev/null >&2 && install; }
