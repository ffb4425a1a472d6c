#!/usr/bin/env python3
"""Hands tensors to `ledge serve` without a socket in between, as the process of a camera would.

    ledge serve m=model.onnx --pixels --shared-memory camera-
    shared_memory.py m frame.raw [ROUNDS] [PORT]

frame.raw holds the bytes of the model's only input, as GET /v2/models/m names it. They are put into an object of
POSIX shared memory (a file of /dev/shm), which the server is told of once; each round asks for an answer about what
lies there. Prints the answer and the median of milliseconds. Python's standard library alone."""
import http.client
import json
import math
import mmap
import os
import statistics
import sys
import time

ITEM = {"BOOL": 1, "UINT8": 1, "INT8": 1, "FP16": 2, "INT16": 2, "FP32": 4, "INT32": 4, "INT64": 8, "FP64": 8}


def ask(connection, method, path, body=None):
    connection.request(method, path, json.dumps(body) if body is not None else None)
    answer = connection.getresponse()
    o = json.loads(answer.read())
    if answer.status != 200:
        sys.exit(f"{path}: {o['error']}")
    return o


def main(model, file, rounds=1, port=8000):
    with open(file, "rb") as f:
        frame = f.read()
    server = http.client.HTTPConnection("127.0.0.1", int(port))
    x = ask(server, "GET", f"/v2/models/{model}")["inputs"][0]
    shape = [1 if d < 0 else d for d in x["shape"]]
    if len(frame) != math.prod(shape) * ITEM[x["datatype"]]:
        sys.exit(f"{file} has {len(frame)} bytes, but {x['name']} is {x['datatype']} {shape}")
    key = f"camera-{os.getpid()}"
    with open("/dev/shm/" + key, "w+b") as f:
        try:
            f.truncate(len(frame))
            memory = mmap.mmap(f.fileno(), len(frame))
            ask(server, "POST", f"/v2/systemsharedmemory/region/{key}/register", {"key": key, "offset": 0, "byte_size": len(frame)})
            place = {"shared_memory_region": key, "shared_memory_byte_size": len(frame)}
            request = {"inputs": [{"name": x["name"], "shape": shape, "datatype": x["datatype"], "parameters": place}]}
            took = []
            for _ in range(int(rounds)):
                memory[:] = frame  # where a camera writes its next picture
                start = time.perf_counter()
                answer = ask(server, "POST", f"/v2/models/{model}/infer", request)
                took.append(1e3 * (time.perf_counter() - start))
            ask(server, "POST", f"/v2/systemsharedmemory/region/{key}/unregister", {})
        finally:
            os.unlink("/dev/shm/" + key)  # the object is ours
    for y in answer["outputs"]:
        print(y["name"], y["shape"], *y["data"][:8], *["..."] * (len(y["data"]) > 8))
    print(f"{statistics.median(took):.3f} ms")


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
