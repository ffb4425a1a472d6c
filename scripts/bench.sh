#!/bin/sh
# Runs the benchmarks that meson knows, one at a time, on a release build.
set -eu
cd "$(dirname "$0")/.."
scripts/build.sh "${BUILD:-build}"
meson test -C "${BUILD:-build}" --no-rebuild --benchmark --verbose --num-processes 1 </dev/null
