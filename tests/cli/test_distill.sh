#!/bin/sh
# ledge distill: students learn, from labels, a teacher or both; a break costs nothing; every
# mistake is one sentence that leaves nothing behind.
. "$(dirname "$0")/common.sh"

set="--data cifar10:$work/usual.bin"
fast="--batch 50 --epochs 1 --threads 1"
expect 0 distill --json --student tiny $set --eval "cifar10:$work/usual.bin" --batch 50 -e 2 -o "$work/t.onnx" --names "$work/names.txt"
json 'o["samples"] == 400 and o["labelled"] == 400 and o["eval_accuracy"] > 0.9 and o["parameters"] > 60000'
cp "$work/t.onnx" "$work/teacher.onnx"
expect 0 inspect --json "$work/teacher.onnx"
json '"ledge.preprocess" in o["metadata"] and "ledge.labels" in o["metadata"]'
expect 0 eval --json "$work/teacher.onnx" --dataset "cifar10:$work/usual.bin"
json 'o["models"][0]["top1"] > 0.9 if "models" in o else True'

# from the teacher's scores alone, on pictures without labels; its classes and names go along
expect 0 distill --json -T "$work/teacher.onnx" -s tiny -d "$work/pictures" -b 2 -e 1 -o "$work/s.onnx"
json 'o["samples"] == 4 and o["labelled"] == 0 and o["accuracy"] is None'
expect 0 distill -T "$work/teacher.onnx" -s tiny $set $fast -n 100 -o "$work/s.onnx" --feature c5.relu=c5.relu:0.5 --crop 2 --flip --colour 0.1 --mixup 0.2 --optimizer adamw
out 's.onnx: .* parameters'
expect 0 distill -s "$work/teacher.onnx" $set $fast -o "$work/s.onnx" --schedule steps --step 0.5 --nesterov --clip 5 --smoothing 0.1
out 'trained on 400 pictures'

# what is frozen stays as it is: about 5,040 numbers of 66,428
expect 0 distill -s "$work/teacher.onnx" $set $fast -n 100 -o "$work/s.onnx" --freeze c2.relu --rate 0.01
python3 - "$work/teacher.onnx" "$work/s.onnx" <<'END' || fail 'freezing changes what it should not, or nothing'
import sys
a, b = (open(f, 'rb').read() for f in sys.argv[1:])
same = sum(a[i:i + 64] == b[i:i + 64] for i in range(0, len(a), 64)) / (len(a) / 64)
sys.exit(0 if len(a) == len(b) and 0.05 < same < 0.3 else 1)
END
expect 2 distill -s tiny $set -o "$work/n.onnx" --freeze c3.norm
err 'goes with a student from a file'
expect 3 distill -s "$work/teacher.onnx" $set -o "$work/n.onnx" --freeze c3.norm
err 'all ways lead through'
expect 3 distill -s "$work/teacher.onnx" $set -o "$work/n.onnx" --freeze nothing
err 'no tensor of this name'

# same seed, same file; another seed, another; an input is never touched
before=$(cksum "$work/teacher.onnx")
expect 0 distill -s resnet8 $set $fast -n 100 -o "$work/a.onnx"
expect 0 distill -s resnet8 $set --batch 50 --epochs 1 --threads 2 -n 100 -o "$work/b.onnx"
cmp -s "$work/a.onnx" "$work/b.onnx" || fail 'the number of threads changes the student'
expect 0 distill -s resnet8 $set $fast -n 100 --seed 2 -o "$work/b.onnx"
cmp -s "$work/a.onnx" "$work/b.onnx" && fail 'the seed changes nothing'

# Ctrl-C keeps a checkpoint, and --resume goes on from it
"$ledge" distill -s resnet8 $set -b 20 -e 40 -t 1 -o "$work/r.onnx" >"$work/out" 2>"$work/err" &
pid=$!
for tenth in $(seq 300); do
    [ -s "$work/r.onnx.checkpoint" ] && break
    sleep 0.1
done
kill -INT $pid
wait $pid
got=$?
last='interrupted ledge distill'
[ "$got" = 1 ] || fail "$last: exit code $got"
err 'interrupted; .*r.onnx.checkpoint.* --resume goes on'
[ -e "$work/r.onnx" ] && fail "$last left an output"
cp "$work/r.onnx.checkpoint" "$work/keep"
expect 3 distill -s resnet8 $set -b 20 -e 41 -t 1 -o "$work/r.onnx" --resume
err 'other options'
printf x >>"$work/r.onnx.checkpoint"
expect 3 distill -s resnet8 $set -b 20 -e 40 -t 1 -o "$work/r.onnx" --resume
err 'cut off'
expect 3 distill -s resnet8 $set -b 20 -e 40 -t 1 -o "$work/r.onnx" --resume --checkpoint "$work/nowhere"
err 'cannot be read'

# mistakes of usage
expect 2 distill -s tiny $set
err '-o OUT.onnx'
expect 2 distill $set -o "$work/n.onnx"
err 'give a student'
expect 2 distill -s tiny -o "$work/n.onnx"
err 'pictures to learn from'
expect 2 distill -s tiny $set -o "$work/n.onnx" --alpha 0.5
err 'go with --teacher'
for bad in '--rate x' '--optimizer adam' '--schedule up' '--step 3' '--epochs 0' '--mixup -1' '--momentum 1'; do
    expect 2 distill -s tiny $set -o "$work/n.onnx" $bad
    err 'takes|goes with'
done
expect 2 distill -T "$work/teacher.onnx" -s tiny $set -o "$work/n.onnx" --feature pool
err 'STUDENT_TENSOR=TEACHER_TENSOR'

# inputs that cannot be taken
expect 3 distill -s "$work/text.onnx" $set -o "$work/n.onnx"
expect 3 distill -T "$work/text.onnx" -s tiny $set -o "$work/n.onnx"
expect 3 distill -s tiny -d "cifar10:$work/text.onnx" -o "$work/n.onnx"
expect 2 distill -s "$work/teacher.onnx" $set -o "$work/n.onnx" -n 10
err 'too few for batches of 64'
expect 2 distill -s tiny -d "$work/pictures" -b 2 -o "$work/n.onnx"
err 'no labels'
expect 3 distill -s "$data/unsupported.onnx" $set -o "$work/n.onnx"
expect 3 distill -T "$work/teacher.onnx" -s tiny $set -o "$work/n.onnx" --feature c5.relu=nothing
err 'no tensor of this name'
expect 3 distill -T "$work/teacher.onnx" -s tiny $set -o "$work/n.onnx" --feature nothing=pool
err 'no tensor of this name'
expect 3 distill -T "$work/teacher.onnx" -s tiny $set -o "$work/n.onnx" --feature c5.relu=logits
err 'another shape'
expect 1 distill -s tiny $set $fast --rate 1000 --decay 10 -e 30 -o "$work/n.onnx"
err 'no finite number in step [0-9]+, and this layer'
rm -f "$work/n.onnx.checkpoint"
expect 0 compile "$work/teacher.onnx" -o "$work/c.ledge"
expect 3 distill -s "$work/c.ledge" $set -o "$work/n.onnx"
err 'a compiled model is not changed'
one_sentence
expect 2 distill -s "$work/teacher.onnx" $set -o "$work/teacher.onnx"
err 'is a model that is read'
expect 1 distill -s tiny $set -o "$work/no/such/folder/n.onnx"
# a full disk, as a limit on file sizes makes it: the training's end is told, nothing half is left
last='ledge distill on a full disk'
(
    trap '' XFSZ
    ulimit -f 64
    exec "$ledge" distill -s tiny $set $fast -n 100 -o "$work/n.onnx" >"$work/out" 2>"$work/err"
)
got=$?
[ "$got" = 1 ] || fail "$last: exit code $got"
err 'no checkpoint: .*n.onnx.checkpoint: cannot write'
err '^ledge: .*n.onnx: cannot write'
[ -e "$work/n.onnx" ] && fail 'a failed command left an output'
[ "$(cksum "$work/teacher.onnx")" = "$before" ] || fail 'an input was touched'
finish
