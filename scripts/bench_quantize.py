#!/usr/bin/env python3
"""What quantizing costs: accuracy, agreement, size, time and memory, on the shared assets.

Usage: bench_quantize.py LEDGE ASSETS [ONNXRUNTIME]. Everything is measured by the ledge program
itself, top-1 also through ONNX Runtime where its library is named; needs nothing but the standard
library. The last column says what the project asks for."""
import glob
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile

CIFAR = '{"preset":"imagenet","resize":"none","crop":"none"}'
FACES = '{"color":"rgb","resize":{"width":320,"height":240},"crop":"none","scale":1,"mean":127,"std":128}'


def ledge(*arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"ledge {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def quantize(model, out, *arguments):
    return json.loads(ledge("quantize", "--json", model, "-o", out, *arguments))


def line(name, value, wanted, good):
    print(f"  {name:<52} {value:>18}   {wanted:<16} {'' if good else '  MISSED'}")


def compare(name, model, small, data, drop, agree=None):
    """Top-1 drop and agreement, by `ledge eval`."""
    for provider in ["cpu"] + (["ort"] if os.environ.get("LEDGE_ORT") else []):
        o = json.loads(ledge("eval", "--json", model, small, *data, "--provider", provider))
        lost = 100 * (o["models"][0]["top1"] - o["models"][1]["top1"])
        same = 100 * o["agreement"][0]["share"]
        where = ", ONNX Runtime" if provider == "ort" else ""
        line(f"{name}{where}: drop in points", f"{lost:+.2f}", f"<= {drop}", lost <= drop + 1e-9)
        line(f"{name}{where}: agreement", f"{same:.2f} %", f">= {agree} %" if agree else "", not agree or same >= agree)


def mobilenet():
    model, photos = assets + "/models/mobilenetv2_1.0_224.onnx", assets + "/images/imagenet"
    data = ["--images", photos, "--labels", photos + "/labels.csv", "--preprocess", "tf"]
    calibrate = ["--calibrate", photos, "--preprocess", "tf"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    o = quantize(model, "all.onnx", *calibrate)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    assert before / 1024 < 100, "another child was larger"
    line("MobileNetV2, 500 photos: seconds", f"{o['seconds']:.1f}", "<= 25", o["seconds"] <= 25)
    line("MobileNetV2, 500 photos: peak MB", f"{memory:.0f}", "<= 150", memory <= 150)
    o = quantize(model, "q.onnx", *calibrate, "--samples", "100")
    line("MobileNetV2 static: bytes", f"{o['output_bytes']:,}", "<= 3.7 MB", o["output_bytes"] <= 3.7e6)
    compare("MobileNetV2 static, 100 photos", model, "q.onnx", data, 0.6, 95)
    for mode in ("weights", "dynamic"):
        quantize(model, "q.onnx", "--mode", mode)
        compare(f"MobileNetV2 {mode}, no data", model, "q.onnx", data, 0.6)


def resnet(name):
    model = f"{assets}/models/{name}_cifar10.onnx"
    with open("test.bin", "wb") as f:
        for part in ("test_500.bin", "test_jpeg_2000.bin"):
            f.write(open(f"{assets}/cifar10/{part}", "rb").read())
    quantize(model, "q.onnx", "--dataset", f"cifar10:{assets}/cifar10/train_4000.bin", "--samples", "500",
             "--preprocess", CIFAR)
    compare(name, model, "q.onnx", ["--dataset", "cifar10:test.bin", "--preprocess", CIFAR], 0.4)


def floats(path):
    data = open(path, "rb").read()
    start = 10 + struct.unpack("<H", data[8:10])[0]
    return struct.unpack(f"<{(len(data) - start) // 4}f", data[start:])


def overlap(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def boxes_of(model, photo):
    ledge("run", model, photo, "--preprocess", FACES, "-o", "out")
    scores, boxes = floats("out/scores.npy"), floats("out/boxes.npy")
    return scores[1::2], [boxes[i:i + 4] for i in range(0, len(boxes), 4)]


def faces(name):
    model = f"{assets}/models/{name}.onnx"
    quantize(model, "q.onnx", "--calibrate", assets + "/images/imagenet", "--samples", "200", "--preprocess", FACES)
    near = total = 0
    for photo in sorted(glob.glob(assets + "/images/faces/*.jpg")):
        scores, wanted = boxes_of(model, photo)
        _, got = boxes_of("q.onnx", photo)
        for i, score in enumerate(scores):
            if score > 0.7:
                total += 1
                near += overlap(wanted[i], got[i]) >= 0.9
    share = 100 * near / total
    line(f"{name}: boxes of IoU 0.9, of {total}", f"{share:.1f} %", ">= 95 %", share >= 95)


if __name__ == "__main__":
    program, assets = (os.path.abspath(p) for p in sys.argv[1:3])
    if sys.argv[3:] and sys.argv[3]:
        os.environ["LEDGE_ORT"] = os.path.abspath(sys.argv[3])
    print("quantization")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        mobilenet()
        for name in ("resnet20", "resnet56"):
            resnet(name)
        for name in ("ultraface_RFB-320", "ultraface_slim-320"):
            faces(name)
