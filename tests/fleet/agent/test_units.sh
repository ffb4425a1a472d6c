#!/bin/sh
# systemd takes the units as they are: nothing unknown or misspelt in them, programs that are there, and a
# sandbox that its own judge calls good. Usage: test_units.sh LEDGE UNIT...
command -v systemd-analyze >/dev/null || exit 77
ledge=$(realpath "$1")
shift
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
failed=0
for unit in "$@"; do
    copy=$folder/$(basename "$unit")
    sed "s|^ExecStart=[^ ]*|ExecStart=$ledge|" "$unit" >"$copy"
    grep -q "^ExecStart=$ledge " "$copy" || { echo "$unit starts nothing"; failed=1; }
    if ! said=$(systemd-analyze verify --man=no "$copy" 2>&1) || [ -n "$said" ]; then
        echo "$unit: $said"
        failed=1
    fi
    systemd-analyze security --offline=true --threshold=20 "$copy" >"$folder/said" 2>&1 ||
        { tail -1 "$folder/said"; failed=1; }
done
exit $failed
