#!/usr/bin/env python3
"""Tensors in shared memory: Triton's system shared memory extension, by raw HTTP and files of /dev/shm.

Usage: test_shared.py LEDGE SOURCE_ROOT. Python's standard library alone; skipped where objects lie elsewhere."""
import concurrent.futures
import json
import mmap
import os
import socket
import struct
import subprocess
import sys
import tempfile

import serving
from serving import check, Server

LEDGE, ROOT = sys.argv[1], os.path.abspath(sys.argv[2])
DATA = os.path.join(ROOT, "tests", "data", "onnx")
CLASSIFIER, PAIR = os.path.join(DATA, "classifier.onnx"), os.path.join(DATA, "pair.onnx")
PREFIX = f"ledge-shared-{os.getpid()}-"
N = 8  # rows of pair's inputs, [N, 2]


class Memory:
    """An object of shared memory, mapped; removed with the block."""

    def __init__(self, name, size):
        self.key, self.path = PREFIX + name, "/dev/shm/" + PREFIX + name
        with open(self.path, "w+b") as f:
            f.truncate(size)
            self.map = mmap.mmap(f.fileno(), size)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.map.close()
        os.unlink(self.path)  # fails if the server has removed it

    def floats(self, at, n):
        return list(struct.unpack_from(f"<{n}f", self.map, at))


def register(s, name, key, size, offset=0, **more):
    return s.json("POST", f"/v2/systemsharedmemory/region/{name}/register", {"key": key, "offset": offset, "byte_size": size, **more})


def place(region, size, offset=0):
    return {"shared_memory_region": region, "shared_memory_byte_size": size, **({"shared_memory_offset": offset} if offset else {})}


def pair(a, b, outputs=None):
    """A request of pair, each input as its parameters or its numbers."""
    inputs = [{"name": k, "shape": [N, 2], "datatype": "FP32", **({"parameters": v} if isinstance(v, dict) else {"data": v})} for k, v in (("a", a), ("b", b))]
    return {"inputs": inputs, **({"outputs": outputs} if outputs else {})}


def infer(s, request, name="pair"):
    return s.json("POST", f"/v2/models/{name}/infer", request)


def regions(s):
    check("the extension is named", "system_shared_memory" in s.json("GET", "/v2")[1]["extensions"])
    check("none at first", s.json("GET", "/v2/systemsharedmemory/status") == (200, []))
    with Memory("r", 10000) as m:
        check("register", register(s, "first", "/" + m.key, 5000, 100) == (200, {}))
        check("a name with a space", register(s, "the%20second", m.key, 10000)[0] == 200)
        first = {"name": "first", "key": "/" + m.key, "offset": 100, "byte_size": 5000}
        second = {"name": "the second", "key": m.key, "offset": 0, "byte_size": 10000}
        status, o = s.json("GET", "/v2/systemsharedmemory/status")
        check("all", status == 200 and sorted(o, key=lambda r: r["name"]) == [first, second], o)
        check("one", s.json("GET", "/v2/systemsharedmemory/region/first/status") == (200, [first]))
        status, o = s.json("GET", "/v2/systemsharedmemory/region/none/status")
        check("none of that name", status == 404 and len(o["error"]) > 5, o)
        for what, (status, o) in {
                "the name is taken": register(s, "first", m.key, 10), "the object is smaller": register(s, "a", m.key, 10001),
                "no such object": register(s, "a", PREFIX + "none", 10), "another prefix": register(s, "a", "else", 10),
                "a path": register(s, "a", f"/{PREFIX}/../../etc/passwd", 10), "no size": register(s, "a", m.key, 0),
                "a negative size": register(s, "a", m.key, -1), "beyond all": register(s, "a", m.key, 2**63 - 1, 2**63 - 1),
                "a long name": register(s, "x" * 128, m.key, 10), "a control character": register(s, "a%0ab", m.key, 10),
                "no body": s.json("POST", "/v2/systemsharedmemory/region/a/register"),
                "no JSON": s.json("POST", "/v2/systemsharedmemory/region/a/register", "{"),
                "no key": s.json("POST", "/v2/systemsharedmemory/region/a/register", {"byte_size": 1}),
                "a long body": register(s, "a", m.key, 10, more="x" * 5000)}.items():
            check(f"refused: {what}", status == 400 and len(o["error"]) > 5, (status, o))
        for path, method in (("cudasharedmemory/status", "GET"), ("cudasharedmemory/region/a/register", "POST"), ("cudasharedmemory/unregister", "POST")):
            status, o = s.json(method, "/v2/" + path)
            check(path, status == 400 and "CUDA" in o["error"], (status, o))
        for path, method in (("systemsharedmemory", "GET"), ("systemsharedmemory/register", "POST"), ("systemsharedmemory/region/a", "GET"),
                             ("systemsharedmemory/region/a/register", "GET"), ("systemsharedmemory/region/a/b/register", "POST"),
                             ("systemsharedmemory/status", "POST")):
            check(f"no path {path}", s.ask(method, "/v2/" + path)[0] == 404)
        check("unregister", s.json("POST", "/v2/systemsharedmemory/region/first/unregister") == (200, {}))
        check("again", s.json("POST", "/v2/systemsharedmemory/region/first/unregister")[0] == 200)
        check("one is left", s.json("GET", "/v2/systemsharedmemory/status") == (200, [second]))
        check("unregister all", s.json("POST", "/v2/systemsharedmemory/unregister")[0] == 200)
        check("none are left", s.json("GET", "/v2/systemsharedmemory/status") == (200, []))


def tensors(s):
    """Inputs and outputs in shared memory, in JSON and binary, in any mixture, give the same."""
    a, b, size = [i / 8 for i in range(2 * N)], [100.5 - i for i in range(2 * N)], 8 * N
    with Memory("t", 4096) as m:
        struct.pack_into(f"<{2 * N}f", m.map, 12, *a)
        struct.pack_into(f"<{2 * N}f", m.map, 512, *b)
        register(s, "r", "/" + m.key, 4096)
        status, want = infer(s, pair(a, b))
        want = want["outputs"]
        name, count = want[0]["name"], len(want[0]["data"])
        at_a, at_b = place("r", size, 12), place("r", size, 512)
        for what, request in {"both inputs": pair(at_a, at_b), "one of them": pair(at_a, b), "the other": pair(a, at_b)}.items():
            status, o = infer(s, request)
            check(f"{what} in shared memory", status == 200 and o["outputs"] == want, o)
        for inputs in ((at_a, at_b), (a, b)):
            m.map[1024:2048] = b"\xff" * 1024
            status, o = infer(s, pair(*inputs, [{"name": name, "parameters": place("r", 1000, 1028)}]))
            shared = {k: v for k, v in want[0].items() if k != "data"} | {"parameters": place("r", 4 * count, 1028)}
            check("an output says where it is", status == 200 and o["outputs"] == [shared], o)
            check("and is there", m.floats(1028, count) == want[0]["data"])
            check("and nowhere else", m.map[1024:1028] + m.map[1028 + 4 * count:2048] == b"\xff" * (1024 - 4 * count))
        request = pair(a, at_b)
        blob, request["inputs"][0] = struct.pack(f"<{2 * N}f", *a), {"name": "a", "shape": [N, 2], "datatype": "FP32", "parameters": {"binary_data_size": size}}
        head = json.dumps({**request, "parameters": {"binary_data_output": True}}).encode()
        status, data, headers = s.ask("POST", "/v2/models/pair/infer", head + blob, {"Inference-Header-Content-Length": str(len(head))})
        values = [v for o in want for v in o["data"]]
        check("beside binary ones", data[int(headers["Inference-Header-Content-Length"]):] == struct.pack(f"<{len(values)}f", *values), data)
        for what, request in {
                "no such region": pair(place("none", size), b), "too small": pair(place("r", size - 4), b), "too large": pair(place("r", size + 4), b),
                "beyond the end": pair(place("r", size, 4096 - size + 1), b), "half a place": pair({"shared_memory_region": "r"}, b),
                "below 0": pair(place("r", size, -8), b), "far beyond": pair(place("r", size, 2**63 - 1), b), "beyond int64": pair(place("r", 2**64, 0), b),
                "data too": {"inputs": [{"name": k, "shape": [N, 2], "datatype": "FP32", "data": a, "parameters": at_a} for k in "ab"]},
                "another type": {"inputs": [{"name": k, "shape": [N], "datatype": "INT64", "parameters": at_a} for k in "ab"]},
                "an output that does not fit": pair(a, b, [{"name": name, "parameters": place("r", 4 * count - 1)}]),
                "an output beyond the end": pair(a, b, [{"name": name, "parameters": place("r", 4 * count, 4090)}]),
                "an output of no region": pair(a, b, [{"name": name, "parameters": place("none", 1000)}])}.items():
            status, o = infer(s, request)
            check(f"refused: {what}", status == 400 and len(o["error"]) > 5, (status, o))
        s.ask("POST", "/v2/systemsharedmemory/unregister")
        check("not after it was unregistered", infer(s, pair(at_a, at_b))[0] == 400)
    with Memory("ro", 4096) as m:
        struct.pack_into(f"<{2 * N}f", m.map, 0, *a)
        os.chmod(m.path, 0o444)
        register(s, "ro", m.key, 4096)
        status, o = infer(s, pair(place("ro", size), b, [{"name": name, "parameters": place("ro", 1000, 1000)}]))
        check("an object that may only be read takes no outputs", status == (200 if os.geteuid() == 0 else 400), o)
        check("but gives inputs", infer(s, pair(place("ro", size), b))[1]["outputs"] == want)
        s.ask("POST", "/v2/systemsharedmemory/unregister")


def cut_short(s):
    """A client that truncates its object gets an error; others never notice. Again, and while many ask."""
    a, size = [1.0] * 2 * N, 8 * N
    want = infer(s, pair(a, a))[1]["outputs"]
    with Memory("cut", 8192) as bad, Memory("good", 8192) as good:
        for m, name in ((bad, "bad"), (good, "good")):
            struct.pack_into(f"<{2 * N}f", m.map, 4096, *a)
            register(s, name, m.key, 8192)

        def ask(name):
            return name, *infer(s, pair(place(name, size, 4096), place(name, size, 4096), [{"name": want[0]["name"], "parameters": place(name, 64, 6000)}]))
        check("before", ask("bad")[1] == 200 and bad.floats(6000, len(want[0]["data"])) == want[0]["data"])
        for _ in range(3):
            os.truncate(bad.path, 100)
            _, status, o = ask("bad")
            check("truncated", status == 400 and "is gone" in o["error"], (status, o))
            status, o = infer(s, pair(a, a, [{"name": want[0]["name"], "parameters": place("bad", 64, 6000)}]))
            check("truncated before an output", status == 400 and "is gone" in o["error"], (status, o))
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                answers = [j.result() for j in [pool.submit(ask, ("good", "bad")[i % 2]) for i in range(60)]]
            check("others unharmed", all(status == (200 if name == "good" else 400) for name, status, _ in answers))
            os.truncate(bad.path, 8192)
            check("grown again", ask("bad")[1] == 200)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:  # both at any moment
            jobs = [pool.submit(ask, ("good", "bad")[i % 2]) for i in range(200)]
            while not all(j.done() for j in jobs):
                os.truncate(bad.path, 0)
                os.truncate(bad.path, 8192)
            answers = [j.result() for j in jobs]
        check("while it changes", all(status == 200 or name == "bad" and status == 400 for name, status, _ in answers))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(ask, "good") for i in range(200)]
            while not all(j.done() for j in jobs):
                s.ask("POST", "/v2/systemsharedmemory/region/good/unregister")
                register(s, "good", good.key, 8192)
            answers = [j.result() for j in jobs]
        check("while it comes and goes", {status for _, status, _ in answers} <= {200, 400} and ask("good")[1] == 200)
    check("the server holds what is removed, and lets go of it", s.ask("POST", "/v2/systemsharedmemory/unregister")[0] == 200)
    maps = open(f"/proc/{s.process.pid}/maps").read()
    check("nothing stays mapped", PREFIX not in maps)


def pixels(folder):
    """Bytes of pictures, a ladder, the cache and batches take tensors from shared memory like any others."""
    raw = [bytes((37 * i * i + 11 * i + k) % 256 for i in range(8 * 8 * 3)) for k in range(4)]
    path = os.path.join(folder, "serve.json")
    with open(path, "w") as f:
        json.dump({"models": [{"name": "cls", "path": CLASSIFIER, "cache": {"mb": 1}}, {"name": "big", "path": CLASSIFIER}],
                   "defaults": {"pixels": True, "batch": 8, "delay_ms": 5}, "shared_memory": PREFIX,
                   "ladders": [{"name": "both", "models": ["cls", "big"], "threshold": 1}]}, f)
    with Server("--config", path) as s, Memory("p", 4 * 4096) as m:
        register(s, "p", m.key, 4 * 4096)

        def request(k, shared):
            how = {"parameters": place("p", len(raw[k]), 4096 * k + 3)} if shared else {"data": list(raw[k])}
            return {"inputs": [{"name": "picture", "shape": [1, 8, 8, 3], "datatype": "UINT8", **how}]}
        for k in range(4):
            m.map[4096 * k + 3:4096 * k + 3 + len(raw[k])] = raw[k]
        for model in ("big", "cls", "both"):
            want = [infer(s, request(k, False), model)[1]["outputs"] for k in range(4)]
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                answers = [j.result() for j in [pool.submit(infer, s, request(i % 4, True), model) for i in range(32)]]
            check(f"bytes for {model}", all(status == 200 and o["outputs"] == want[i % 4] for i, (status, o) in enumerate(answers)))
            used = {o["parameters"]["ledge_batch"] for _, o in answers}
            if model == "big":
                check("in batches", max(used) > 1, used)
            if model == "cls":
                check("from the cache", all(o["parameters"]["ledge_cache"] == "hit" for _, o in answers))
        m.map[3] ^= 1
        status, o = infer(s, request(0, True), "cls")
        check("the cache knows what lies there now", status == 200 and o["parameters"]["ledge_cache"] == "miss", o)


def example(folder):
    """examples/shared_memory.py does what its first lines say."""
    frame = os.path.join(folder, "frame.raw")
    with Server(f"m={CLASSIFIER}", "--pixels", "--shared-memory", "camera-") as s:
        for size, code in ((8 * 8 * 3, 0), (10, 1)):
            with open(frame, "wb") as f:
                f.write(bytes(range(size)))
            done = subprocess.run([sys.executable, os.path.join(ROOT, "examples", "shared_memory.py"), "m", frame, "3", str(s.port)],
                                  capture_output=True, text=True, timeout=20)
            check(f"the example, {size} bytes", done.returncode == code and ("ms\n" in done.stdout) == (code == 0), (done.stdout, done.stderr))
        check("it leaves no region", s.json("GET", "/v2/systemsharedmemory/status") == (200, []))


def not_for_everyone(folder):
    body = {"key": PREFIX + "x", "byte_size": 64}
    with Memory("x", 4096) as m:
        with Server(f"pair={PAIR}") as s:
            check("off by default", "system_shared_memory" not in s.json("GET", "/v2")[1]["extensions"])
            for method, path in (("GET", "status"), ("POST", "region/r/register"), ("POST", "unregister")):
                status, o = s.json(method, "/v2/systemsharedmemory/" + path, body)
                check(f"off: {path}", status == 400 and "--shared-memory" in o["error"], (status, o))
            status, o = infer(s, pair(place("r", 64), place("r", 64)))
            check("off: a request", status == 400 and "--shared-memory" in o["error"], (status, o))
        token = os.path.join(folder, "token")
        with open(token, "w") as f:
            f.write("s3cret\n")
        with Server(f"pair={PAIR}", "--shared-memory", "/", "--token-file", token) as s:
            check("without the token", s.json("POST", "/v2/systemsharedmemory/region/r/register", body)[0] == 401)
            check("with it", s.json("POST", "/v2/systemsharedmemory/region/r/register", body, {"Authorization": "Bearer s3cret"})[0] == 200)
            check("unregister without the token", s.json("POST", "/v2/systemsharedmemory/unregister")[0] == 401)
            check("it stays", len(s.json("GET", "/v2/systemsharedmemory/status")[1]) == 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # the machine's own address, if it has one
            try:
                probe.connect(("192.0.2.1", 9))
                address = probe.getsockname()[0]
            except OSError:
                address = "127.0.0.1"
        if address.startswith("127."):
            print("left out: this machine has no address but the loopback's")
        else:
            with Server(f"pair={PAIR}", "--shared-memory", PREFIX, "--host", "0.0.0.0") as s:
                check("from the loopback", register(s, "r", m.key, 64)[0] == 200)
                with socket.create_connection((address, s.port), timeout=20) as c:
                    for method, path, what in (("POST", "/v2/systemsharedmemory/unregister", b""), ("GET", "/v2/systemsharedmemory/status", b""),
                                               ("POST", "/v2/systemsharedmemory/region/q/register", json.dumps(body).encode()),
                                               ("POST", "/v2/models/pair/infer", json.dumps(pair(place("r", 64), place("r", 64))).encode())):
                        c.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(what)}\r\n\r\n".encode() + what)
                        answer = c.recv(65536)
                        check(f"from elsewhere: {path}", answer.split()[1] in (b"403", b"400") and b"own machine" in answer, answer)
                check("and nothing came of it", len(s.json("GET", "/v2/systemsharedmemory/status")[1]) == 1)
    for wrong in ("", "a/b", "..", "x" * 300):
        done = subprocess.run([LEDGE, "serve", f"pair={PAIR}", "--port", "0", "--shared-memory", wrong], capture_output=True, text=True, timeout=20)
        check(f"refused: {wrong[:9]!r}", done.returncode in (1, 2) and done.stderr.startswith("ledge: "), (done.returncode, done.stderr))


if not os.path.isdir("/dev/shm"):
    sys.exit(77)
with tempfile.TemporaryDirectory() as work:
    with Server(f"pair={PAIR}", "--shared-memory", "/" + PREFIX, "--workers", "2") as server:
        regions(server)
        tensors(server)
        cut_short(server)
        check("still alive", server.ask("GET", "/v2/health/ready")[0] == 200)
    pixels(work)
    example(work)
    not_for_everyone(work)
check("no object stays behind", not [f for f in os.listdir("/dev/shm") if f.startswith(PREFIX)])
serving.finish()
