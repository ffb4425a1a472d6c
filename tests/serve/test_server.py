#!/usr/bin/env python3
"""ledge serve as its clients see it: the protocol, its errors, hostile bytes, reloading, draining.

Usage: test_server.py LEDGE SOURCE_ROOT. Python's standard library alone; everything on the loopback."""
import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

LEDGE, ROOT = sys.argv[1:3]
DATA = os.path.join(ROOT, "tests", "data", "onnx")
CLASSIFIER, PAIR = os.path.join(DATA, "classifier.onnx"), os.path.join(DATA, "pair.onnx")
checks = failures = 0


def check(what, good, seen=""):
    global checks, failures
    checks += 1
    if not good:
        failures += 1
        print(f"FAILED: {what} {seen!r}"[:600])


class Server:
    """One running server; ends with the block."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([LEDGE, "serve", "--json", "--port", "0", *arguments],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.process.stderr.read())
        self.port = json.loads(line + ("" if line.strip().endswith("}") else self.rest()))["port"]

    def rest(self):
        text = ""
        while not text.strip().endswith("}"):
            text += self.process.stdout.readline()
        return text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                check("the server ends by itself", False)
        check("the server ends with 0", self.process.wait() == 0, self.process.stderr.read())

    def ask(self, method, path, body=None, headers=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        c.request(method, path, body, headers or {})
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, data, r.headers

    def json(self, method, path, body=None, headers=None):
        status, data, _ = self.ask(method, path, json.dumps(body) if isinstance(body, dict) else body, headers)
        return status, json.loads(data) if data else None

    def raw(self, data, wait=5):
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as s:
            out = b""
            try:  # the server may close as soon as it has seen enough
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                while piece := s.recv(65536):
                    out += piece
            except OSError:
                pass
            return out


def tensor(name, shape, data, datatype="FP32"):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def protocol(s):
    check("live", s.ask("GET", "/v2/health/live")[0] == 200)
    check("ready", s.ask("GET", "/v2/health/ready")[0] == 200)
    status, o = s.json("GET", "/v2")
    check("server metadata", o["name"] == "ledge" and "binary_tensor_data" in o["extensions"], o)
    status, o = s.json("GET", "/v2/models/pair")
    check("model metadata", o["platform"] == "onnx_onnxv1" and o["versions"] == ["1"], o)
    inputs = o["inputs"]
    check("inputs", len(inputs) == 2 and inputs[0]["datatype"] == "FP32", inputs)
    check("by version", s.json("GET", "/v2/models/pair/versions/1")[1] == o)
    check("model ready", s.ask("GET", "/v2/models/pair/versions/1/ready")[0] == 200)
    names = [i["name"] for i in inputs]
    shape = [1 if d < 0 else d for d in inputs[0]["shape"]]
    n = 1
    for d in shape:
        n *= d
    request = {"id": "abc", "inputs": [tensor(names[1], shape, [2.0] * n), tensor(names[0], shape, [1] * n)]}
    status, first = s.json("POST", "/v2/models/pair/infer", request)
    check("infer", status == 200 and first["id"] == "abc" and first["model_version"] == "1", first)
    check("says what ran", first["parameters"]["ledge_provider"] == "cpu" and len(first["parameters"]["ledge_model_sha256"]) == 64, first)
    # The same by binary tensors, both ways.
    blobs = struct.pack(f"<{n}f", *[1] * n), struct.pack(f"<{n}f", *[2] * n)
    head = json.dumps({"inputs": [{"name": k, "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": 4 * n}} for k in names],
                       "parameters": {"binary_data_output": True}}).encode()
    status, data, headers = s.ask("POST", "/v2/models/pair/infer", head + b"".join(blobs), {"Inference-Header-Content-Length": str(len(head))})
    size = int(headers["Inference-Header-Content-Length"])
    out = json.loads(data[:size])["outputs"][0]
    values = struct.unpack(f"<{out['parameters']['binary_data_size'] // 4}f", data[size:size + out["parameters"]["binary_data_size"]])
    check("binary equals JSON", list(values) == [struct.unpack("f", struct.pack("f", v))[0] for v in first["outputs"][0]["data"]], values)
    for path, request, want in [
            ("/v2/models/none/infer", request, 404), ("/v2/models/pair/versions/9/infer", request, 404),
            ("/v2/models/pair/infer", {}, 400), ("/v2/models/pair/infer", "", 400), ("/v2/models/pair/infer", "{", 400),
            ("/v2/models/pair/infer", {"inputs": [tensor(names[0], shape, [1] * n)]}, 400),
            ("/v2/models/pair/infer", {"inputs": [tensor("zz", shape, [1] * n)] * 2}, 400),
            ("/v2/models/pair/infer", {"inputs": [tensor(names[0], shape, [1] * n)] * 2}, 400),
            ("/v2/models/pair/infer", {"inputs": [tensor(k, shape, [1] * n, "INT64") for k in names]}, 400),
            ("/v2/models/pair/infer", {"inputs": [tensor(k, shape + [1], [1] * n) for k in names]}, 400),
            ("/v2/models/pair/infer", {"inputs": [tensor(k, shape, [1] * n) for k in names], "outputs": [{"name": "zz"}]}, 400),
            ("/v2/models/%2e%2e%2fpair/infer", request, 404), ("/v2/models/../../etc/passwd", request, 404), ("/nowhere", request, 404)]:
        status, o = s.json("POST", path, request)
        check(f"{path} {str(request)[:60]}", status == want and len(o["error"]) > 5, (status, o))
    check("another method", s.ask("PUT", "/v2")[0] == 405)
    status, _, headers = s.ask("POST", "/v2/models/pair/infer", head, {"Inference-Header-Content-Length": str(len(head) + 1)})
    check("a header that lies", status == 400)
    status, _, headers = s.ask("POST", "/v2/models/pair/infer", head, {"Inference-Header-Content-Length": "-1"})
    check("a header that is no number", status == 400)


def pictures(s, picture):
    status, o = s.json("POST", "/v1/classify/cls?top=2", picture)
    check("classify", status == 200 and len(o["predictions"]) == 2 and 0 < o["predictions"][0]["confidence"] <= 1, o)
    check("no picture", s.json("POST", "/v1/classify/cls", b"text")[0] == 400)
    check("a cut picture", s.json("POST", "/v1/classify/cls", picture[:40])[0] == 400)
    check("no body", s.json("POST", "/v1/classify/cls", b"")[0] == 400)
    check("top out of range", s.json("POST", "/v1/classify/cls?top=1000", picture)[0] == 400)
    check("a model of two inputs", s.json("POST", "/v1/classify/pair", picture)[0] == 400)


def watched(s):
    status, data, headers = s.ask("GET", "/metrics")
    text = data.decode()
    check("metrics type", headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8")
    seen = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            seen[line.split()[2]] = line.split()[3]
        elif not line.startswith("#"):
            name = line.split("{")[0].split()[0]
            base = next((name[:-len(e)] for e in ("_bucket", "_sum", "_count") if name.endswith(e) and name[:-len(e)] in seen), name)
            check(f"{name} has a family", base in seen and name.startswith("ledge_"))
            float(line.rsplit(" ", 1)[1])
    check("counts", 'ledge_inferences_total{model="pair",version="1"} 2\n' in text, text[:300])
    check("histogram", seen.get("ledge_inference_latency_seconds") == "histogram")
    status, o = s.json("GET", "/v1/status")
    check("status", {m["name"] for m in o["models"]} == {"pair", "cls"} and o["machine"]["memory"] > 0, o)
    status, data, headers = s.ask("GET", "/")
    check("page", status == 200 and b"<title>ledge</title>" in data and b"http" not in data.replace(b"http://www.w3.org/2000/svg", b""))


def hostile(s):
    for junk in [b"\0" * 100, b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n", b"POST /v2/models/pair/infer HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 200000 + b"\r\n\r\n", b"POST /v2/models/pair/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                 b"POST /v2/models/pair/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{}"]:
        answer = s.raw(junk)
        check("junk gets an error or nothing", b" 200 " not in answer[:20], answer[:80])
    check("a body that is too large", b" 413 " in s.raw(b"POST /v1/classify/cls HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")[:20])
    idle = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(60)]  # a slow crowd
    for c in idle:
        c.sendall(b"GET /v2 HTTP/1.1\r\nHo")
    check("others are served meanwhile", s.ask("GET", "/v2")[0] == 200)
    for c in idle:
        c.close()


def repository(folder):
    os.makedirs(os.path.join(folder, "two", "1"))
    os.makedirs(os.path.join(folder, "two", "3"))
    shutil.copy(PAIR, os.path.join(folder, "two", "1", "model.onnx"))
    shutil.copy(CLASSIFIER, os.path.join(folder, "two", "3", "model.onnx"))
    shutil.copy(PAIR, os.path.join(folder, "one.onnx"))
    with open(os.path.join(folder, "bad.onnx"), "wb") as f:
        f.write(b"no model")
    with Server("--repository", folder) as s:
        status, index = s.json("POST", "/v2/repository/index", b"")
        state = {(m["name"], m["version"]): m for m in index}
        check("index", set(state) == {("bad", "1"), ("one", "1"), ("two", "1"), ("two", "3")}, index)
        check("what cannot be loaded says why", state["bad", "1"]["state"] == "UNAVAILABLE" and len(state["bad", "1"]["reason"]) > 10)
        check("others are not harmed", state["two", "3"]["state"] == "READY")
        check("not ready", s.ask("GET", "/v2/health/ready")[0] == 503)
        check("bad is 503", s.ask("GET", "/v2/models/bad")[0] == 503)
        check("the highest version answers", len(s.json("GET", "/v2/models/two")[1]["inputs"]) == 1)
        os.replace(os.path.join(folder, "one.onnx"), os.path.join(folder, "bad.onnx"))
        check("load", s.ask("POST", "/v2/repository/models/bad/load", b"")[0] == 200)
        check("loaded", s.ask("GET", "/v2/models/bad/ready")[0] == 200)
        check("unload", s.ask("POST", "/v2/repository/models/bad/unload", b"")[0] == 200)
        check("unloaded", s.ask("GET", "/v2/models/bad/ready")[0] == 503)
        check("load of nothing", s.ask("POST", "/v2/repository/models/nothing/load", b"")[0] == 404)
        check("paths in names", s.ask("POST", "/v2/repository/models/..%2ftwo/load", b"")[0] in (400, 404))


def crowd():
    """Many at once, while models are loaded anew: every request is answered."""
    with Server(f"pair={PAIR}", "--workers", "2", "--batch", "8", "--delay", "2", "--no-drift") as s:
        info = s.json("GET", "/v2/models/pair")[1]["inputs"]
        shape = [1 if d < 0 else d for d in info[0]["shape"]]
        n = 1
        for d in shape:
            n *= d

        def one(i):
            status, o = s.json("POST", "/v2/models/pair/infer", {"id": str(i), "inputs": [tensor(k["name"], shape, [i] * n) for k in info]})
            return status, i, o
        single = one(3)[2]["outputs"]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            jobs = [pool.submit(one, i % 7) for i in range(300)]
            for _ in range(5):
                time.sleep(0.02)
                s.process.send_signal(signal.SIGHUP)
            answers = [j.result() for j in jobs]
        check("all are answered", all(a[0] == 200 and a[2]["id"] == str(a[1]) for a in answers))
        check("each gets its own", all(a[2]["outputs"] == single for a in answers if a[1] == 3))


def guarded(folder):
    token = os.path.join(folder, "token")
    with open(token, "w") as f:
        f.write("s3cret\n")
    with Server(f"pair={PAIR}", "--token-file", token, "--body", "0.001") as s:
        check("without the token", s.ask("POST", "/v2/models/pair/infer", b"{}")[0] == 401)
        check("with a wrong one", s.ask("POST", "/v2/models/pair/infer", b"{}", {"Authorization": "Bearer s3cre"})[0] == 401)
        check("with the right one", s.ask("POST", "/v2/models/pair/infer", b"{}", {"Authorization": "Bearer s3cret"})[0] == 400)
        check("health is free", s.ask("GET", "/v2/health/live")[0] == 200)
        big = s.ask("POST", "/v2/models/pair/infer", b"x" * 1001, {"Authorization": "Bearer s3cret"})[0]
        check("the bound on bodies", big == 413, big)
        second = subprocess.run([LEDGE, "serve", f"pair={PAIR}", "--port", str(s.port)], capture_output=True, text=True)
        check("a port that is taken", second.returncode == 1 and "cannot listen" in second.stderr, second.stderr)
    for arguments in ([], ["a=/nonexistent"], ["..=" + PAIR], [PAIR, "--tls-cert", token], [PAIR, "--host", "no.address"]):
        done = subprocess.run([LEDGE, "serve", "--port", "0", *arguments], capture_output=True, text=True, timeout=20)
        check(f"refused: {arguments}", done.returncode in (1, 2, 3) and done.stderr.startswith("ledge: "), done.stderr)


with tempfile.TemporaryDirectory() as work:
    subprocess.run([sys.executable, os.path.join(ROOT, "tests", "cli", "make_inputs.py"), work], check=True)
    with open(os.path.join(work, "pictures", "red.png"), "rb") as f:
        red = f.read()
    with Server(f"pair={PAIR}", f"cls={CLASSIFIER}", "--deadline", "20", "--body", "10") as server:
        protocol(server)
        watched(server)
        pictures(server, red)
        hostile(server)
        check("still alive", server.ask("GET", "/v2/health/ready")[0] == 200)
    repository(os.path.join(work, "repository"))
    crowd()
    guarded(work)
print(f"{checks} checks, {failures} failed")
sys.exit(failures > 0)
