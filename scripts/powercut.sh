#!/bin/sh
# Cuts the power of devices and registries at POWERCUTS (1,000) random operations each, kills them
# and fills their disks likewise; says what was lost. Every second moment is a cut.
#   scripts/powercut.sh [BUILD]
set -eu
build=$(cd "${1:-build}" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
each=100 # one device, or registry, goes through so many
rounds=$(((${POWERCUTS:-1000} + each - 1) / each))
seed=${LEDGE_SEED:-$(date +%s)}
echo "seed $seed"
i=0
while [ $i -lt $rounds ]; do
    LEDGE_TEST_CUTS=$each LEDGE_SEED=$((seed + i)) "$build/tests/fleet/agent/test_powercut_device"
    python3 "$root/tests/fleet/registry/test_registry_powercut.py" "$build/src/cli/ledge" "$root" \
        "$build/tests/powercut/power_tool" "$build/tests/powercut/libpowercut.so" $each $((seed + i))
    i=$((i + 1))
done
