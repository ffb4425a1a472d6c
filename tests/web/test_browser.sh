#!/bin/sh
# examples/browser in headless Chromium, see test_browser.mjs. Exit 77 (skipped) without Chromium,
# Node or the tools that compile the module.
# Usage: test_browser.sh LEDGE ROOT
set -eu
ledge=$(realpath "$1") # before the folder changes
root=$2
cd "$root"
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || exit 77
for tool in clang wasm-ld llvm-ar node python3; do
    command -v $tool >/dev/null || exit 77
done
[ -e /usr/lib/wasm32-wasi/libc.a ] && [ -e /usr/include/stb/stb_image.h ] || exit 77
scripts/wasm.sh >/dev/null
work=$(mktemp -d "${TMPDIR:-/tmp}/ledge-web-XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
# A PPM as PNG, which browsers read.
python3 - tests/data/signs/stop.ppm "$work/stop.png" <<'END'
import struct, sys, zlib
kind, size, most, pixels = open(sys.argv[1], "rb").read().split(b"\n", 3)
width, height = map(int, size.split())
def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
rows = b"".join(b"\0" + pixels[y * width * 3:(y + 1) * width * 3] for y in range(height))
open(sys.argv[2], "wb").write(
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
END
node tests/web/test_browser.mjs "$browser" "$root/build-wasm/browser" "$ledge" "$work/stop.png" \
    "${LEDGE_SHOTS:-$work}" "$(realpath "${LEDGE_ASSETS:-../shared/assets}" 2>/dev/null || echo "$work")"
