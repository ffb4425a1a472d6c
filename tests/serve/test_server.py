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
import ssl
import struct
import subprocess
import sys
import tempfile
import time

import serving
from serving import check, Server
from certificates import for_server
from keep_asking import Crowd

LEDGE, ROOT = sys.argv[1], os.path.abspath(sys.argv[2])
DATA = os.path.join(ROOT, "tests", "data", "onnx")
CLASSIFIER, PAIR = os.path.join(DATA, "classifier.onnx"), os.path.join(DATA, "pair.onnx")
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


def answers_of(connection, count):
    """Outputs of so many answers on one connection, as the server wrote them."""
    data, found = b"", []
    while len(found) < count:
        end = data.find(b"\r\n\r\n")
        length = int(data[:end].lower().split(b"\r\ncontent-length:")[1].split(b"\r\n")[0]) if end >= 0 else 0
        if end >= 0 and len(data) >= end + 4 + length:
            body = data[end + 4:end + 4 + length]
            found.append((int(data.split()[1]), body[body.find(b'"outputs"'):] if b'"outputs"' in body else body))
            data = data[end + 4 + length:]
            continue
        more = connection.recv(65536)
        if not more:
            break
        data += more
    return found


def pieces(s):
    """The same requests whole, one behind the other, and torn at odd places, give the same answers."""
    n = 3000
    a, b = [i / 7 - 200 for i in range(2 * n)], [1e-3 * i for i in range(2 * n)]
    plain = json.dumps({"inputs": [tensor("a", [n, 2], a), tensor("b", [n, 2], b)]}).encode()
    close = json.dumps({"inputs": [tensor("a", [n, 2], a), tensor("b", [n, 2], b)]}, separators=(",", ":")).encode()
    few = json.dumps({"inputs": [tensor("a", [n + 1, 2], a), tensor("b", [n, 2], b)]}).encode()
    many = json.dumps({"inputs": [tensor("a", [n - 1, 2], a), tensor("b", [n, 2], b)]}).encode()
    broken = plain.replace(b"100.0,", b"100.0.0,")
    late = json.dumps({"inputs": [{"data": a, "name": "a", "shape": [n, 2], "datatype": "FP32"}, tensor("b", [n, 2], b)]}).encode()
    head = json.dumps({"inputs": [{"name": k, "shape": [n, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8 * n}} for k in "ab"],
                       "parameters": {"binary_data_output": True}}).encode()
    binary = head + struct.pack(f"<{2 * n}f", *a) + struct.pack(f"<{2 * n}f", *b)

    def request(body, extra=b""):
        return (b"POST /v2/models/pair/infer HTTP/1.1\r\nHost: x\r\n" + extra + b"Content-Length: %d\r\n\r\n" % len(body)) + body

    split = b"Inference-Header-Content-Length: %d\r\n"
    requests = [request(plain), request(binary, split % len(head)), request(close), request(few), request(many), request(broken), request(late),
                request(binary, split % (len(head) + 1)), request(binary[:-4], split % len(head)), request(binary + b"xy", split % len(head)), request(plain)]
    want = []
    for r in requests:
        with socket.create_connection(("127.0.0.1", s.port), timeout=20) as c:
            c.sendall(r)
            want += answers_of(c, 1)
    check("what is whole is answered, what lies refused", [w[0] for w in want] == [200, 200, 200, 400, 400, 400, 200, 400, 400, 400, 200], [w[0] for w in want])
    check("spaces and order change nothing", want[0] == want[2] == want[6] == want[10])
    values = struct.unpack(f"<{4 * n}f", want[1][1][-16 * n:])
    got = [struct.unpack("f", struct.pack("f", v))[0] for o in json.loads(b"{" + want[0][1])["outputs"] for v in o["data"]]
    check("JSON equals binary", list(values) == got)
    with socket.create_connection(("127.0.0.1", s.port), timeout=20) as c:
        sender = concurrent.futures.ThreadPoolExecutor(1).submit(c.sendall, b"".join(requests))
        check("one behind the other", answers_of(c, len(requests)) == want)
        sender.result()
    for size, first in ((1, 700), (7, 3000), (1021, 0), (8193, 0), (40000, 0)):
        for r, w in zip(requests, want):
            with socket.create_connection(("127.0.0.1", s.port), timeout=20) as c:
                c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                at = 0
                while at < len(r):
                    step = size if at < first or not first else 50000
                    c.sendall(r[at:at + step])
                    at += step
                check(f"in pieces of {size}", answers_of(c, 1) == [w])
    # A header, then nothing of the body for a while, then tensors that begin in the midst of a packet.
    with socket.create_connection(("127.0.0.1", s.port), timeout=20) as c:
        at = requests[1].find(b"\r\n\r\n") + 4
        for part in (requests[1][:at], requests[1][at:at + len(head)], requests[1][at + len(head):]):
            c.sendall(part)
            time.sleep(0.05)
        check("JSON apart from tensors", answers_of(c, 1) == [want[1]])
    # JSON that ends in the midst: nobody waits for the rest, and the next is read as ever.
    for cut in (100, 40000, 90000, len(plain) - 1):
        with socket.create_connection(("127.0.0.1", s.port), timeout=20) as c:
            c.sendall(requests[0][:cut])
            time.sleep(0.02)
        with socket.create_connection(("127.0.0.1", s.port), timeout=20) as c:
            c.sendall(requests[0])
            check(f"after one that was cut at {cut}", answers_of(c, 1) == [want[0]])
    # Content-Length that is short: what is left over is no request.
    with socket.create_connection(("127.0.0.1", s.port), timeout=20) as c:
        c.sendall(requests[0].replace(b"Content-Length: %d" % len(plain), b"Content-Length: %d" % (len(plain) - 10)))
        c.shutdown(socket.SHUT_WR)
        seen = answers_of(c, 2)
        check("a length that lies", [x[0] for x in seen][:1] == [400] and all(x[0] >= 400 for x in seen), seen)


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


def parameters(answer):
    return answer["parameters"]


def ask_pair(s, value, name="pair", outputs=None):
    info = s.json("GET", f"/v2/models/{name}")[1]["inputs"]
    shape = [1 if d < 0 else d for d in info[0]["shape"]]
    n = 1
    for d in shape:
        n *= d
    request = {"inputs": [tensor(k["name"], shape, [value] * n) for k in info]}
    return s.json("POST", f"/v2/models/{name}/infer", {**request, **(outputs or {})})


def alone():
    """A client that is alone does not go by the workers once its model is known to be quick: no waiting for a batch, nothing else changes."""
    with Server(f"pair={PAIR}", "--workers", "1", "--batch", "8", "--delay", "300") as s:
        def request(rows, value, timeout=None):
            o = {"id": str(value), "inputs": [tensor(k, [rows, 2], [value] * 2 * rows) for k in "ab"]}
            return json.dumps({**o, **({"parameters": {"timeout": timeout}} if timeout else {})}).encode()

        def ask(c, body):
            start = time.monotonic()
            c.sendall(b"POST /v2/models/pair/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            status, data = answers_of(c, 1)[0]
            return status, data, time.monotonic() - start
        with socket.create_connection(("127.0.0.1", s.port), timeout=20) as c:
            status, first, took = ask(c, request(2, 1.5))
            check("the first waits for a batch", status == 200 and took > 0.29, took)
            answers = [ask(c, request(2, 1.5)) for _ in range(9)]
            check("the next do not", all(a[:2] == (200, first) for a in answers) and min(a[2] for a in answers) < 0.2, answers)
            check("larger than what was quick: to a worker", ask(c, request(100, 1.5))[0::2] > (200, 0.29))
            check("then it is known too", min(ask(c, request(100, 1.5))[2] for _ in range(5)) < 0.2)
            check("a mistake in between", ask(c, b"{")[0] == 400 and ask(c, request(2, 1.5).replace(b"FP32", b"INT8"))[0] == 400)
            check("and right again", ask(c, request(2, 1.5))[:2] == (200, first))
            answers = [ask(c, request(2, float(i)))[1] for i in range(5)]
            check("each gets its own", len(set(answers)) == 5)
            metrics = s.ask("GET", "/metrics")[1].decode()  # a connection of its own
            check("all are counted", 'ledge_inferences_total{model="pair",version="1"} 22\n' in metrics, [l for l in metrics.splitlines() if "inferences_total" in l])
            with socket.create_connection(("127.0.0.1", s.port), timeout=20) as other:
                check("two are not alone", ask(other, request(2, 1.5))[:2] == (200, first) and ask(c, request(2, 1.5))[2] > 0.29)


def cached(red):
    """The cache: same answers, one run, gone with the version."""
    with Server(f"pair={PAIR}", f"cls={CLASSIFIER}", "--cache", "1", "--cache-ttl", "100") as s:
        first, again, other = (ask_pair(s, v)[1] for v in (1.0, 1.0, 2.0))
        check("the first is a miss", parameters(first)["ledge_cache"] == "miss" and parameters(other)["ledge_cache"] == "miss", first)
        check("the second is a hit", parameters(again)["ledge_cache"] == "hit" and again["outputs"] == first["outputs"], again)
        for top in (1, 2):
            status, o = s.json("POST", f"/v1/classify/cls?top={top}", red)
            check("pictures too, whatever top", parameters(o)["ledge_cache"] == ("hit" if top == 2 else "miss") and len(o["predictions"]) == top, o)
        metrics = s.ask("GET", "/metrics")[1].decode()
        check("counted", 'ledge_cache_hits_total{model="pair",version="1"} 1\n' in metrics and 'ledge_cache_misses_total{model="pair",version="1"} 2\n' in metrics)
        model = next(m for m in s.json("GET", "/v1/status")[1]["models"] if m["name"] == "pair")
        check("in the status", model["cache"]["entries"] == 2 and model["cache"]["bytes"] > 0 and abs(model["cache"]["hit_ratio"] - 1 / 3) < 1e-9, model)
        check("load", s.ask("POST", "/v2/repository/models/pair/load", b"")[0] == 200)
        check("a new version has an empty cache", parameters(ask_pair(s, 1.0)[1])["ledge_cache"] == "miss")
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = [j.result()[1] for j in [pool.submit(ask_pair, s, float(i % 3)) for i in range(120)]]
        check("many at once", all(a["outputs"] == first["outputs"] for i, a in enumerate(answers) if i % 3 == 1))
        metrics = s.ask("GET", "/metrics")[1].decode()
        check("each input ran once", 'ledge_cache_misses_total{model="pair",version="1"} 3\n' in metrics)
    with Server(f"pair={PAIR}") as s:
        check("off by default", [parameters(ask_pair(s, 1.0)[1])["ledge_cache"] for _ in range(2)] == ["off", "off"])


def configured(folder):
    """The configuration file: read, refused with a place, read again."""
    path = os.path.join(folder, "serve.json")
    shutil.copy(PAIR, os.path.join(folder, "pair.onnx"))
    shutil.copy(CLASSIFIER, os.path.join(folder, "cls.onnx"))

    def write(config):
        with open(path, "w") as f:
            f.write(config if isinstance(config, str) else json.dumps(config))

    def hang_up(s, want):
        s.process.send_signal(signal.SIGHUP)
        line = s.process.stderr.readline()
        while line and want not in line:
            line = s.process.stderr.readline()
        check(f"after SIGHUP: {want}", want in line, line)
    config = {"models": [{"name": "pair", "path": "pair.onnx", "cache": {"mb": 1}}, {"name": "small", "path": "cls.onnx"},
                         {"name": "large", "path": "cls.onnx", "version": 7}],
              "ladders": [{"name": "both", "models": ["small", "large"], "threshold": 1}], "defaults": {"batch": 4}}
    write(config)
    with Server("--config", path) as s:
        check("of the file", ask_pair(s, 1.0)[0] == 200 and parameters(ask_pair(s, 1.0)[1])["ledge_cache"] == "hit")
        check("versions", s.json("GET", "/v2/models/large")[1]["versions"] == ["7"])
        status, o = s.json("GET", "/v2/models/both")
        check("a ladder's metadata", status == 200 and o["name"] == "both" and len(o["inputs"]) == 1, o)
        check("a ladder is ready", s.ask("GET", "/v2/models/both/ready")[0] == 200)
        status, o = ask_pair(s, 0.5, "both")
        check("climbs", status == 200 and o["model_name"] == "both" and parameters(o)["ledge_model_used"] == "large", o)
        check("ladders in metrics", 'ledge_ladder_runs_total{ladder="both",model="large"} 1\n' in s.ask("GET", "/metrics")[1].decode())
        check("ladders in the status", s.json("GET", "/v1/status")[1]["ladders"][0]["rungs"][1]["answers"] == 1)
        config["models"].pop(0)
        config["ladders"][0]["threshold"] = 1e-6
        config["token_file"] = "token"
        with open(os.path.join(folder, "token"), "w") as f:
            f.write("abc\n")
        write(config)
        hang_up(s, "loaded anew")
        check("the new token", s.ask("POST", "/v2/models/both/infer", b"{}")[0] == 401)
        check("what the file no longer has is gone", s.ask("GET", "/v2/models/pair")[0] == 404)
        write('{"models": [],\n "hots": 1}')
        hang_up(s, ":2:2: unknown key \"hots\"; did you mean \"host\"?")
        hang_up(s, "the old configuration stays")
        check("and it does", s.ask("GET", "/v2/models/small")[0] == 200)
        del config["token_file"]
        write(config)
        hang_up(s, "loaded anew")
        status, o = ask_pair(s, 0.5, "both")
        check("the new threshold", parameters(o)["ledge_model_used"] == "small" and parameters(o)["ledge_ladder"] == "sure", o)
    for bad, want in [('{"port": "x"}', ":1:10: a number is wanted"), ("{}", "name models to serve"),
                      ('{"models":[{"name":"a","path":"cls.onnx"}],"ladders":[{"name":"l","models":["a","b"]}]}', "there is no model b"),
                      ('{"models":[{"name":"a","path":"none.onnx"}]}', "none.onnx")]:
        write(bad)
        done = subprocess.run([LEDGE, "serve", "--config", path, "--port", "0"], capture_output=True, text=True, timeout=20)
        check(f"refused: {bad}", done.returncode in (2, 3) and want in done.stderr, done.stderr)


def pixels(folder, red):
    """Models that take the bytes of pictures: metadata say so, and answers are those of the floats that the bytes stand for."""
    n = 3
    raw = bytes((37 * i * i + 11 * i) % 256 for i in range(n * 8 * 8 * 3))
    floats = [raw[(k * 64 + i) * 3 + c] * 0.00392156862745098 for k in range(n) for c in range(3) for i in range(64)]
    binary = json.dumps({"inputs": [{"name": "picture", "shape": [n, 8, 8, 3], "datatype": "UINT8", "parameters": {"binary_data_size": len(raw)}}]}).encode()
    with Server(f"cls={CLASSIFIER}", "--batch", "4", "--cache", "1") as s:
        want = s.json("POST", "/v2/models/cls/infer", {"inputs": [tensor("picture", [n, 3, 8, 8], floats)]})[1]["outputs"]
        predictions = s.json("POST", "/v1/classify/cls", red)[1]["predictions"]
        status, o = s.json("POST", "/v2/models/cls/infer", {"inputs": [tensor("picture", [n, 8, 8, 3], list(raw), "UINT8")]})
        check("bytes where floats are wanted", status == 400 and "FP32" in o["error"], o)
    path = os.path.join(folder, "pixels.json")
    with open(path, "w") as f:
        json.dump({"models": [{"name": "cls", "path": CLASSIFIER, "pixels": True, "cache": {"mb": 1}}, {"name": "pair", "path": PAIR},
                              {"name": "big", "path": CLASSIFIER, "version": 2, "pixels": True}],
                   "ladders": [{"name": "both", "models": ["cls", "big"], "threshold": 1}]}, f)
    for arguments in ([f"cls={CLASSIFIER}", "--pixels", "--batch", "4"], ["--config", path]):
        with Server(*arguments) as s:
            status, o = s.json("GET", "/v2/models/cls")
            check("metadata of pixels", o["inputs"] == [{"name": "picture", "datatype": "UINT8", "shape": [-1, 8, 8, 3]}], o)
            for what, body, headers in (("JSON", json.dumps({"inputs": [tensor("picture", [n, 8, 8, 3], list(raw), "UINT8")]}).encode(), {}),
                                        ("binary", binary + raw, {"Inference-Header-Content-Length": str(len(binary))})):
                status, o = s.json("POST", "/v2/models/cls/infer", body, headers)
                check(f"{what} pixels answer as floats", status == 200 and o["outputs"] == want, (o, want))
            status, data, headers = s.ask("POST", "/v2/models/cls/infer", raw, {"Inference-Header-Content-Length": "0"})
            out = struct.unpack("<12f", data[int(headers["Inference-Header-Content-Length"]):])
            check("pixels alone", list(out) == [struct.unpack("f", struct.pack("f", v))[0] for v in want[0]["data"]], (out, want))
            check("pictures are classified alike", s.json("POST", "/v1/classify/cls", red)[1]["predictions"] == predictions)
            status, o = s.json("POST", "/v2/models/cls/infer", {"inputs": [tensor("picture", [n, 3, 8, 8], floats)]})
            check("floats where bytes are wanted", status == 400 and "UINT8" in o["error"], o)
            status, o = s.json("POST", "/v2/models/cls/infer", {"inputs": [tensor("picture", [n, 8, 8, 3], list(raw[:-1]) + [256], "UINT8")]})
            check("no byte", status == 400, o)
            if arguments[0] == "--config":
                check("a neighbour keeps its floats", s.json("GET", "/v2/models/pair")[1]["inputs"][0]["datatype"] == "FP32")
                status, o = s.json("POST", "/v1/classify/both", red)
                check("a ladder of pixels", o["predictions"] == predictions and parameters(o)["ledge_model_used"] == "big", o)
    done = subprocess.run([LEDGE, "serve", f"pair={PAIR}", "--pixels", "--port", "0"], capture_output=True, text=True, timeout=20)
    check("a model without pictures", done.returncode == 2 and "takes no pixels" in done.stderr, (done.returncode, done.stderr))


def shadowed(folder):
    """A version in the shadow of a model of pixels takes floats, and makes them of the same pictures."""
    version, shadow, queue = (os.path.join(folder, d) for d in ("versions/cls/2", "shadow", "queue"))
    os.makedirs(version)
    os.makedirs(shadow)
    shutil.copy(CLASSIFIER, version)
    os.symlink(os.path.join("../versions/cls/2", os.path.basename(CLASSIFIER)), os.path.join(shadow, "cls.onnx"))

    def told():
        try:
            with open(os.path.join(queue, "metrics.json")) as f:
                return {m["version"]: m for m in json.load(f)["models"]}.get("2", {})
        except FileNotFoundError:
            return {}
    with Server(f"cls={CLASSIFIER}", "--pixels", "--telemetry", queue, "--shadow", shadow) as s:
        until = time.monotonic() + 30
        for n in range(10000):
            body = json.dumps({"inputs": [{"name": "picture", "datatype": "UINT8", "shape": [1, 8, 8, 3], "data": [(n * 37 + i * i) % 256 for i in range(192)]}]})
            status, data = s.ask("POST", "/v2/models/cls/infer", body.encode())[:2]
            if status != 200 or told().get("shadow_count", 0) > 2 or time.monotonic() > until:
                break
            time.sleep(0.05)
        check("pixels answer beside a shadow", status == 200, data)
    check("a shadow of a model of pixels agrees", told().get("shadow_count", 0) > 2 and told()["shadow_agree"] == told()["shadow_count"], told())


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


def encrypted(folder, red):
    """Over TLS: the same answers, short and long, to one client and to many; no others are let in."""
    for_server(folder)
    files = ("--tls-cert", os.path.join(folder, "server.pem"), "--tls-key", os.path.join(folder, "server.key"))
    trusts = ssl.create_default_context(cafile=os.path.join(folder, "ca.pem"))
    pixels = [i % 256 for i in range(192)]
    asked = [("/v2/models/cls/infer", json.dumps({"inputs": [tensor("picture", [1, 3, 8, 8], [i / 255 for i in pixels])]}).encode()),
             ("/v2/models/cls/infer", json.dumps({"inputs": [tensor("picture", [2000, 3, 8, 8], [i / 255 for i in pixels * 2000])]}).encode()),
             ("/v1/classify/cls?top=2", red)]
    with Server(f"cls={CLASSIFIER}") as s:
        want = [json.loads(s.ask("POST", *a)[1]) for a in asked]
    key = "outputs", "outputs", "predictions"
    with Server(f"cls={CLASSIFIER}", *files) as s:
        def ask(i):
            c = http.client.HTTPSConnection("127.0.0.1", s.port, timeout=20, context=trusts)
            answers = []
            for path, body in asked[i:] + asked[:i]:  # one after another on one connection
                c.request("POST", path, body)
                answers.append(json.loads(c.getresponse().read()))
            c.close()
            answers = answers[len(asked) - i:] + answers[:len(asked) - i]
            return all(a[k] == w[k] for a, w, k in zip(answers, want, key))
        check("one client after another", all(ask(i % 3) for i in range(6)))
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            check("many at once", all(pool.map(ask, [i % 3 for i in range(24)])))
        check("without TLS there is no answer", b"HTTP/1.1 200" not in s.raw(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n"))
        try:
            http.client.HTTPSConnection("127.0.0.1", s.port, timeout=20, context=ssl.create_default_context()).request("GET", "/v2")
            check("the certificate is the one that was given", False)
        except ssl.SSLCertVerificationError:
            pass
        check("still there", ask(0))
    for pair in (("ca.pem", "server.key"), ("server.key", "server.key"), ("server.pem", "none")):
        words = [w for flag, f in zip(("--tls-cert", "--tls-key"), pair) for w in (flag, os.path.join(folder, f))]
        done = subprocess.run([LEDGE, "serve", "--port", "0", f"cls={CLASSIFIER}", *words], capture_output=True, text=True, timeout=20)
        check(f"refused: {pair}", done.returncode in (1, 3) and done.stderr.startswith("ledge: ") and done.stderr.count("\n") == 1, done.stderr)


def ended():
    """SIGTERM: clients that keep asking lose nothing, those that are silent or slow are not waited for too long."""
    body = json.dumps({"inputs": [tensor("picture", [1, 3, 8, 8], [0.5] * 192)]})
    for workers in ("1", "4"):
        with Server(f"cls={CLASSIFIER}", "--workers", workers) as s:
            crowd = Crowd(8, s.port, lambda: ("POST", "/v2/models/cls/infer", body, {}))
            silent = socket.create_connection(("127.0.0.1", s.port))
            time.sleep(0.3)
            took = s.end()
            crowd.wait()
            silent.close()
            check("all of them got answers", set(crowd.codes) <= {200, 503} and crowd.codes[200] > 8, crowd.codes)
            check("they were told of the end", crowd.last >= 8, crowd.last)
            check("none was cut off", crowd.lost == [], crowd.lost)
            check("nobody waited for the silent one", took < 10, took)
    with Server(f"cls={CLASSIFIER}", "--drain", "1") as s:
        whole = b"POST /v2/models/cls/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body.encode())
        with socket.create_connection(("127.0.0.1", s.port), timeout=20) as slow, \
                socket.create_connection(("127.0.0.1", s.port), timeout=20) as stuck:
            slow.sendall(whole[:300])
            stuck.sendall(whole[:300])
            s.ask("GET", "/v2/health/live")
            s.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            slow.sendall(whole[300:])
            status, answer = answers_of(slow, 1)[0]
            check("a body that was on its way", status == 200, answer)
            check("the rest of another is waited for no longer than said", s.end() < 10)


with tempfile.TemporaryDirectory() as work:
    subprocess.run([sys.executable, os.path.join(ROOT, "tests", "cli", "make_inputs.py"), work], check=True)
    with open(os.path.join(work, "pictures", "red.png"), "rb") as f:
        red = f.read()
    with Server(f"pair={PAIR}", f"cls={CLASSIFIER}", "--deadline", "20", "--body", "10") as server:
        protocol(server)
        watched(server)
        pictures(server, red)
        pieces(server)
        hostile(server)
        check("still alive", server.ask("GET", "/v2/health/ready")[0] == 200)
    repository(os.path.join(work, "repository"))
    crowd()
    alone()
    cached(red)
    os.makedirs(os.path.join(work, "configured"))
    configured(os.path.join(work, "configured"))
    pixels(work, red)
    shadowed(os.path.join(work, "shadowed"))
    guarded(work)
    os.makedirs(os.path.join(work, "encrypted"))
    encrypted(os.path.join(work, "encrypted"), red)
    ended()
serving.finish()
