#!/bin/sh
# ledge certify: figures that can be worked out by hand, gates that refuse, and certificates that
# do not survive any change.
. "$(dirname "$0")/common.sh"

model=$data/classifier.onnx
set -- --images "$work/pictures" --labels "$work/labels.csv"
ratio='--max-latency-ratio 1000'
# The same network that never says red: red.png and rose.png become grey.
python3 - "$model" "$work/worse.onnx" <<'END' || exit 1
import struct, sys
b = bytearray(open(sys.argv[1], "rb").read())
at = b.index(struct.pack("<6f", 4, 0, 0, 0, 4, 0))
b[at:at + 12] = bytes(12)
open(sys.argv[2], "wb").write(b)
END
"$ledge" key new "$work/me" >/dev/null && "$ledge" key new "$work/other" >/dev/null || exit 1

# shellcheck disable=SC2086 # the ratio is two words
expect 0 certify "$model" --reference "$model" "$@" $ratio --runs 20 -k "$work/me.key" -o "$work/c.json"
out 'top-1 75.00% \(3\)  top-5 100.00%'
out 'agreement   100.00% \(4 of 4\)'
out 'c.json, signed by [0-9a-f]{16}'
python3 - "$work/c.json" "$model" <<'END' || fail 'the certificate does not hold what it should'
import hashlib, json, os, sys
c = json.load(open(sys.argv[1]))
s = c["signed"]
sha = hashlib.sha256(open(sys.argv[2], "rb").read()).hexdigest()
assert set(c) == {"signed", "signatures"} and len(c["signatures"]) == 1
assert s["_type"] == "ledge-certificate" and s["spec_version"] == 1
assert s["model"]["sha256"] == s["reference"]["sha256"] == sha
assert s["model"]["name"] == "classifier.onnx" and s["model"]["length"] == os.path.getsize(sys.argv[2])
assert s["model"]["top1_count"] == 3 and s["model"]["top5_count"] == 4 and s["agreement_count"] == 4
assert s["pictures"]["names"] == ["red.png", "green.png", "blue.png", "rose.png"]
folder = os.path.join(os.path.dirname(sys.argv[1]), "pictures")
lines = "".join("%s %d %s\n" % (hashlib.sha256(open(os.path.join(folder, n), "rb").read()).hexdigest(), k, n)
                for n, k in zip(s["pictures"]["names"], (0, 1, 2, 1)))
assert s["pictures"]["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
assert s["cpu"]["runs"] == 20 and s["cpu"]["name"] and s["cpu"]["kernels"]
lat = s["model"]["latency_ns"]
assert 0 < lat["p50"] <= lat["p90"] <= lat["p99"]
assert s["model"]["cold_start_ns"] > 0 and s["model"]["peak_memory_bytes"] > 100000
assert s["model"]["macs"] >= 12 and s["model"]["integer_macs"] == 0
assert s["gates"] == {"max_drop_ppm": 10000, "min_agreement_ppm": 0, "max_latency_ratio_ppm": 1000000000}
END

expect 0 certify --check "$work/c.json" --model "$model" --key "$work/me.pub"
out 'signature verified, valid until 20'
expect 0 certify --json --check "$work/c.json" --model "$model" --key "$work/other.pub" --key "$work/me.pub"
json 'o["valid"] is True and o["signature"] == "verified" and len(o["keyids"]) == 1 and o["remeasured"] is None'
expect 0 certify --check "$work/c.json" --model "$model"
out 'signature not checked'
err 'no --key says whom to trust'
expect 0 certify --json --check "$work/c.json" --model "$model" --key "$work/me.pub" --remeasure \
    --reference "$model" "$@" --runs 10
json 'o["valid"] is True and o["remeasured"]["agreement_count"] == 4 and o["remeasured"]["cpu"]["runs"] == 10'

# Refused, each with its sentence.
expect 3 certify --check "$work/c.json" --model "$model" --key "$work/other.pub"
err 'signed by another key'
one_sentence
expect 3 certify --check "$work/c.json" --model "$work/worse.onnx" --key "$work/me.pub"
err 'is for another model'
one_sentence
expect 3 certify --check "$work/c.json" --model "$work/worse.onnx" --json --key "$work/me.pub"
json '"another model" in o["error"]["message"]'
change() { # NAME PYTHON: the certificate with a change to c (the file) or s (what is signed)
    python3 -c 'import json, sys
c = json.load(open(sys.argv[1])); s = c["signed"]
exec(sys.argv[3])
json.dump(c, open(sys.argv[2], "w"))' "$work/c.json" "$work/$1.json" "$2" || fail "cannot make $1"
}
refused() { # NAME PATTERN [OPTION...]
    name=$1 pattern=$2
    shift 2
    expect 3 certify --check "$work/$name.json" --model "$model" "$@"
    err "$pattern"
}
change tampered 's["model"]["top1_count"] = 4'
refused tampered 'changed after signing' --key "$work/me.pub"
one_sentence
change stripped 'c["signatures"] = []'
refused stripped 'nobody signed it' --key "$work/me.pub"
one_sentence
change forged 'c["signatures"][0]["sig"] = "00" * 64'
refused forged 'changed after signing' --key "$work/me.pub"
change spaces 'pass'
expect 0 certify --check "$work/spaces.json" --model "$model" --key "$work/me.pub"
change expired 's["created"] = "2020-01-01T00:00:00Z"; s["expires"] = "2021-01-01T00:00:00Z"'
refused expired 'expired on 2021-01-01T00:00:00Z'
change future 's["created"] = "2199-01-01T00:00:00Z"; s["expires"] = "2200-01-01T00:00:00Z"'
refused future 'yet to come'
change numbers 's["agreement_count"] = 5'
refused numbers 'contradict each other'
change boast 's["model"]["top1_count"] = 2'
refused boast 'fail its own gates'
change missing 'del s["gates"]'
refused missing '"gates" is missing'
change unknown 's["model"]["stars"] = 5'
refused unknown 'keys in "model"'
change text 's["model"]["top1_count"] = "3"'
refused text 'whole number'
change fraction 's["model"]["macs"] = 1.5'
refused fraction 'whole number'
change version 's["spec_version"] = 2'
refused version 'another format'
change other 's["_type"] = "targets"'
refused other 'no certificate of ledge'
cp "$work/text.onnx" "$work/garbage.json"
refused garbage 'is not JSON'
one_sentence
cp "$work/empty.onnx" "$work/empty.json"
refused empty 'is not JSON'
printf '[1]' >"$work/array.json"
refused array 'must be one JSON object'
refused nosuch 'cannot be opened'
expect 3 certify --check "$work/c.json" --model "$model" --key "$work/text.onnx"
err 'holds no key'
expect 3 certify --check "$work/c.json" --model /nonexistent --key "$work/me.pub"
one_sentence
expect 3 certify --check "$work/c.json" --model "$model" --remeasure --reference "$work/worse.onnx" "$@" --runs 5
err 'is not the reference'
expect 3 certify --check "$work/c.json" --model "$model" --remeasure --reference "$model" "$@" --limit 3 --runs 5
err 'not the pictures'

# Gates: a refused model gets no certificate.
rm -f "$work/n.json"
expect 5 certify "$work/worse.onnx" --reference "$model" "$@" $ratio --runs 10 --max-drop 20 -o "$work/n.json"
err 'top-1 drops by [0-9.]+ points, 20.00 are allowed'
[ ! -e "$work/n.json" ] || fail 'a refused model got a certificate'
expect 5 certify --json "$work/worse.onnx" --reference "$model" "$@" $ratio --runs 10 --max-drop 100 --min-agreement 99
json 'o["passed"] is False and o["failed"] == ["min-agreement"] and o["certificate"] is None and o["signed"] is False'
expect 5 certify "$model" --reference "$model" "$@" --runs 10 --max-latency-ratio 0
err 'of the reference.s time, 0.00 is allowed'
expect 0 certify "$work/worse.onnx" --reference "$model" "$@" $ratio --runs 10 --max-drop 100
out 'no certificate is written'
# Unsigned, and said so; a data set without files; external data.
expect 0 certify "$model" --reference "$model" --dataset "cifar10:$work/cifar.bin" $ratio --runs 10 -o "$work/u.json"
out 'NOT SIGNED'
expect 0 certify --check "$work/u.json" --model "$model"
err 'not signed: anybody'
out 'signature none'
python3 -c 'import json, sys
s = json.load(open(sys.argv[1]))["signed"]["pictures"]
sys.exit(s["names"] != [] or s["count"] != 3 or s["source"] != "cifar10:cifar.bin")' "$work/u.json" ||
    fail 'the pictures of a numbered set are not named by it'

# Bad input and usage.
expect 3 certify "$work/text.onnx" --reference "$model" "$@"
one_sentence
expect 3 certify "$model" --reference "$work/text.onnx" "$@"
one_sentence
expect 3 certify "$data/pair.onnx" --reference "$model" "$@"
err 'one input'
expect 3 certify "$model" --reference "$model" "$@" -k "$work/me.pub"
err 'a public key cannot sign'
one_sentence
expect 3 certify "$model" --reference "$model" "$@" -k /nonexistent
one_sentence
expect 3 certify "$model" --reference "$model" --images /nonexistent --labels "$work/labels.csv"
one_sentence
expect 3 certify "$model" --reference "$model" --dataset "folder:$work/pictures"
err 'no labels'
one_sentence
expect 1 certify "$model" --reference "$model" "$@" $ratio --runs 5 -o /nonexistent/c.json
one_sentence
expect 2 certify
expect 2 certify "$model"
expect 2 certify "$model" --reference "$model"
expect 2 certify "$model" --reference "$model" --images "$work/pictures"
expect 2 certify "$model" --reference "$model" "$@" --max-drop much
expect 2 certify "$model" --reference "$model" "$@" --min-agreement 101
expect 2 certify "$model" --reference "$model" "$@" --max-latency-ratio -1
expect 2 certify "$model" --reference "$model" "$@" --days 0
expect 2 certify "$model" --reference "$model" "$@" --remeasure
expect 2 certify --check "$work/c.json"
expect 2 certify --check "$work/c.json" --model "$model" -o x
expect 2 certify --check "$work/c.json" --model "$model" --reference "$model"
cp "$work/no_picture.png" "$work/pictures/bad.png"
echo 'bad.png,1' >>"$work/labels.csv"
expect 3 certify "$model" --reference "$model" "$@"
err 'bad.png'
one_sentence
no_out
finish
