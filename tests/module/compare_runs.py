#!/usr/bin/env python3
"""Runs models by two ledge programs on the same seeded input and compares what --output wrote:
int8 models to the bit, others by the normalised mean squared difference.

Usage: compare_runs.py LEDGE OTHER BOUND MODEL...   BOUND: exact, or a number as 1e-9"""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile


def npy(path, shape, values):
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }" % "".join("%d," % d for d in shape)
    head = head.ljust(117) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + head.encode())
        f.write(struct.pack("<%df" % len(values), *values))


def floats(path):
    data = open(path, "rb").read()
    start = 10 + struct.unpack_from("<H", data, 8)[0]
    return struct.unpack("<%df" % ((len(data) - start) // 4), data[start:])


def run(program, *words):
    return json.loads(subprocess.run([program, *words, "--json"], check=True,
                                     stdout=subprocess.PIPE).stdout)


def compare(one, other, bound, model, folder):
    noise, words = random.Random(7), []
    for i, tensor in enumerate(run(one, "inspect", model)["inputs"]):
        shape = [d if isinstance(d, int) and d > 0 else 1 for d in tensor["shape"]]
        count = 1
        for d in shape:
            count *= d
        path = os.path.join(folder, "in%d.npy" % i)
        npy(path, shape, [noise.uniform(-2, 2) for _ in range(count)])
        words += ["-i", "%s=%s" % (tensor["name"], path)]
    places = [os.path.join(folder, name) for name in ("one", "other")]
    answers = [run(p, "run", model, *words, "-o", to) for p, to in zip((one, other), places)]
    tops = [[t["class"] for t in a["results"][0].get("top", [])] for a in answers]
    assert tops[0] == tops[1], (model, tops)
    names = sorted(os.listdir(places[0]))
    assert names and names == sorted(os.listdir(places[1]))
    worst = 0.0
    for name in names:
        paths = [os.path.join(p, name) for p in places]
        if bound == "exact":
            assert open(paths[0], "rb").read() == open(paths[1], "rb").read(), (model, name)
            continue
        a, b = (floats(p) for p in paths)
        assert len(a) == len(b) > 0
        error = sum((x - y) ** 2 for x, y in zip(a, b)) / max(sum(x * x for x in a), 1e-30)
        worst = max(worst, error)
        assert error <= float(bound), (model, name, error)
    print("%s: same top %d, %s" % (os.path.basename(model), len(tops[0]),
                                   "same bytes" if bound == "exact" else "difference %.1e" % worst))


for path in sys.argv[4:]:
    with tempfile.TemporaryDirectory() as place:
        compare(*sys.argv[1:4], path, place)
