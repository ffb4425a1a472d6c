#!/bin/sh
# `ledge`, `ledge-serve` and `ledge-fleet` are one command line: beside each other, and as installed.
. "$(dirname "$0")/common.sh"
built=$ledge
beside=$(dirname "$built")

# What starts small devices' commands stays light.
checks=$((checks + 1))
if ldd "$built" | grep -Eq 'libcrypto|libmicrohttpd|libcurl|libsqlite|libpq'; then
    fail "ledge is linked against $(ldd "$built" | awk '{print $1}' | tr '\n' ' ')"
fi
checks=$((checks + 1))
if ldd "$beside/ledge-serve" | grep -Eq 'libcurl|libsqlite|libpq'; then
    fail "ledge-serve is linked against $(ldd "$beside/ledge-serve" | awk '{print $1}' | tr '\n' ' ')"
fi

mkdir -p "$work/bin" "$work/libexec/ledge"
cp "$built" "$work/bin/ledge"
ledge=$work/bin/ledge
expect 0 --version
expect 0 inspect "$data/pair.onnx"
expect 1 key show "$data/pair.onnx"
err 'ledge-serve.*install ledge again'
one_sentence

cp "$beside/ledge-serve" "$work/libexec/ledge/ledge-serve"
expect 0 key --help
out '^usage: ledge key'
expect 1 help
err 'ledge-fleet.*install ledge again'
one_sentence
cp "$beside/ledge-fleet" "$work/libexec/ledge/ledge-fleet"
expect 0 help
out '^  serve '
expect 0 key --help
out '^usage: ledge key'
expect 3 key show "$data/pair.onnx"
expect 2 kye
err "did you mean 'key'"
# By way of a symbolic link, as alternatives and package managers make them.
ln -s "$work/bin/ledge" "$work/link"
ledge=$work/link
expect 0 key --help
out '^usage: ledge key'
finish
