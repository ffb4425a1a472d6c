#!/usr/bin/env python3
"""What a ladder of models gains on real pictures: CIFAR-10, ResNet-20 below ResNet-56.

Usage: bench_adaptive.py LEDGE ASSETS [--int8]. The threshold is chosen on every second picture, as
the one that is right most often within 0.6 of the large model's time, and then held against the other half: once from single runs (`ledge eval --ladder`), once by real requests to a ladder that
`ledge serve` runs. --int8: the models are quantized first. Needs nothing but the standard library."""
import array
import http.client
import json
import os
import subprocess
import sys
import tempfile

CIFAR = '{"preset":"imagenet","resize":"none","crop":"none"}'
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RECORD = 3073


def ledge(*arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"ledge {' '.join(arguments)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def evaluate(models, data):
    return ledge("eval", "--json", *models, "--dataset", f"cifar10:{data}", "--preprocess", CIFAR, "--ladder", "margin", "-t", "1")


def floats(record):
    out = array.array("f")
    for c in range(3):
        out.extend((b / 255 - MEAN[c]) / STD[c] for b in record[1 + 1024 * c:1025 + 1024 * c])
    return out.tobytes()


def ask(connection, model, body):
    """Class and seconds in models, by a raw body."""
    connection.request("POST", f"/v2/models/{model}/infer", body, {"Inference-Header-Content-Length": "0"})
    r = connection.getresponse()
    data = r.read()
    answer = json.loads(data[:int(r.headers["Inference-Header-Content-Length"])])
    scores = array.array("f", data[-40:])
    return scores.index(max(scores)), answer["parameters"]["ledge_latency_ms"], answer["parameters"].get("ledge_model_used")


def served(models, data, threshold):
    config = {"models": [{"name": n, "path": os.path.abspath(p), "drift": False} for n, p in zip(("small", "large"), models)], "workers": 1, "port": 0,
              "ladders": [{"name": "both", "models": ["small", "large"], "confidence": "margin", "threshold": threshold}]}
    with open("serve.json", "w") as f:
        json.dump(config, f)
    server = subprocess.Popen([program, "serve", "--json", "--config", "serve.json"], stdout=subprocess.PIPE, text=True)
    text = ""
    while not text.strip().endswith("}"):
        text += server.stdout.readline()
    connection = http.client.HTTPConnection("127.0.0.1", json.loads(text)["port"])
    records = [data[i:i + RECORD] for i in range(0, len(data), RECORD)]
    right, ms, climbed = {"both": 0, "large": 0}, {"both": 0.0, "large": 0.0}, 0
    for record in records:
        body = floats(record)
        for name in right:  # side by side, so that a busy moment hits both
            best, took, used = ask(connection, name, body)
            right[name] += best == record[0]
            ms[name] += took / len(records)
            climbed += name == "both" and used == "large"
    server.terminate()
    server.wait()
    return right, ms, climbed / len(records), len(records)


def main():
    data = b"".join(open(f"{assets}/cifar10/{n}.bin", "rb").read() for n in ("test_500", "test_jpeg_2000"))
    records = [data[i:i + RECORD] for i in range(0, len(data), RECORD)]
    for i in range(2):
        with open(f"half{i}.bin", "wb") as f:
            f.write(b"".join(records[i::2]))
    models = [f"{assets}/models/resnet{n}_cifar10.onnx" for n in (20, 56)]
    if int8:
        for i, path in enumerate(models):
            ledge("quantize", "--json", path, "-o", f"q{i}.onnx", "--dataset", f"cifar10:{assets}/cifar10/train_4000.bin", "--samples", "500", "--preprocess", CIFAR)
            models[i] = f"q{i}.onnx"
    first = evaluate(models, "half0.bin")
    chosen = max((p for p in first["ladder"]["curve"] if p["ratio"] <= 0.6), key=lambda p: (p["top1"], -p["ratio"]))["threshold"]
    other = evaluate(models, "half1.bin")
    point = next(p for p in other["ladder"]["curve"] if p["threshold"] == chosen)
    large = other["models"][1]
    print(f"threshold chosen on one half: {chosen:g}")
    print("| on the other half | top-1 | ms in models | of the large | climbed |\n| --- | --- | --- | --- | --- |")
    print(f"| large alone | {100 * large['top1']:.2f} % | {large['milliseconds_avg']:.3f} | 1 | |")
    print(f"| ladder, single runs | {100 * point['top1']:.2f} % | {point['milliseconds_avg']:.3f} | {point['ratio']:.2f} | {100 * point['shares'][1]:.1f} % |")
    right, ms, climbed, n = served(models, open("half1.bin", "rb").read(), chosen)
    print(f"| large, served | {100 * right['large'] / n:.2f} % | {ms['large']:.3f} | 1 | |")
    print(f"| ladder, served | {100 * right['both'] / n:.2f} % | {ms['both']:.3f} | {ms['both'] / ms['large']:.2f} | {100 * climbed:.1f} % |")
    print("\n| threshold | top-1 | of the large's time | climbed |\n| --- | --- | --- | --- |")
    for p in other["ladder"]["curve"]:
        print(f"| {p['threshold']:g} | {100 * p['top1']:.2f} % | {p['ratio']:.2f} | {100 * p['shares'][1]:.1f} % |")


if __name__ == "__main__":
    int8 = "--int8" in sys.argv
    program, assets = (os.path.abspath(p) for p in [a for a in sys.argv[1:] if a != "--int8"][:2])
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        main()
