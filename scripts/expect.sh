#!/bin/sh
# Runs a command and checks what it prints, on stdout and stderr together:
#   expect.sh [--fails] PATTERN COMMAND...   PATTERN as grep -E takes it
set -u
want=0
[ "$1" = --fails ] && { want=1; shift; }
pattern=$1
shift
said=$("$@" 2>&1)
status=$?
echo "$said"
[ "$status" = "$want" ] || { echo "exit status $status, not $want" >&2; exit 1; }
echo "$said" | grep -Eq "$pattern" || { echo "nothing matches '$pattern'" >&2; exit 1; }
