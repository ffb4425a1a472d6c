#!/bin/sh
# Help, versions, mistakes in the words: exit code 2 and the word that was meant.
. "$(dirname "$0")/common.sh"

expect 2
err 'usage: ledge COMMAND'
no_out
expect 0 help
out '^  inspect '
out 'Exit codes: 0 ok'
expect 0 --help
expect 0 --version
out '^ledge [0-9]+\.[0-9]+\.[0-9]+$'
for command in inspect run bench eval compile preprocess doctor; do
    expect 0 "$command" --help
    out "^usage: ledge $command"
    out '^      --json'
    out '^  -h, --help'
    cp "$work/out" "$work/help"
    expect 0 help "$command"
    cmp -s "$work/out" "$work/help" || fail "help $command differs from $command --help"
    # A word that is no option, and one nearly right.
    expect 2 "$command" --xyzzyplugh
    err "unknown option '--xyzzyplugh' "
    one_sentence
    expect 2 "$command" --jsno
    err "did you mean '--json'"
done
expect 2 inspcet x
err "did you mean 'inspect'"
expect 2 bnech x
err "did you mean 'bench'"
expect 2 xyzzyplugh
err "'ledge help' lists"
expect 2 help xyzzyplugh
expect 2 inspect
err 'needs MODEL'
one_sentence
expect 2 inspect a b
err "'b' is one argument too many"
expect 2 bench "$data/pair.onnx" --threads
err 'needs a value: N'
expect 2 bench "$data/pair.onnx" --threads x
err 'whole number from 0 to 1024'
expect 2 bench "$data/pair.onnx" --threads=-1
expect 2 bench "$data/pair.onnx" --threads 99999999999999999999
expect 2 inspect --json=yes "$data/pair.onnx"
err 'takes no value'
# What comes after -- is no option.
expect 3 inspect -- --json
err '^ledge: --json: '
# Errors are one JSON object where JSON was asked for.
expect 2 inspect --json
json '"error" in o and "MODEL" in o["error"]["message"]'
expect 3 inspect --json /nonexistent.onnx
json 'o["error"]["file"] == "/nonexistent.onnx"'
# A closed or full output is an error with a sentence, not a silent success.
if [ -w /dev/full ]; then
    "$ledge" help >/dev/full 2>"$work/err"
    [ $? = 1 ] || fail 'help to a full device does not exit with 1'
    err 'cannot write to the output'
fi
finish
