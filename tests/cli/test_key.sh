#!/bin/sh
# ledge key: pairs that are private, never replaced, and shown with the same key id.
. "$(dirname "$0")/common.sh"

expect 0 key new "$work/me"
out '^key id   [0-9a-f]{64}$'
id=$(sed -n 's/^key id   //p' "$work/out")
[ "$(stat -c %a "$work/me.key")" = 600 ] || fail 'the private key is not for its owner alone'
expect 0 key show "$work/me.pub"
out "^key id   $id\$"
out '^-----BEGIN PUBLIC KEY-----$'
expect 0 key show --json "$work/me.key"
json "o['keyid'] == '$id' and o['private'] and o['public'] is None and o['key']['keytype'] == 'ed25519'"
json 'len(o["key"]["keyval"]["public"]) == 64 and "PRIVATE" not in str(o["pem"])'
cp "$work/me.key" "$work/before"
expect 1 key new "$work/me"
err 'never replaced'
one_sentence
cmp "$work/me.key" "$work/before" || fail 'the key was replaced'
expect 0 key new --json "$work/other"
json "o['keyid'] != '$id' and o['private'].endswith('other.key') and o['public'].endswith('other.pub')"
expect 1 key new /nonexistent/k
one_sentence
expect 2 key new ""
one_sentence
expect 2 key
expect 2 key neww x
err "did you mean 'new'"
expect 3 key show /nonexistent/k
one_sentence
expect 3 key show "$work/text.onnx"
err 'holds no key'
one_sentence
expect 3 key show "$work/empty.onnx"
expect 3 key show "$work"
one_sentence
head -c 100000 /dev/zero >"$work/big"
expect 3 key show "$work/big"
err 'too large'
finish
