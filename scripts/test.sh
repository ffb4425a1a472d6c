#!/bin/sh
# Builds and runs every test twice: as released, and under the address and undefined-behaviour
# sanitizers. Ends with one line, "N passed, N failed[, N skipped]", counted from meson's own
# results; exit status 1 unless something passed and nothing failed.
set -u
cd "$(dirname "$0")/.."
jobs=${JOBS:-2}
# gcc 14 stores whole vectors into frames of its own making, which are aligned for less.
asan=detect_leaks=1:allocator_may_return_null=1:detect_stack_use_after_return=0
export MALLOC_PERTURB_=0 ASAN_OPTIONS="${ASAN_OPTIONS:-$asan}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}"

# DIR, then the arguments of meson setup
run() {
    dir=$1
    shift
    rm -f "$dir/meson-logs/testlog.json"
    scripts/build.sh "$dir" "$@" || return
    meson test -C "$dir" --no-rebuild --print-errorlogs --num-processes "$jobs" </dev/null
}
run "${BUILD:-build}"
run build-asan -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized
exec python3 scripts/tally.py "${BUILD:-build}" build-asan
