#!/bin/sh
# ledge quantize --finetune: the model that comes out is on integers, answers well, and training is
# repeatable; what does not go together is refused.
. "$(dirname "$0")/common.sh"

expect 0 distill --json -s tiny --data "cifar10:$work/usual.bin" --batch 50 -e 2 -o "$work/t.onnx"
set="--dataset cifar10:$work/usual.bin -n 50 --finetune cifar10:$work/usual.bin --batch 50"
expect 0 quantize --json "$work/t.onnx" -o "$work/q.onnx" $set --epochs 2 --rate 0.002
json 'o["layers_integer"] == 6 and o["finetune"]["epochs"] == 2 and o["finetune"]["loss"] < 1'
expect 0 eval --json "$work/q.onnx" --dataset "cifar10:$work/usual.bin"
json '(o["models"][0] if "models" in o else o)["top1"] > 0.95'
expect 0 quantize "$work/t.onnx" -o "$work/p.onnx" $set --epochs 2 --rate 0.002 --threads 1
out 'trained with rounded values: 2 epochs'
cmp -s "$work/p.onnx" "$work/q.onnx" || fail 'the number of threads changes the model'
expect 0 quantize --json "$work/t.onnx" -o "$work/p.onnx" $set --epochs 1 --target npu
json 'o["layers_integer"] == 6'
expect 0 quantize --json "$work/t.onnx" -o "$work/p.onnx" -d "$work/pictures" --finetune "$work/pictures" --epochs 1
json 'o["finetune"]["loss"] is not None'

# a model on integers teaches too
expect 0 distill --json -T "$work/q.onnx" -s tiny --data "cifar10:$work/usual.bin" --batch 50 -e 2 -o "$work/s.onnx" --eval "cifar10:$work/usual.bin"
json 'o["eval_accuracy"] > 0.9'

rm -f "$work/p.onnx"
for bad in '--mode weights' '--mixed' '--rounding adaptive' '--report r.html'; do
    expect 2 quantize "$work/t.onnx" -o "$work/p.onnx" $set $bad
    err '[-][-]finetune (goes|does not go)'
done
expect 2 quantize "$work/t.onnx" -o "$work/p.onnx" --dataset "cifar10:$work/usual.bin" --epochs 2
err 'go with --finetune'
expect 3 quantize "$work/t.onnx" -o "$work/p.onnx" -d "$work/pictures" --finetune "cifar10:$work/text.onnx"
[ -e "$work/p.onnx" ] && fail 'a failed command left an output'
finish
