#!/bin/sh
# Fuzzes each target for FUZZ_SECONDS with tests/fuzz/corpus/TARGET and tests/data/TARGET as seeds.
# New inputs stay in build-fuzz/corpus; a crash stops the run and leaves crash-* there.
# FUZZ_TARGETS picks some, by name: make fuzz FUZZ_TARGETS="image npy" FUZZ_SECONDS=600
set -eu
cd "$(dirname "$0")/.."
CC=clang scripts/build.sh build-fuzz -Dfuzzers=true -Db_sanitize=address,undefined \
    -Db_lundef=false -Dbuildtype=debugoptimized
found=
for binary in build-fuzz/tests/fuzz/fuzz_*; do
    [ -f "$binary" ] && [ -x "$binary" ] || continue
    name=${binary##*/fuzz_}
    case " ${FUZZ_TARGETS:-$name} " in *" $name "*) ;; *) continue ;; esac
    found=yes
    echo "fuzzing $name for ${FUZZ_SECONDS:-60} s"
    mkdir -p "build-fuzz/corpus/$name"
    seeds=
    for folder in "tests/fuzz/corpus/$name" "tests/data/$name"; do
        [ -d "$folder" ] && seeds="$seeds $folder"
    done
    # shellcheck disable=SC2086 # each folder is an argument
    "$binary" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=20 -rss_limit_mb=2048 \
        -artifact_prefix=build-fuzz/corpus/ -print_final_stats=1 \
        "build-fuzz/corpus/$name" $seeds
done
[ -n "$found" ] || { echo "fuzz.sh: no such fuzz target" >&2; exit 1; }
