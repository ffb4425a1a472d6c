#!/usr/bin/env python3
"""Trains the demo model models/signs.onnx on pictures that draw_signs made, on one CPU core.

    train_signs.py DRAW_SIGNS OUT.onnx [--images 12000] [--epochs 10] [--work DIR]

Needs the wheels jax, numpy, pillow and onnx. The network is small on purpose: four
convolutions with batch normalisation, one of them in a residual pair, on 48x48 pixels. The ONNX
file keeps convolution and BatchNormalization apart, as exporters do, and carries what a user
needs in its metadata: ledge.preprocess and ledge.labels."""
import argparse
import csv
import json
import os
import pathlib
import subprocess
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIDE, MEAN, STD, EPSILON = 48, 0.5, 0.25, 1e-5
# name, input channels, output channels, stride; "c3" is added to its own input.
CONVS = [("c1", 3, 16, 2), ("c2", 16, 32, 2), ("c3", 32, 32, 1), ("c4", 32, 64, 2),
         ("c5", 64, 56, 1)]


def load(draw, folder, count, seed):
    subprocess.run([draw, folder, str(count), str(seed)], check=True)
    rows = list(csv.DictReader(open(pathlib.Path(folder, "labels.csv"))))
    pixels = np.stack([np.asarray(Image.open(pathlib.Path(folder, r["file"])).resize(
        (SIDE, SIDE), Image.BILINEAR)) for r in rows])
    return pixels, np.array([int(r["class_id"]) for r in rows])


def to_input(pixels):
    return (pixels.astype(np.float32) / 255 - MEAN) / STD


def initial(classes, rng):
    params, running = {}, {}
    for name, cin, cout, _ in CONVS:
        params[name] = rng.normal(0, (2 / (9 * cin)) ** 0.5, (3, 3, cin, cout)).astype(np.float32)
        params[name + "_gamma"] = np.ones(cout, np.float32)
        params[name + "_beta"] = np.zeros(cout, np.float32)
        running[name] = (np.zeros(cout, np.float32), np.ones(cout, np.float32))
    last = CONVS[-1][2]
    params["w"] = rng.normal(0, last ** -0.5, (last, classes)).astype(np.float32)
    params["b"] = np.zeros(classes, np.float32)
    return params, running


def forward(params, running, x, training):
    updated = {}
    for name, _, _, stride in CONVS:
        y = jax.lax.conv_general_dilated(x, params[name], (stride, stride), ((1, 1), (1, 1)),
                                         dimension_numbers=("NHWC", "HWIO", "NHWC"))
        mean, var = running[name]
        if training:
            m, v = y.mean((0, 1, 2)), y.var((0, 1, 2))
            updated[name] = (0.95 * mean + 0.05 * m, 0.95 * var + 0.05 * v)
            mean, var = m, v
        y = (y - mean) / jnp.sqrt(var + EPSILON) * params[name + "_gamma"] + params[name + "_beta"]
        y = y + x if name == "c3" else y
        x = jax.nn.relu(y)
    return x.mean((1, 2)) @ params["w"] + params["b"], updated


def loss(params, running, x, y):
    logits, updated = forward(params, running, x, True)
    target = 0.95 * jax.nn.one_hot(y, logits.shape[1]) + 0.05 / logits.shape[1]
    return -(target * jax.nn.log_softmax(logits)).sum(1).mean(), updated


@jax.jit
def step(params, running, moments, x, y, rate, t):
    (value, running), grads = jax.value_and_grad(loss, has_aux=True)(params, running, x, y)
    first, second = moments
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
    second = jax.tree.map(lambda m, g: 0.999 * m + 0.001 * g * g, second, grads)
    params = jax.tree.map(
        lambda p, m, v: p * (1 - rate * 1e-2) - rate * (m / (1 - 0.9 ** t)) /
        (jnp.sqrt(v / (1 - 0.999 ** t)) + 1e-8), params, first, second)
    return params, running, (first, second), value


@jax.jit
def classify(params, running, x):
    return forward(params, running, x, False)[0].argmax(1)


def accuracy(params, running, pixels, labels):
    got = [classify(params, running, to_input(pixels[i:i + 100]))
           for i in range(0, len(pixels), 100)]
    return float((np.concatenate(got) == labels).mean())


def train(pixels, labels, check, epochs, batch=64):
    rng = np.random.default_rng(1)
    params, running = initial(int(labels.max()) + 1, rng)
    zeros = jax.tree.map(jnp.zeros_like, params)
    moments, t, start = (zeros, zeros), 0, time.time()
    steps = epochs * (len(labels) // batch)
    for epoch in range(epochs):
        order, total = rng.permutation(len(labels)), 0.0
        for i in range(0, len(order) - batch + 1, batch):
            t += 1
            rate = 3e-3 * min(1, t / 100) * 0.5 * (1 + np.cos(np.pi * t / steps))
            pick = order[i:i + batch]
            params, running, moments, value = step(params, running, moments,
                                                   to_input(pixels[pick]), labels[pick], rate, t)
            total += float(value)
        print(f"epoch {epoch + 1}: loss {total / (len(order) // batch):.4f}, unseen "
              f"{accuracy(params, running, *check):.4f}, {time.time() - start:.0f} s", flush=True)
    return jax.tree.map(np.asarray, params), jax.tree.map(np.asarray, running)


def export(params, running, names, path):
    weights, nodes, x = [], [], "image"

    def weight(name, value):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    for name, _, _, stride in CONVS:
        kernel = weight(name + ".weight", params[name].transpose(3, 2, 0, 1))
        nodes.append(helper.make_node("Conv", [x, kernel], [name], name, kernel_shape=[3, 3],
                                      strides=[stride, stride], pads=[1, 1, 1, 1]))
        norm = [weight(f"{name}.{what}", value) for what, value in
                zip(("gamma", "beta", "mean", "var"),
                    (params[name + "_gamma"], params[name + "_beta"], *running[name]))]
        nodes.append(helper.make_node("BatchNormalization", [name, *norm], [name + ".norm"],
                                      name + ".norm", epsilon=EPSILON))
        y = name + ".norm"
        if name == "c3":
            nodes.append(helper.make_node("Add", [y, x], [name + ".add"], name + ".add"))
            y = name + ".add"
        x = name + ".relu"
        nodes.append(helper.make_node("Relu", [y], [x], x))
    nodes += [helper.make_node("GlobalAveragePool", [x], ["pool"], "pool"),
              helper.make_node("Flatten", ["pool"], ["flat"], "flat", axis=1),
              helper.make_node("Gemm", ["flat", weight("fc.weight", params["w"].T),
                                        weight("fc.bias", params["b"])], ["logits"], "fc",
                               transB=1)]
    graph = helper.make_graph(
        nodes, "signs", [helper.make_tensor_value_info("image", TensorProto.FLOAT,
                                                       ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(names)])], weights)
    model = helper.make_model(graph, producer_name="train_signs.py", ir_version=8,
                              opset_imports=[helper.make_opsetid("", 13)])
    preprocess = {"color": "rgb", "resize": {"width": SIDE, "height": SIDE},
                  "interpolation": "bilinear", "scale": 1 / 255, "mean": MEAN, "std": STD}
    helper.set_model_props(model, {"ledge.preprocess": json.dumps(preprocess),
                                   "ledge.labels": "\n".join(names)})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("draw")
    parser.add_argument("out")
    parser.add_argument("--images", type=int, default=12000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--work", default="/tmp/ledge-signs")
    a = parser.parse_args()
    names = subprocess.run([a.draw, "--names"], check=True, text=True,
                           capture_output=True).stdout.split("\n")[:-1]
    pathlib.Path(a.work).mkdir(exist_ok=True)
    data = load(a.draw, a.work + "/train", a.images, 1)
    check = load(a.draw, a.work + "/check", 1000, 2)
    print(f"{a.images} pictures drawn", flush=True)
    export(*train(*data, check, a.epochs), names, a.out)


if __name__ == "__main__":
    main()
