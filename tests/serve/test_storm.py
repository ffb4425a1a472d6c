#!/usr/bin/env python3
"""ledge serve with everything on, asked for everything at once by clients of all kinds, with models that come and go, until it is
ended in the midst: every answer that says 200 is right, and the server ends with 0.

Usage: test_storm.py LEDGE SOURCE_ROOT [ROUNDS]. LEDGE_SEED repeats a run's choices, as far as threads let it."""
import collections
import http.client
import json
import os
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

import serving
from serving import check, Server
from certificates import for_server

LEDGE, ROOT = sys.argv[1], os.path.abspath(sys.argv[2])
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 5
CLIENTS = 8
DATA = os.path.join(ROOT, "tests", "data", "onnx")
MODELS = {"pair": os.path.join(DATA, "pair.onnx"), "cls": os.path.join(DATA, "classifier.onnx"), "signs": os.path.join(ROOT, "models", "signs.onnx")}
MEMORY = f"ledge-storm-{os.getpid()}"
SHARED = struct.pack("<16f", *range(16))
codes, wrong, lock = collections.Counter(), [], threading.Lock()


def pair_request(rows, value, binary=False, region=False):
    """Body and headers; the same numbers for both inputs, or SHARED's."""
    inputs, tail = [], b""
    for name in "ab":
        i = {"name": name, "shape": [rows, 2], "datatype": "FP32"}
        if region:
            i["parameters"] = {"shared_memory_region": "storm", "shared_memory_byte_size": 8 * rows}
        elif binary:
            i["parameters"] = {"binary_data_size": 8 * rows}
            tail += struct.pack(f"<{2 * rows}f", *[value] * 2 * rows)
        else:
            i["data"] = [value] * 2 * rows
        inputs.append(i)
    head = json.dumps({"inputs": inputs}).encode()
    return head + tail, {"Inference-Header-Content-Length": str(len(head))} if binary else {}


def cases(pictures):
    """(path, body, headers) of requests whose answers do not change. What is right is asked of a server that nobody
    disturbs, so that this test knows nothing of models."""
    out = []
    for rows in (1, 2, 5, 64):
        for value in (0.25, -3.5):
            for binary in (False, True):
                out.append(("/v2/models/pair/infer", *pair_request(rows, value, binary)))
    out.append(("/v2/models/pair/infer", *pair_request(2, 0, region=True)))
    for fill in (0.1, 0.9):
        numbers = [fill + i / 1000 for i in range(192)]
        for model in ("cls", "rungs"):
            out.append((f"/v2/models/{model}/infer", json.dumps({"inputs": [
                {"name": "picture", "shape": [1, 3, 8, 8], "datatype": "FP32", "data": numbers}]}).encode(), {}))
    large = [[[[((x * 7 + y * 3 + c) % 256) / 127.5 - 1 for x in range(48)] for y in range(48)] for c in range(3)]]
    out.append(("/v2/models/signs/infer", json.dumps({"inputs": [
        {"name": "image", "shape": [1, 3, 48, 48], "datatype": "FP32", "data": large}]}).encode(), {}))
    for picture in pictures:
        for model in ("cls", "signs", "rungs"):
            out.append((f"/v1/classify/{model}?top=2", picture, {}))
    return out


def essence(body):
    """What of an answer does not depend on when it was given."""
    o = json.loads(body)
    return json.dumps(o.get("outputs", o.get("predictions")))


class Client:
    def __init__(self, port, trusts, seed, known):
        """trusts: over TLS; None: without."""
        self.port, self.trusts, self.random, self.known, self.c = port, trusts, random.Random(seed), known, None

    def connection(self, tls=True):
        if self.trusts and tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.trusts)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method, path, body=None, headers=None):
        """None: the connection broke."""
        try:
            if not self.c:
                self.c = self.connection()
            self.c.request(method, path, body, headers or {})
            r = self.c.getresponse()
            data = r.read()
            if r.getheader("Connection", "").lower() == "close" or self.random.random() < 0.05:
                self.c.close()
                self.c = None
            with lock:
                codes[r.status] += 1
            return r.status, data
        except (OSError, http.client.HTTPException):
            self.c = None
            return None

    def right(self):
        path, body, headers, want = self.random.choice(self.known)
        got = self.ask("POST", path, body, headers)
        if got and got[0] == 200 and essence(got[1]) != want:
            with lock:
                wrong.append((path, got[1][:300], want[:300]))

    def look(self):
        path = self.random.choice(("/metrics", "/v1/status", "/", "/v2", "/v2/models/pair", "/v2/health/ready", "/v1/resources",
                                   "/v2/systemsharedmemory/status", "/nothing"))
        self.ask("GET", path)

    def change(self):
        name, what = self.random.choice((("cls", "unload"), ("cls", "load"), ("pair", "load"), ("signs", "load"), ("signs", "unload"), ("none", "load")))
        self.ask("POST", f"/v2/repository/models/{name}/{what}", b"")
        if what == "unload":
            self.ask("POST", f"/v2/repository/models/{name}/load", b"")

    def share(self):
        if self.random.random() < 0.3:
            self.ask("POST", "/v2/systemsharedmemory/region/storm/unregister", b"")
        self.ask("POST", "/v2/systemsharedmemory/region/storm/register", json.dumps({"key": "/" + MEMORY, "byte_size": len(SHARED)}))

    def rude(self):
        """Half a request, a whole one whose answer is not waited for, two in one, or no request at all."""
        path, body, headers, _ = self.random.choice(self.known)
        lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        whole = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body
        what = self.random.choice((whole[:self.random.randrange(len(whole))], whole, whole + whole, self.random.randbytes(300)))
        try:
            c = self.connection(tls=self.random.random() < 0.8)
            c.connect()
            with c.sock as s:
                s.sendall(what)
                if self.random.random() < 0.5:
                    s.settimeout(0.1)  # half a request has no answer
                    s.recv(100)
                if self.random.random() < 0.5:  # a reset instead of an end
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:  # TLS's errors are such, too
            pass

    def run(self, stop):
        while not stop.is_set():
            self.random.choices((self.right, self.look, self.change, self.share, self.rude), (70, 10, 4, 4, 12))[0]()


def storm(work, seed, known):
    picked = random.Random(seed)
    stop = threading.Event()
    trusts = ssl.create_default_context(cafile=os.path.join(work, "ca.pem")) if picked.random() < 0.4 else None
    tls = ["--tls-cert", os.path.join(work, "server.pem"), "--tls-key", os.path.join(work, "server.key")] if trusts else []
    with Server("--config", os.path.join(work, "serve.json"), "--workers", str(picked.choice((1, 2, 4))), "--queue", str(picked.choice((4, 256))),
                "--connections", str(picked.choice((5, 1000))), "--drain", "20", *tls) as s:
        clients = [threading.Thread(target=Client(s.port, trusts, seed + k, known).run, args=(stop,)) for k in range(CLIENTS)]
        for t in clients:
            t.start()
        until = time.monotonic() + picked.uniform(0.3, 1.5)
        while time.monotonic() < until and s.process.poll() is None:
            time.sleep(picked.uniform(0.01, 0.2))
            s.process.send_signal(signal.SIGHUP)
        s.end(60)
        stop.set()
        for t in clients:
            t.join()


def main(work):
    subprocess.run([sys.executable, os.path.join(ROOT, "tests", "cli", "make_inputs.py"), work], check=True)
    pictures = []
    for name in ("red.png", "blue.png"):
        with open(os.path.join(work, "pictures", name), "rb") as f:
            pictures.append(f.read())
    with open(os.path.join(work, "serve.json"), "w") as f:
        json.dump({"models": [{"name": n, "path": p, **({"cache": {"mb": 1, "ttl_s": 1}} if n != "signs" else {}), **({"batch": 4, "delay_ms": 1} if n == "pair" else {}),
                               "drift": {"window": 200, "minimum": 50, "learn": 100}} for n, p in MODELS.items()] + [{"name": "again", "path": MODELS["cls"]}],
                   "ladders": [{"name": "rungs", "models": ["cls", "again"], "threshold": 0.99, "budget_ms": 1000}],
                   "shared_memory": "ledge-storm", "watch_s": 0.05, "state": os.path.join(work, "state"), "alerts": {"log": True}}, f)
    os.makedirs(os.path.join(work, "state"))
    for_server(work)
    with open("/dev/shm/" + MEMORY, "wb") as f:
        f.write(SHARED)
    known = []
    with Server("--config", os.path.join(work, "serve.json")) as s:
        s.ask("POST", "/v2/systemsharedmemory/region/storm/register", json.dumps({"key": "/" + MEMORY, "byte_size": len(SHARED)}))
        for path, body, headers in cases(pictures):
            status, data, _ = s.ask("POST", path, body, headers)
            check(f"{path} by itself", status == 200, data)
            known.append((path, body, headers, essence(data)))
    seed = int(os.environ.get("LEDGE_SEED", time.time()))
    print("seed", seed)
    for i in range(ROUNDS):
        storm(work, seed + 1000 * i, known)
    check("every answer is right", wrong == [], wrong[:3])
    check("many were", codes[200] > 100 * ROUNDS, codes)
    check("no answer but these", set(codes) <= {200, 400, 404, 409, 413, 503}, codes)
    print(dict(codes))


if not os.path.isdir("/dev/shm"):
    sys.exit(77)
scratch = tempfile.mkdtemp(prefix="ledge-storm-")
try:
    main(scratch)
finally:
    shutil.rmtree(scratch, ignore_errors=True)
    if os.path.exists("/dev/shm/" + MEMORY):
        os.unlink("/dev/shm/" + MEMORY)
serving.finish()
