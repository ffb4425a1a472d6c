#!/usr/bin/env python3
"""What `ledge serve` costs beyond the model: overhead of requests, throughput under wrk, memory, start.

Usage: bench_serve.py LEDGE BENCH_SERVE ASSETS [SECONDS]. BENCH_SERVE: tests/bench/bench_serve of the build.
MobileNetV2 is quantized from the assets first; wrk (Debian package of that name) is used where it is
installed. The last column says what the project asks for. Needs a quiet machine."""
import array
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

SHAPE = [1, 3, 224, 224]
COUNT = 3 * 224 * 224


def line(name, value, wanted="", good=True):
    print(f"  {name:<58} {value:>16}   {wanted:<24} {'' if good else 'MISSED'}", flush=True)


class Server:
    def __init__(self, *arguments):
        start = time.monotonic()
        self.process = subprocess.Popen([program, "serve", "--json", "--port", "0", *arguments], stdout=subprocess.PIPE, text=True)
        text = ""
        while not text.strip().endswith("}"):
            text += self.process.stdout.readline()
        self.port = json.loads(text)["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v2/health/ready") as r:
            assert r.status == 200
        self.ready = time.monotonic() - start

    def memory(self, key="VmRSS"):
        """Resident bytes that are the process's own: files that are mapped, models too, are left out."""
        fields = dict(l.split(":", 1) for l in open(f"/proc/{self.process.pid}/status"))
        return int(fields[key].split()[0]) * 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def request(server, count, body, path, *headers):
    done = subprocess.run([client, str(server.port), str(count), body, path, *headers], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench_serve {path}: {done.stderr}")
    return json.loads(done.stdout)


def bodies():
    random.seed(1)
    values = array.array("f", (random.uniform(-1, 1) for _ in range(COUNT)))
    head = json.dumps({"inputs": [{"name": "input", "shape": SHAPE, "datatype": "FP32", "parameters": {"binary_data_size": 4 * COUNT}}],
                       "parameters": {"binary_data_output": True}}).encode()
    with open("binary", "wb") as f:
        f.write(head + values.tobytes())
    for name, digits in (("json17", 17), ("json9", 9), ("json4", 4), ("json1", 1)):
        with open(name, "w") as f:
            f.write('{"inputs":[{"name":"input","shape":[1,3,224,224],"datatype":"FP32","data":[' + ",".join(f"{v:.{digits}g}" for v in values) + "]}]}")
    with open("small", "wb") as f:
        f.write(struct.pack("<784f", *[0.5] * 784))
    return len(head)


def overhead(what, r, most):
    """What a request takes beyond the model, and beyond what its bytes take between two plain sockets too."""
    all_of_it, bare = 1e3 * r["overhead_p50"], 1e3 * r["exchange_p50"]
    line(f"{what}: beyond the model, p50 in us", f"{all_of_it:.0f}", f"<= {most}", all_of_it <= most)
    line("  and beyond a bare exchange of the same bytes", f"{all_of_it - bare:.0f}", f"(that takes {bare:.0f})")


def overheads(head):
    with Server("m=q.onnx", "mnist=" + assets + "/models/mnist_cnn.onnx", "--workers", "1") as s:
        for name, n in (("m", 60), ("mnist", 2000)):
            r = request(s, n, "binary" if name == "m" else "small", f"/v2/models/{name}/infer", f"Inference-Header-Content-Length: {head if name == 'm' else 0}")
            overhead(f"binary, {'1x3x224x224' if name == 'm' else '1x1x28x28'}", r, 60)
        for name in ("json17", "json9", "json4", "json1"):
            r = request(s, 40, name, "/v2/models/m/infer")
            overhead(f"JSON 1x3x224x224, {name[4:]} digits", r, 400)


def throughput(head):
    cores = len(os.sched_getaffinity(0))
    alone = json.loads(subprocess.run([program, "bench", "q.onnx", "--json", "-t", "1"], capture_output=True, text=True).stdout)
    with open("post.lua", "w") as f:
        f.write(f"""local f = io.open("binary", "rb"); wrk.body = f:read("*a"); f:close()
wrk.method = "POST"; wrk.headers["Inference-Header-Content-Length"] = "{head}" """)
    with Server("m=q.onnx") as s:
        request(s, 20, "binary", "/v2/models/m/infer", f"Inference-Header-Content-Length: {head}")
        for half in range(2):  # buffers grow at first; then they must not
            before = s.memory()
            out = subprocess.run(["wrk", "-t", "1", "-c", "32", "-d", f"{(seconds + 1) // 2}s", "--latency", "-s", "post.lua",
                                  f"http://127.0.0.1:{s.port}/v2/models/m/infer"], capture_output=True, text=True).stdout
        after = s.memory()
    rate = float(out.split("Requests/sec:")[1].split()[0])
    key = next(k for k in ("p50", "milliseconds_p50", "p50_ms") if k in flat(alone))
    latency = flat(alone)[key] / 1e3
    share = rate * latency / cores
    line(f"wrk, 32 connections, {seconds} s: requests/s, share of cores / latency", f"{rate:.0f}, {share:.2f}", ">= 0.95", share >= 0.95)
    errors = "Non-2xx" in out or "Socket errors" in out
    line("errors", "some" if errors else "none", "none", not errors)
    line("memory after the first and the second half in MB", f"{before / 1e6:.1f}, {after / 1e6:.1f}", "flat", after < before + 2e6)


def flat(o, out=None):
    out = {} if out is None else out
    for k, v in o.items() if isinstance(o, dict) else enumerate(o) if isinstance(o, list) else ():
        if isinstance(v, (dict, list)):
            flat(v, out)
        else:
            out.setdefault(k, v)
    return out


def small():
    model = assets + "/models/mnist_cnn.onnx"
    best = 1e9
    for _ in range(5):
        with Server(f"m={model}") as s:
            best = min(best, s.ready)
            memory = s.memory()
    line("idle RSS with a 26 kB model in MB", f"{memory / 1e6:.1f}", "<= 8 + model", memory <= 8e6)
    line("exec to ready in ms, best of 5", f"{1e3 * best:.1f}", "<= 30 + model", best <= 0.03)


if __name__ == "__main__":
    program, client, assets = (os.path.abspath(p) for p in sys.argv[1:4])
    seconds = int(sys.argv[4]) if len(sys.argv) > 4 else 10
    print("serving")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        subprocess.run([program, "quantize", assets + "/models/mobilenetv2_1.0_224.onnx", "-o", "q.onnx", "--calibrate", assets + "/images/imagenet",
                        "--preprocess", "tf", "--samples", "20"], check=True, capture_output=True)
        head = bodies()
        small()
        overheads(head)
        if shutil.which("wrk"):
            throughput(head)
        else:
            print("  wrk is not installed: no throughput")
