#!/bin/sh
# ledge compress: the chain of a recipe gives one model with its certificate, a table and a page, and
# every mistake is one sentence that leaves nothing behind.
. "$(dirname "$0")/common.sh"

signs=$root/models/signs.onnx
set_=cifar10:$work/usual.bin
model=$work/teacher.onnx
# a model that knows this data
expect 0 prune "$signs" -o "$model" -a 0.2 --round 2 --finetune "$set_" --epochs 8 --rate 0.05 --teacher none -t 1
before=$(cksum "$model")
cat >"$work/recipe.json" <<END
{"steps": [{"prune": {"amount": 0.4, "round": 4}},
           {"distill": {"epochs": 6, "rate": 0.05, "crop": 2}},
           {"quantize": {"samples": 100, "exclude": ["Flatten"]}},
           {"certify": {"max-drop": 20, "max-latency-ratio": 100, "runs": 50}}]}
END
expect 0 compress "$model" -o "$work/c.onnx" --recipe "$work/recipe.json" --train "$set_" --test "$set_" --report "$work/r.html" -t 1
out '^original .* 1\.00x'
out '^prune '
out '^distill .*%'
out '^quantize .*x .* ms'
out 'with its certificate beside it'
[ -s "$work/c.onnx.cert.json" ] || fail 'there is no certificate'
grep -q '<svg' "$work/r.html" || fail 'the page has no chart'
expect 0 inspect --json "$work/c.onnx"
json '"ledge.quantization" in o["metadata"] and "ledge.pruning" in o["metadata"]'
expect 0 compress --json "$model" -o "$work/c.onnx" --recipe "$work/recipe.json" --train "$set_" --test "$set_" --stages "$work/stages" -t 1
json '[r["method"] for r in o["table"]] == ["original", "prune", "distill", "quantize"] and o["written"]'
json 'o["table"][3]["bytes"] < o["table"][2]["bytes"] < o["table"][0]["bytes"]'
json 'o["table"][1]["macs"] < 0.8 * o["table"][0]["macs"] and o["table"][3]["integer_macs"] > 0'
json 'o["table"][2]["top1"] > 0.7 > o["table"][1]["top1"] and o["table"][0]["top1"] > 0.7'
json 'all(r["latency_ms"] > 0 for r in o["table"])'
json 'len(o["steps"]) == 4 and o["steps"][0]["pruning"]["method"] == "channels"'
[ -s "$work/stages/1-prune.onnx" ] && [ -s "$work/stages/3-quantize.onnx" ] || fail 'the stages were not kept'
# a single step, without data
echo '{"steps": [{"prune": {"target-macs": 0.5, "round": 1}}]}' >"$work/one.json"
expect 0 compress "$model" -o "$work/one.onnx" --recipe "$work/one.json" -t 1
out '^prune .* - '

# a gate that refuses: the table, and no model
echo '{"steps": [{"prune": {"amount": 0.7, "round": 1}}, {"certify": {"max-drop": 0.1, "runs": 50}}]}' >"$work/gate.json"
expect 5 compress "$model" -o "$work/gate.onnx" --recipe "$work/gate.json" --test "$set_" -t 1
out '^prune '
[ ! -e "$work/gate.onnx" ] || fail 'a model was written that the gate refused'

# mistakes
expect 2 compress "$model" --recipe "$work/one.json"
err '-o OUT.onnx'
expect 2 compress "$model" -o "$work/n.onnx"
err "'distill' needs data"
expect 2 compress "$model" -o "$work/n.onnx" --train "$set_"
err "'certify' needs labelled pictures"
bad() {
    echo "$1" >"$work/bad.json"
    expect 3 compress "$model" -o "$work/n.onnx" --recipe "$work/bad.json" --train "$set_" --test "$set_"
    err "$2"
    one_sentence
}
bad '[]' 'a recipe is an object'
bad '{"steps": []}' 'one step or more'
bad '{"stages": []}' 'no key of a recipe'
bad '{"steps": [{"shrink": {}}]}' "'shrink' is no step"
bad '{"steps": [{"prune": {}, "quantize": {}}]}' 'one entry'
bad '{"steps": [{"prune": {"--amount": 1}}]}' 'no name of an option'
bad '{"steps": [{"prune": {"output": "x"}}]}' "chain's own"
bad '{"steps": [{"prune": {"amount": null}}]}' 'a text, a number'
bad '{"steps": [{"quantize": {}}, {"prune": {}}]}' "cannot follow 'quantize'"
bad '{"steps": [{"certify": {}}, {"prune": {}}]}' 'last step'
bad '{"steps": [{"certify": {}}]}' 'makes no model'
bad '{"steps": [' 'line '
expect 3 compress "$model" -o "$work/n.onnx" --recipe "$work/nowhere.json" --train "$set_"
one_sentence
expect 3 compress "$work/nowhere.onnx" -o "$work/n.onnx" --recipe "$work/one.json"
one_sentence
expect 3 compress "$work/text.onnx" -o "$work/n.onnx" --recipe "$work/one.json"
one_sentence
expect 3 compress --json "$work/text.onnx" -o "$work/n.onnx" --recipe "$work/one.json"
json 'o["step"] == 1 and "error" in o'
expect 3 compress --json "$model" -o "$work/n.onnx" --recipe "$work/one.json" --test cifar10:/nonexistent -t 1
json 'o["error"]["message"] and "step" not in o'
echo '{"steps": [{"quantize": {"mode": "static"}}]}' >"$work/bad.json"
expect 2 compress "$model" -o "$work/n.onnx" --recipe "$work/bad.json"
err "'quantize' needs data"
expect 2 compress "$model" -o "$model" --recipe "$work/one.json"
err 'is the model that is read'
expect 1 compress "$model" -o /nonexistent/c.onnx --recipe "$work/one.json"
one_sentence
mkdir "$work/there"
expect 1 compress "$model" -o "$work/n.onnx" --recipe "$work/one.json" --stages "$work/there"
one_sentence
echo '{"steps": [{"prune": {"amount": 0.3, "no-such-option": 1}}]}' >"$work/bad.json"
expect 2 compress "$model" -o "$work/n.onnx" --recipe "$work/bad.json"
err 'no-such-option'

# a full disk, as a limit on file sizes makes it: in a step's own file, and in the last one
full() {
    last="ledge compress, files of at most $1 blocks"
    (
        trap '' XFSZ
        ulimit -f "$1"
        exec "$ledge" compress "$model" -o "$work/n.onnx" --recipe "$work/one.json" -t 1 >"$work/out" 2>"$work/err"
    )
    got=$?
    [ "$got" = 1 ] || fail "$last: exit code $got"
    one_sentence
    err 'cannot write'
}
full 1
[ -z "$(ls "$work" | grep '^n\.onnx')" ] || fail "$last: something was left behind"

# Ctrl-C goes to all processes of the terminal; a step that is killed is named
python3 - "$ledge" "$model" "$work" "$set_" <<'END' || fail 'Ctrl-C'
import glob, os, signal, subprocess, sys
ledge, model, work, data = sys.argv[1:]
with open(os.path.join(work, "long.json"), "w") as f:
    f.write('{"steps": [{"prune": {"amount": 0.3, "round": 4}}, {"distill": {"epochs": 10000}}]}')

def training():
    p = subprocess.Popen([ledge, "compress", model, "-o", os.path.join(work, "int.onnx"), "--recipe", os.path.join(work, "long.json"),
                          "--train", data], stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    p.stderr.readline()  # training has begun
    return p

p = training()
os.killpg(p.pid, signal.SIGINT)
out, err = p.communicate(timeout=60)
assert p.returncode == 1, p.returncode
assert b"interrupted" in err, err
p = training()
for stat in glob.glob("/proc/[0-9]*/stat"):
    try:
        with open(stat) as f:
            text = f.read()
    except OSError:
        continue
    if text.rpartition(")")[2].split()[1] == str(p.pid):  # its parent
        os.kill(int(text.split()[0]), signal.SIGKILL)
out, err = p.communicate(timeout=60)
assert p.returncode == 1, p.returncode
assert b"'ledge distill' was ended by signal 9" in err, err
END
ls "$work" | grep -Eq '^(n|int|gate)\.onnx' && fail 'something was left behind'
checks=$((checks + 5))
[ "$before" = "$(cksum "$model")" ] || fail 'the input was changed'
finish
