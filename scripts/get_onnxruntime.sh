#!/bin/sh
# Fetches ONNX Runtime's library for `make bench` from the npm package onnxruntime-node, which ships
# it ready built. Prints the library's path. Nothing is installed; build/ort keeps it.
#   LEDGE_ORT=/path/to/libonnxruntime.so   use this one instead
#   ORT_VERSION=1.30.0                     version to fetch
set -eu
cd "$(dirname "$0")/.."
if [ -n "${LEDGE_ORT:-}" ]; then
    echo "$LEDGE_ORT"
    exit 0
fi
case $(uname -m) in
    x86_64) arch=x64 ;;
    aarch64) arch=arm64 ;;
    *) echo "get_onnxruntime.sh: the package has no library for $(uname -m)" >&2; exit 1 ;;
esac
version=${ORT_VERSION:-1.30.0}
folder=build/ort/$version
library=$folder/libonnxruntime.so.1
if [ ! -f "$library" ]; then
    command -v npm >/dev/null || { echo "get_onnxruntime.sh: npm not found: apt-get install npm" >&2; exit 1; }
    mkdir -p "$folder"
    tmp=$(mktemp -d "$PWD/$folder/fetch.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
    (cd "$tmp" && npm pack --silent "onnxruntime-node@$version" >&2)
    tar -xzf "$tmp"/onnxruntime-node-*.tgz -C "$tmp" --wildcards "*/linux/$arch/libonnxruntime.so.1"
    mv "$tmp"/package/bin/napi-v*/linux/$arch/libonnxruntime.so.1 "$library"
fi
echo "$PWD/$library"
