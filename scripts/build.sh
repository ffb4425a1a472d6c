#!/bin/sh
# Sets up build folder $1 if it is new (further arguments go to `meson setup`) and compiles.
set -eu
cd "$(dirname "$0")/.."
dir=$1
shift
[ -f "$dir/build.ninja" ] || meson setup "$dir" "$@" >&2
ninja -C "$dir" -j "${JOBS:-2}" >&2
# The program at a short path.
ln -sf src/cli/ledge "$dir/ledge"
