#!/usr/bin/env python3
"""What `ledge serve` costs beyond the model: overhead of requests, throughput under wrk, memory, start.

Usage: bench_serve.py LEDGE BENCH_SERVE ASSETS [SECONDS]. BENCH_SERVE: tests/bench/bench_serve of the build.
MobileNetV2 is quantized from the assets first; wrk (Debian package of that name) is used where it is
installed. The last column says what the project asks for. Needs a quiet machine."""
import array
import contextlib
import json
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

SHAPE, PICTURE = [1, 3, 224, 224], [1, 224, 224, 3]
COUNT = 3 * 224 * 224
KEY = f"ledge-bench-{os.getpid()}"
SHARED = ["--shared-memory", "ledge-bench-"]


def line(name, value, wanted="", good=True):
    print(f"  {name:<70} {value:>16}   {wanted:<24} {'' if good else 'MISSED'}", flush=True)


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


def request(server, count, body, path, *headers, poll=False):
    done = subprocess.run([client, *(["--poll"] if poll else []), str(server.port), str(count), body, path, *headers], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench_serve {path}: {done.stderr}")
    return json.loads(done.stdout)


def head_of(shape, datatype, size):
    return json.dumps({"inputs": [{"name": "input", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}],
                       "parameters": {"binary_data_output": True}}).encode()


def share(server, body, lead, shape, datatype):
    """The tensor of that file in shared memory, registered; the name of the file that points to it, as a request."""
    with open(body, "rb") as f:
        data = f.read()[lead:]
    with open("/dev/shm/" + KEY, "wb") as f:
        f.write(data)
    post = urllib.request.Request(f"http://127.0.0.1:{server.port}/v2/systemsharedmemory/region/r/register",
                                  json.dumps({"key": "/" + KEY, "offset": 0, "byte_size": len(data)}).encode(), method="POST")
    with urllib.request.urlopen(post) as r:
        assert r.status == 200
    with open("shared", "w") as f:
        json.dump({"inputs": [{"name": "input", "shape": shape, "datatype": datatype,
                               "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": len(data)}}],
                   "parameters": {"binary_data_output": True}}, f)
    return "shared"


def bodies():
    """Files of bodies; the bytes of JSON at the beginning of the binary ones."""
    random.seed(1)
    values = array.array("f", (random.uniform(-1, 1) for _ in range(COUNT)))
    pixels = bytes(random.randrange(256) for _ in range(COUNT))
    heads = {}
    for name, head, data in (("floats", head_of(SHAPE, "FP32", 4 * COUNT), values.tobytes()),
                             ("pixels", head_of(PICTURE, "UINT8", COUNT), pixels)):
        heads[name] = len(head)
        with open(name, "wb") as f:
            f.write(head + data)
    for name, digits in (("json17", 17), ("json9", 9), ("json4", 4), ("json1", 1)):
        with open(name, "w") as f:
            f.write('{"inputs":[{"name":"input","shape":[1,3,224,224],"datatype":"FP32","data":[' + ",".join(f"{v:.{digits}g}" for v in values) + "]}]}")
    with open("jsonpixels", "w") as f:
        f.write('{"inputs":[{"name":"input","shape":[1,224,224,3],"datatype":"UINT8","data":[' + ",".join(map(str, pixels)) + "]}]}")
    with open("small", "wb") as f:
        f.write(struct.pack("<784f", *[0.5] * 784))
    return heads


def overhead(what, most, server, count, body, name, head=None):
    """What a request takes beyond the model, and beyond what its bytes take between two plain sockets too. A client that
    polls need not be woken for its answer, which on a virtual machine may take longer than all that the server does; but
    it keeps a core."""
    headers = [] if head is None else [f"Inference-Header-Content-Length: {head}"]
    for poll in (False, True) if most < 100 else (False,):
        r = request(server, count, body, f"/v2/models/{name}/infer", *headers, poll=poll)
        all_of_it, bare = 1e3 * r["overhead_p50"], 1e3 * r["exchange_p50"]
        line("  asked by a client that polls" if poll else f"{what}: beyond the model, p50 in us", f"{all_of_it:.0f}", f"<= {most}",
             all_of_it <= most)
        line("  and beyond a bare exchange of the same bytes", f"{all_of_it - bare:.0f}", f"(that takes {bare:.0f})")


def overheads(heads):
    with Server("m=q.onnx", "mnist=" + assets + "/models/mnist_cnn.onnx", "--workers", "1", *SHARED) as s:
        overhead("binary, 1x1x28x28", 60, s, 2000, "small", "mnist", 0)
        overhead("binary, 1x3x224x224 of FP32", 60, s, 200, "floats", "m", heads["floats"])
        overhead("1x3x224x224 of FP32 in shared memory", 60, s, 200, share(s, "floats", heads["floats"], SHAPE, "FP32"), "m")
        for name in ("json17", "json9", "json4", "json1"):
            overhead(f"JSON 1x3x224x224, {name[4:]} digits", 400, s, 100, name, "m")
    with Server("m=q.onnx", "--pixels", "--workers", "1", *SHARED) as s:
        overhead("binary, 1x224x224x3 of UINT8", 60, s, 200, "pixels", "m", heads["pixels"])
        overhead("1x224x224x3 of UINT8 in shared memory", 60, s, 200, share(s, "pixels", heads["pixels"], PICTURE, "UINT8"), "m")
        overhead("JSON 1x224x224x3 of UINT8", 400, s, 100, "jsonpixels", "m")


def alone(*flags, sessions=1):
    """Milliseconds of one run on one thread, of so many sessions side by side: median, mean."""
    command = [program, "bench", "q.onnx", "--json", "-t", "1", "-n", "800", "--cold", "0", *flags]
    side_by_side = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(sessions)]
    got = [json.loads(p.communicate()[0])["milliseconds"] for p in side_by_side]
    return tuple(sum(g[k] for g in got) / sessions for k in ("p50", "avg"))


def load(s, body, head, time):
    with open("post.lua", "w") as f:
        f.write(f"""local f = io.open("{body}", "rb"); wrk.body = f:read("*a"); f:close()
wrk.method = "POST" """ + (f'; wrk.headers["Inference-Header-Content-Length"] = "{head}"' if head else ""))
    out = subprocess.run(["wrk", "-t", "1", "-c", "32", "-d", f"{time}s", "--latency", "-s", "post.lua",
                          f"http://127.0.0.1:{s.port}/v2/models/m/infer"], capture_output=True, text=True).stdout
    return float(out.split("Requests/sec:")[1].split()[0]), "Non-2xx" in out or "Socket errors" in out


def throughput(body, head, shared, batch, *flags):
    """Under wrk, which has the same cores; the bound is that of sessions without any server beside each other. Loads and
    runs without a server take turns: other guests of a machine make it faster and slower by the minute."""
    cores = len(os.sched_getaffinity(0))
    what = ("UINT8, 151 kB" if flags else "FP32, 602 kB") + (", shared" if shared else "") + (f", --batch {batch}" if batch > 1 else "")
    turns = max(2, min(30, seconds // 5)) // 2 * 2
    got, bounds, memory, wrong = [], [], [], False
    with Server("m=q.onnx", *flags, *SHARED, "--batch", str(batch)) as s:
        if shared:
            body, head = share(s, body, head, PICTURE if flags else SHAPE, "UINT8" if flags else "FP32"), 0
        request(s, 20, body, "/v2/models/m/infer", *([f"Inference-Header-Content-Length: {head}"] if head else []))
        before, _ = alone(*flags)
        for i in range(turns):
            rate, bad = load(s, body, head, max(1, seconds // turns))
            after, _ = alone(*flags)
            got.append((rate, rate * (before + after) / 2e3 / cores))
            before, wrong = after, wrong or bad
            if i % (turns // 2) == turns // 2 - 1: # buffers grow in the first half; then they must not
                memory.append(s.memory())
                bounds.append(alone(*flags)[0] / alone(*flags, sessions=cores)[1])
    rate, share_of_cores = (statistics.median(v) for v in zip(*got))
    line(f"wrk, 32 connections, {seconds} s, {what}: requests/s, of cores / latency", f"{rate:.0f}, {share_of_cores:.2f}", ">= 0.95",
         share_of_cores >= 0.95)
    line(f"  {cores} sessions side by side without a server: the same", f"{statistics.mean(bounds):.2f}", "(without batches)")
    line("  errors", "some" if wrong else "none", "none", not wrong)
    line("  memory after the first and the second half in MB", f"{memory[0] / 1e6:.1f}, {memory[1] / 1e6:.1f}", "flat",
         memory[1] < memory[0] + 2e6)


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
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as left:
        os.chdir(folder)
        left.callback(lambda: os.path.exists("/dev/shm/" + KEY) and os.unlink("/dev/shm/" + KEY))
        subprocess.run([program, "quantize", assets + "/models/mobilenetv2_1.0_224.onnx", "-o", "q.onnx", "--calibrate", assets + "/images/imagenet",
                        "--preprocess", "tf", "--samples", "20"], check=True, capture_output=True)
        heads = bodies()
        small()
        overheads(heads)
        if shutil.which("wrk"):
            for shared in (False, True):
                throughput("floats", heads["floats"], shared, 4)
                throughput("pixels", heads["pixels"], shared, 1, "--pixels")
                throughput("pixels", heads["pixels"], shared, 4, "--pixels")
        else:
            print("  wrk is not installed: no throughput")
