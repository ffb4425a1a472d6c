# Shared by the command line's tests. Sourced with $1 = the ledge program, $2 = the source
# root. Gives a scratch folder with inputs ($work), and expect/json/... below. A test script
# ends with `finish`, which fails when any expectation did.
set -u
ledge=$1
root=$2
data=$root/tests/data/onnx
work=$(mktemp -d "${TMPDIR:-/tmp}/ledge-cli-XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
python3 "$root/tests/cli/make_inputs.py" "$work" || exit 1
failures=0
checks=0

fail() {
    failures=$((failures + 1))
    echo "FAILED: $*"
    sed 's/^/    out: /' "$work/out" | head -20
    sed 's/^/    err: /' "$work/err" | head -20
}

# expect CODE ARGUMENT...: runs ledge; its output is then in $work/out and $work/err
expect() {
    want=$1
    shift
    last="ledge $*"
    "$ledge" "$@" >"$work/out" 2>"$work/err"
    got=$?
    checks=$((checks + 1))
    [ "$got" = "$want" ] || fail "$last: exit code $got, not $want"
}

# interrupted ARGUMENT...: as expect 1, with Ctrl-C as soon as ledge listens for it
interrupted() {
    last="ledge $*, interrupted"
    python3 "$root/tests/cli/interrupt.py" "$ledge" "$@" >"$work/out" 2>"$work/err"
    got=$?
    checks=$((checks + 1))
    [ "$got" = 1 ] || fail "$last: exit code $got, not 1"
    err 'interrupted'
}

# out PATTERN, err PATTERN: the last command printed it (extended regular expression)
out() {
    checks=$((checks + 1))
    grep -Eq -e "$1" "$work/out" || fail "$last: stdout lacks '$1'"
}
err() {
    checks=$((checks + 1))
    grep -Eq -e "$1" "$work/err" || fail "$last: stderr lacks '$1'"
}
no_out() {
    checks=$((checks + 1))
    [ ! -s "$work/out" ] || fail "$last: stdout is not empty"
}
# One sentence on stderr, of the form "ledge: ...", and nothing else (no sanitizer report).
one_sentence() {
    checks=$((checks + 1))
    { [ "$(wc -l <"$work/err")" = 1 ] && grep -q '^ledge: ' "$work/err"; } ||
        fail "$last: stderr is not one sentence"
}

# json EXPRESSION: stdout is one JSON object `o`, and the Python expression holds for it
json() {
    checks=$((checks + 1))
    python3 -c 'import json, math, sys
o = json.load(open(sys.argv[1]))
assert isinstance(o, dict)
ok = eval(sys.argv[2])
sys.exit(0 if ok else 1)' "$work/out" "$1" 2>>"$work/err" || fail "$last: not true of the JSON: $1"
}

finish() {
    echo "$checks checks, $failures failed"
    [ "$failures" = 0 ] && [ "$checks" -gt 0 ]
    exit
}
