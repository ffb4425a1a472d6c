#!/bin/sh
# ledge prune: the model that comes out is smaller and runs, and every mistake is one sentence that
# leaves nothing behind.
. "$(dirname "$0")/common.sh"

model=$root/models/signs.onnx
before=$(cksum "$model")

# channels
expect 0 prune "$model" -o "$work/p.onnx" --amount 0.4
out 'p.onnx: .* instead of'
out 'channels: [0-9]+ of 200 left, in 5 of 6 layers fewer'
out 'multiply-accumulates: .* instead of'
out 'latency: .* ms instead of .* ms'
out ": gives the model's answer"
expect 0 inspect --json "$work/p.onnx"
cp "$work/out" "$work/inspect.json"
json 'o["run"]["runnable"] and "ledge.pruning" in o["metadata"] and "ledge.preprocess" in o["metadata"]'
expect 0 prune --json "$model" -o "$work/p.onnx" --amount 0.4 --scope layer --round 1
json 'o["pruning"]["channels"] == [200, 120] and o["output_bytes"] < 0.5 * o["input_bytes"]'
json 'o["pruning"]["macs"][1] < 0.5 * o["pruning"]["macs"][0] and len(o["latency_ms"]) == 2'
json 'len(o["layers"]) == 6 and o["layers"][5]["fixed"] and o["layers"][5]["kept"] == 12'
json 'all(l["kept"] == round(0.6 * l["channels"]) or abs(l["kept"] - 0.6 * l["channels"]) <= 0.5 for l in o["layers"][:5])'
# what the pruner counts is what the pruned model does
cp "$work/out" "$work/pruned.json"
expect 0 inspect --json "$work/p.onnx"
json "o['run']['macs'] == json.load(open('$work/pruned.json'))['pruning']['macs'][1]"
expect 0 prune --json "$model" -o "$work/p.onnx" --target-macs 0.5 --round 1
json '0.47 < o["pruning"]["macs"][1] / o["pruning"]["macs"][0] <= 0.5'
expect 0 prune --json "$model" -o "$work/p.onnx" --target-latency 60s --round 4
json 'o["pruning"]["channels"][1] == 200'
for importance in l1 l2 bn random; do
    expect 0 prune --json "$model" -o "$work/p.onnx" -a 0.3 --importance $importance --steps 3
    json "o['pruning']['importance'] == '$importance' and o['pruning']['steps'] == 3"
    json '130 <= o["pruning"]["channels"][1] <= 150'
done
# the same again, to the byte
cp "$work/p.onnx" "$work/p2.onnx"
expect 0 prune --json "$model" -o "$work/p.onnx" -a 0.3 --importance random --steps 3
cmp -s "$work/p.onnx" "$work/p2.onnx" || fail 'pruning is not repeatable'
expect 0 prune --json "$model" -o "$work/p.onnx" -a 0.3 --scope layer --round 4 --keep c2 --keep c3
json 'not o["layers"][0]["fixed"] and [l["kept"] for l in o["layers"]][1:3] == [32, 32]'
json 'any("asked" in (l["why"] or "") for l in o["layers"])'

# single weights
expect 0 prune --json "$model" -o "$work/z.onnx" --method magnitude --amount 0.6
json 'abs(o["pruning"]["zeros"] / o["pruning"]["weights"] - 0.6) < 0.01 and len(o["warnings"]) == 1'
expect 0 prune --json "$model" -o "$work/z.onnx" --method magnitude --amount 0.6 --block 16 --scope layer
json 'abs(o["pruning"]["zeros"] / o["pruning"]["weights"] - 0.6) < 0.03 and len(o["latency_ms"]) == 2'
expect 0 prune "$model" -o "$work/z.onnx" --method 2:4
out 'weights: .* are zero \(0\.4[89]'
err 'take part in every run here as before'
expect 0 inspect --json "$work/z.onnx"
json 'o["run"]["runnable"] and not any(s["skips_zeros"] for s in o["run"]["steps"])'
# blocks of 16 channels, in a product that is large enough
product=$root/tests/fuzz/corpus/model/strips.onnx
expect 0 prune "$product" -o "$work/z.onnx" --method magnitude --amount 0.5 --block 16
out '; skipped in blocks by 1 of 1 steps'
expect 0 prune --json "$product" -o "$work/z.onnx" --method magnitude --amount 0.5 --block 16
json 'o["steps_skipping_zeros"] == 1 and not o["warnings"]'
expect 0 inspect "$work/z.onnx" --steps
out '^zeros +skipped in blocks by 1 of 1 steps'
out 'skips zeros'
expect 0 compile "$work/z.onnx" -o "$work/z.ledge"
expect 0 inspect --json "$work/z.ledge"
json 'sum(s["skips_zeros"] for s in o["run"]["steps"]) == 1'

# training afterwards, with the unpruned model as teacher
data_set=cifar10:$work/usual.bin
expect 0 prune --json "$model" -o "$work/t.onnx" -a 0.4 --finetune "$data_set" --epochs 3 --teacher none --rate 0.05
json 'o["training"]["epochs"] == 3 and o["training"]["accuracy"] > 0.9'
expect 0 eval --json "$work/t.onnx" --dataset "$data_set"
json 'o["models"][0]["top1"] > 0.9'
expect 0 prune --json "$model" -o "$work/t.onnx" -a 0.4 --finetune "$data_set" --epochs 1 --crop 2 --flip --colour 0.1 --mixup 0.2 --importance taylor --steps 2
json 'o["pruning"]["importance"] == "taylor" and o["training"]["epochs"] == 1'
expect 0 prune --json "$model" -o "$work/t.onnx" -a 0.4 --finetune "$data_set" --epochs 0 --importance taylor
json '"training" not in o'
expect 0 prune --json "$model" -o "$work/t.onnx" --method 2:4 --finetune "$data_set" --epochs 1
json 'abs(o["pruning"]["zeros"] / o["pruning"]["weights"] - 0.5) < 0.02'
cp "$work/out" "$work/zeros.json"
expect 0 prune --json "$work/t.onnx" -o "$work/t2.onnx" --method 2:4
json "o['pruning']['zeros'] == json.load(open('$work/zeros.json'))['pruning']['zeros']"
# interrupted and resumed: the same model as in one go
set -- -a 0.4 --finetune "$data_set" --epochs 4 --threads 1 --batch 32
expect 0 prune "$model" -o "$work/once.onnx" "$@"
python3 - "$ledge" "$model" "$work" "$@" <<'END' || fail 'Ctrl-C while training'
import os, signal, subprocess, sys, time
ledge, model, work = sys.argv[1:4]
checkpoint = os.path.join(work, "again.onnx.checkpoint")
words = [ledge, "prune", model, "-o", os.path.join(work, "again.onnx")] + sys.argv[4:]
p = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
for i in range(2000):
    if os.path.exists(checkpoint) or p.poll() is not None:
        break
    time.sleep(0.005)
assert p.poll() is None, "it ended too soon to be interrupted"
p.send_signal(signal.SIGINT)
out, err = p.communicate(timeout=60)
assert p.returncode == 1, p.returncode
assert b"with --resume goes on" in err, err
assert not os.path.exists(os.path.join(work, "again.onnx"))
assert subprocess.run(words + ["--resume"], stdout=subprocess.DEVNULL).returncode == 0
END
cmp -s "$work/once.onnx" "$work/again.onnx" || fail 'a resumed training gives another model'
checks=$((checks + 2))
expect 2 prune "$model" -o "$work/n.onnx" -a 0.4 --importance taylor
err 'needs data'
expect 2 prune "$model" -o "$work/n.onnx" -a 0.4 --epochs 3
err 'go with --finetune'
for bad in '--rate 0' '--crop x' '--optimizer best' '--resume --steps 2'; do
    expect 2 prune "$model" -o "$work/n.onnx" -a 0.4 --finetune "$data_set" $bad
    one_sentence
done
expect 3 prune "$model" -o "$work/n.onnx" -a 0.4 --finetune cifar10:/nonexistent
one_sentence
expect 3 prune "$model" -o "$work/n.onnx" -a 0.4 --finetune "$data_set" --checkpoint "$work/text.onnx" --resume
one_sentence
expect 2 prune "$model" -o "$work/n.onnx" -a 0.4 --finetune "cifar10:$work/cifar.bin"
err 'too few'
one_sentence

# stages come to what one comes to, whatever rounding leaves for each
for how in '-a 0.1 --round 4' '-a 0.5 --round 8' '-a 0.2 --round 8'; do
    expect 0 prune --json "$model" -o "$work/stages.onnx" $how --steps 8
    json '0.05 > abs(o["pruning"]["channels"][1] / o["pruning"]["channels"][0] - 1 + float("'"${how#-a }"'"[:3]))'
done

# mistakes of usage
expect 2 prune "$model" --amount 0.4
err '-o OUT.onnx'
expect 2 prune "$model" -o "$work/n.onnx"
err 'say how much'
for bad in '--amount 0' '--amount 1' '--amount -1' '--amount x' '--amount 0.5x' '--target-macs 1' '--target-macs 0' \
    '--target-latency 0' '--target-latency 2min' '--amount 0.4 --target-macs 0.5' '--method half' \
    '-a 0.4 --importance big' '-a 0.4 --scope all' '-a 0.4 --layer-limit 0' '-a 0.4 --block 4' \
    '-a 0.4 --method 2:4' '--target-macs 0.5 --method magnitude' '-a 0.4 --method magnitude --steps 2'; do
    expect 2 prune "$model" -o "$work/n.onnx" $bad
    no_out
done
expect 2 prune "$model" -o "$work/n.onnx" -a 0.4 --keep NoSuchNode
err 'NoSuchNode: no node'
one_sentence
expect 2 prune "$model" -o "$work/n.onnx" -a 0.999
err 'would empty the layer; at most'
one_sentence
expect 2 prune "$model" -o "$work/n.onnx" -a 0.9
err 'cannot go without emptying a layer; at most'
one_sentence
expect 2 prune "$model" -o "$work/n.onnx" -a 0.9 --steps 3
err '^ledge: .*amount: 0.9 of the channels cannot go'
one_sentence
expect 2 prune "$model" -o "$work/n.onnx" -a 0.001 --steps 3
err 'rounds to none'
one_sentence
expect 2 prune "$model" -o "$work/n.onnx" -a 0.001
err 'rounds to none'
one_sentence
expect 2 prune "$model" -o "$work/n.onnx" --target-macs 0.001
err 'cannot be reached'
one_sentence
expect 2 prune "$model" -o "$work/n.onnx" --target-latency 0.001us
err 'cannot be reached'
one_sentence

# bad input
for bad in "$work/text.onnx" "$data/unsupported.onnx" "$work/nowhere.onnx"; do
    expect 3 prune "$bad" -o "$work/n.onnx" -a 0.4
    one_sentence
done
expect 3 prune "$data/pair.onnx" -o "$work/n.onnx" -a 0.4
err 'no layer with constant weights'
one_sentence
expect 3 prune "$data/qdq.onnx" -o "$work/n.onnx" -a 0.4
err 'quantized already'
one_sentence
expect 0 compile "$model" -o "$work/c.ledge"
expect 3 prune "$work/c.ledge" -o "$work/n.onnx" -a 0.4
err 'compiled'
one_sentence
[ ! -e "$work/n.onnx" ] || fail 'a model was written in spite of a mistake'

# the output
cp "$model" "$work/same.onnx"
expect 2 prune "$work/same.onnx" -o "$work/same.onnx" -a 0.4
err 'is the model that is read'
cmp -s "$model" "$work/same.onnx" || fail 'the input was changed'
expect 1 prune "$model" -o /nonexistent/q.onnx -a 0.4
one_sentence
# a disk that is full: no file may grow beyond one block of 512 bytes
(ulimit -f 1; "$ledge" prune "$model" -o "$work/full.onnx" -a 0.4 >"$work/out" 2>"$work/err")
code=$?
last='prune on a full disk'
[ $code = 1 ] || fail "exit code $code, not 1"
ls "$work" | grep -q 'full.onnx' && fail 'half a file or a temporary one was left'

# Ctrl-C while channels go
interrupted prune "$model" -o "$work/int.onnx" -a 0.5 --round 1 --steps 100 --importance taylor --finetune "$data_set" --epochs 0
ls "$work" | grep -q '^int\.onnx' && fail "$last: something was left behind"
[ "$before" = "$(cksum "$model")" ] || fail 'the input was changed'
finish
