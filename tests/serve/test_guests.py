#!/usr/bin/env python3
"""Guests in front of models and behind them, as clients of `ledge serve` see it: the same answers as
without, hostile guests that harm one request alone, files that are refused, reloading.

Usage: test_guests.py LEDGE SOURCE_ROOT. Needs wasm2c and clang for wasm32-wasi; skipped (77) without."""
import atexit
import concurrent.futures
import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import zlib

import serving
from serving import check, Server

LEDGE, ROOT = sys.argv[1], os.path.abspath(sys.argv[2])
MODEL = os.path.join(ROOT, "models", "signs.onnx")
SIGNS = os.path.join(ROOT, "tests", "data", "signs")
WORK = tempfile.mkdtemp(prefix="ledge-guests-")
atexit.register(shutil.rmtree, WORK, True)
RAW = {"Inference-Header-Content-Length": "0"}


def ledge(*arguments):
    p = subprocess.run([LEDGE, *arguments], capture_output=True, text=True, timeout=120)
    return p.returncode, p.stderr


def build(name, source, *flags):
    """WORK/name.lwm from C; ends the test as skipped where the tools are not here."""
    wasm, lwm = (os.path.join(WORK, name + end) for end in (".wasm", ".lwm"))
    try:
        p = subprocess.run(["clang", "--target=wasm32-wasi", "-mexec-model=reactor", "-O2", "-I", os.path.join(ROOT, "include"),
                            *flags, source, "-o", wasm], capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        sys.exit(77)
    if p.returncode or not shutil.which(os.environ.get("LEDGE_WASM2C", "wasm2c")):
        sys.exit(77)
    code, err = ledge("wasm", "build", wasm, "-o", lwm)
    check(f"{name} is built", code == 0, err)
    return lwm


def text_guest(name, text, *flags):
    source = os.path.join(WORK, name + ".c")
    with open(source, "w") as f:
        f.write('#include <stdlib.h>\n#include "ledge/guest/guest_serve.h"\n' + text)
    return build(name, source, *flags)


def png(ppm):
    head, size, levels, pixels = ppm.split(b"\n", 3)
    width, height = map(int, size.split())
    rows = b"".join(b"\0" + pixels[y * width * 3:(y + 1) * width * 3] for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def config(models, **more):
    path = os.path.join(WORK, "serve.json")
    with open(path, "w") as f:
        json.dump({"models": models, **more}, f)
    return path


def same(a, b):
    return [(p["class_id"], p["label"]) for p in a] == [(p["class_id"], p["label"]) for p in b] and all(
        abs(p["confidence"] - q["confidence"]) < 2e-6 for p, q in zip(a, b))


# ---- what a guest makes is what the server makes ----

def equals_native(both, pre, post):
    pictures = [open(os.path.join(SIGNS, n), "rb").read() for n in sorted(os.listdir(SIGNS)) if n.endswith(".ppm")]
    models = [{"name": n, "path": MODEL, **({"guest": g} if g else {})}
              for n, g in (("native", None), ("both", both), ("pre", {"path": pre}), ("post", post))]
    models.append({"name": "kept", "path": MODEL, "guest": both, "cache": {"mb": 4}})
    models.append({"name": "many", "path": MODEL, "guest": both, "batch": 8, "delay_ms": 5})
    ladder = {"name": "steps", "models": ["pre", "both"], "threshold": 1}
    with Server("--workers", "4", "--config", config(models, ladders=[ladder])) as s:
        for ppm in pictures:
            want = s.json("POST", "/v1/classify/native?top=4", png(ppm))[1]["predictions"]
            for name, body, key in (("both", ppm, 1), ("pre", ppm, 0), ("post", png(ppm), 1), ("kept", ppm, 1)):
                status, o = s.json("POST", f"/v1/classify/{name}?top=4", body)
                seen = o.get("result", {}).get("predictions", []) if key else o.get("predictions", [])
                check(f"{name} answers as without a guest", status == 200 and same(seen, want), (status, o, want))
        status, o = s.json("POST", "/v1/classify/both", pictures[0])
        check("the guest is named", o["parameters"]["ledge_guest_sha256"] == hashlib.sha256(open(both, "rb").read()).hexdigest()
              and o["parameters"]["ledge_guest_ms"] > 0 and len(o["result"]["predictions"]) == 5, o)
        check("others name none", "ledge_guest_sha256" not in s.json("POST", "/v1/classify/native", png(pictures[0]))[1]["parameters"])
        status, o = s.json("POST", "/v1/classify/kept?top=4", pictures[0])
        check("the cache works with a guest", o["parameters"]["ledge_cache"] == "hit" and len(o["result"]["predictions"]) == 4, o)
        status, o = s.json("POST", "/v1/classify/steps", pictures[0])
        check("a ladder climbs to a model with a guest", status == 200 and o["parameters"]["ledge_model_used"] == "both" and "result" in o, o)
        # Tensors go through as they are; raw bytes are a picture to the guest.
        info = s.json("GET", "/v2/models/native")[1]["inputs"][0]
        shape = [1 if d < 0 else d for d in info["shape"]]
        n = 1
        for d in shape:
            n *= d
        ask = {"id": "7", "inputs": [{"name": info["name"], "shape": shape, "datatype": "FP32", "data": [0.25] * n}]}
        native = s.json("POST", "/v2/models/native/infer", ask)[1]["outputs"]
        status, o = s.json("POST", "/v2/models/pre/infer", ask)
        check("tensors through the first half", status == 200 and o["outputs"] == native and o["id"] == "7", o)
        status, o = s.json("POST", "/v2/models/both/infer", ask)
        check("tensors through both", status == 200 and o["outputs"] == [] and o["id"] == "7" and o["result"]["predictions"], o)
        status, o = s.json("POST", "/v2/models/post/infer", {**ask, "outputs": [{"name": "whatever the guest has"}]})
        check("outputs are the guest's", status == 200 and "result" in o, o)
        status, o = s.json("POST", "/v2/models/pre/infer", {**ask, "outputs": [{"name": "zz"}]})
        check("outputs are the model's", status >= 400 and "zz" in o["error"], o)
        status, o = s.json("POST", "/v2/models/both/infer", pictures[0], RAW)
        check("raw bytes", status == 200 and o["result"]["predictions"], o)
        status, data, _ = s.ask("POST", "/v2/models/pre/infer", pictures[0], RAW)
        check("raw bytes give raw outputs", status == 200 and b'"binary_data_size"' in data, data[:200])
        status, o = s.json("POST", "/v1/classify/both", b"no picture")
        check("the guest refuses in its own words", status == 400 and o["error"] == "the body is no PPM (P6) of 255 levels", o)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            want = s.json("POST", "/v1/classify/native", png(pictures[0]))[1]["predictions"]
            for status, o in pool.map(lambda _: s.json("POST", "/v2/models/many/infer", pictures[0], RAW), range(64)):
                check("batches with a guest", status == 200 and same(o["result"]["predictions"], want), o)
        metrics = s.ask("GET", "/metrics")[1].decode()
        check("metrics", f'ledge_guest_latency_seconds_count{{model="pre",version="1",stage="preprocess"}}' in metrics and
              'stage="postprocess"' in metrics and 'ledge_guest_failures_total{model="both",version="1",cause="refused"} 1' in metrics, "")


# ---- hostile guests ----

HOSTILE = [  # body, status, part of the sentence, cause
    ("L", 500, "time limit reached", "time"), ("l", 500, "time limit reached", "time"),
    ("T", 500, "the guest was ended: unreachable code", "trap"), ("t", 500, "the guest was ended: unreachable code", "trap"),
    ("D", 500, "call stack exhausted|access outside its memory", "trap"),
    ("M", 500, 'of at most 40 pages of memory and was refused more: "pages"', "memory"),
    ("m", 500, "of at most 40 pages", "memory"),
    ("N", 500, "ledge_preprocess: the guest gave nothing", "answer"), ("n", 500, "ledge_postprocess: the guest gave nothing", "answer"),
    ("P", 500, "answer does not lie in its memory", "answer"), ("p", 500, "answer does not lie in its memory", "answer"),
    ("X", 500, "the guest ended itself with 5", "exit"), ("E", 500, "refusal does not lie in its memory", "answer"),
    ("R", 400, 'not "this" one\n', "refused"), ("r", 400, 'not "this" one\n', "refused"),
    ("j", 500, "the guest's answer", "answer"), ("k", 500, "JSON of the guest's answer does not lie", "answer"),
    ("o", 500, "neither JSON nor tensors", "answer"),
    ("+n", 500, 'no input "nobody"', "answer"), ("+p", 500, "name does not lie", "answer"), ("+t", 500, "more or fewer bytes|datatype", "answer"),
    ("+u", 500, "no known type", "answer"), ("+r", 500, "8 dimensions", "answer"), ("+d", 500, "dimension below 0", "answer"),
    ("+h", 500, "more or fewer bytes", "answer"), ("+s", 500, "more or fewer bytes", "answer"), ("+a", 500, "does not lie in its memory", "answer"),
    ("+o", 500, "note does not lie in its memory, or is over 64 KiB", "answer"), ("+6", 500, "more than 64 tensors", "answer"), ("+m", 500, "does not lie in its memory", "answer"), ("+g", 500, "string is longer", "answer")]


def hostile(lwm):
    # Bounded by CPU time, so that a busy machine does not end those who are well.
    models = [{"name": "net", "path": MODEL, "guest": {"path": lwm, "pages": 40, "time_ms": 60000, "fuel_ms": 150}},
              {"name": "late", "path": MODEL, "guest": {"path": lwm, "time_ms": 150}}]
    with Server("--workers", "4", "--config", config(models)) as s:
        def ask(body):
            return s.json("POST", "/v2/models/net/infer", body.encode(), RAW)
        counts = {}
        for body, want, text, cause in HOSTILE:
            status, o = ask(body)
            check(f"guest that does {body}", status == want and any(t in o.get("error", "") for t in text.split("|")) and
                  o["error"].count("\n") <= body.count("R") + body.count("r"), (status, o))
            counts[cause] = counts.get(cause, 0) + 1
            status, o = ask("W")
            check(f"the next request after {body}", status == 200 and o["result"] == {}, (status, o))
        status, o = s.json("POST", "/v2/models/late/infer", b"L", RAW)
        check("a limit by the clock", status == 500 and "time limit reached" in o["error"], (status, o))
        metrics = s.ask("GET", "/metrics")[1].decode()
        for cause, n in counts.items():
            check(f"{cause} is counted", f'model="net",version="1",cause="{cause}"}} {n}\n' in metrics, [l for l in metrics.split("\n") if "guest_failures" in l])
        made = int(metrics.split('ledge_guest_instances_total{model="net",version="1"} ')[1].split("\n")[0])
        spoilt = sum(status == 500 and body not in ("+n", "o") for body, status, _, _ in HOSTILE)
        check("those that were ended or spoke nonsense are thrown away", made == 1 + spoilt, (made, spoilt))
        status, o = ask("W" + "x" * 3_000_000)
        check("a body beyond the guest's memory", status == 400 and "40 pages" in o["error"], (status, o))
        # Side by side: those who are well do not notice.
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            bodies = [HOSTILE[i % len(HOSTILE)][0] if i % 3 else "W" for i in range(90)]
            for body, (status, o) in zip(bodies, pool.map(ask, bodies)):
                check(f"side by side: {body}", (status == 200) == (body == "W"), (status, o))
        check("it still lives", ask("W")[0] == 200)


# ---- files that are refused, and reloading ----

def refused(both):
    def fails(what, want, *arguments):
        p = subprocess.run([LEDGE, "serve", "--port", "0", f"net={MODEL}", *arguments], capture_output=True, text=True, timeout=60)
        check(what, p.returncode == 3 and want in p.stderr and p.stderr.count("\n") == 1, (p.returncode, p.stderr))
    fails("no such guest", "gone.lwm", "--guest", os.path.join(WORK, "gone.lwm"))
    fails("a model is no guest", "is no .lwm file", "--guest", MODEL)
    half = text_guest("half", "void *ledge_alloc(uint32_t n) { return malloc(n); }\nvoid ledge_free(void *p) { free(p); }\n")
    fails("a guest with neither half", "neither 'ledge_preprocess' nor 'ledge_postprocess'", "--guest", half)
    lacks = text_guest("lacks", "const GuestAnswer *ledge_preprocess(const GuestRequest *r) { (void)r; return 0; }\n")
    fails("a missing export is named", "exports no function 'ledge_alloc'", "--guest", lacks)
    other = os.path.join(WORK, "other.c")
    with open(other, "w") as f:
        f.write('__attribute__((export_name("ledge_alloc"))) long long a(int n) { return n; }\n')
    fails("another signature is named", "'ledge_alloc' with the signature i:I", "--guest", build("other", other))
    fails("memory below the module's minimum", "begins with 2 pages of memory, the limit is 1", "--guest", both, "--guest-pages", "1")
    bad = os.path.join(WORK, "bad.lwm")
    data = bytearray(open(both, "rb").read())
    data[len(data) // 2] ^= 1
    with open(bad, "wb") as f:
        f.write(data)
    fails("a changed guest", "SHA-256", "--guest", bad)
    check("a key is made", ledge("key", "new", os.path.join(WORK, "me"))[0] == 0)
    fails("a guest that nobody signed", "nobody signed it", "--guest", both, "--guest-key", os.path.join(WORK, "me.pub"))
    start = text_guest("start", '__attribute__((constructor)) static void begin(void) { __builtin_trap(); }\n'
                       'void *ledge_alloc(uint32_t n) { return malloc(n); }\nvoid ledge_free(void *p) { free(p); }\n'
                       'const GuestAnswer *ledge_preprocess(const GuestRequest *r) { (void)r; return 0; }\n')
    p = subprocess.run([LEDGE, "serve", "--port", "0", f"net={MODEL}", "--guest", start], capture_output=True, text=True, timeout=60)
    check("a guest that ends at its start", p.returncode in (1, 3) and "the guest was ended" in p.stderr, p.stderr)
    arch, cc = ("aarch64", "aarch64-linux-gnu-gcc") if os.uname().machine == "x86_64" else ("x86_64", "x86_64-linux-gnu-gcc")
    if shutil.which(cc):
        path = os.path.join(WORK, "arch.lwm")
        check("built for another machine", ledge("wasm", "build", os.path.join(WORK, "both.wasm"), "-o", path, "--target", arch)[0] == 0)
        fails("another architecture", f"was built for {arch}, this machine is", "--guest", path)


def reloading(both, post):
    folder = os.path.join(WORK, "repository", "net", "1")
    os.makedirs(folder)
    shutil.copy(MODEL, os.path.join(folder, "model.onnx"))
    guest, hashes = os.path.join(folder, "guest.lwm"), {}
    for path in (both, post):
        hashes[path] = hashlib.sha256(open(path, "rb").read()).hexdigest()
    ppm = open(os.path.join(SIGNS, "stop.ppm"), "rb").read()
    signed = os.path.join(WORK, "signed.lwm")
    check("a guest is signed", ledge("wasm", "build", os.path.join(WORK, "both.wasm"), "-o", signed, "--key", os.path.join(WORK, "me.key"))[0] == 0)
    with Server("--repository", os.path.join(WORK, "repository"), "--guest-beside") as s:
        def used():
            return s.json("POST", "/v1/classify/net", png(ppm))[1].get("parameters", {}).get("ledge_guest_sha256")

        def reload():
            s.process.send_signal(signal.SIGHUP)
            line = ""
            while line and "anew" not in line or not line:
                line = s.process.stderr.readline()
        check("no guest beside it", used() is None)
        shutil.copy(post, guest)
        reload()
        check("a guest came", used() == hashes[post])
        os.unlink(guest)
        with open(guest, "wb") as f:
            f.write(b"LEDGELWM and no more")
        reload()
        check("a damaged guest leaves the old one at work", used() == hashes[post])
        shutil.copy(both, guest)
        status, o = s.json("POST", "/v2/repository/models/net/load", {})
        check("loading brings another guest", status == 200 and s.json("POST", "/v1/classify/net", ppm)[1]["parameters"]["ledge_guest_sha256"] == hashes[both], o)
        # While requests are on their way.
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(s.json, "POST", "/v1/classify/net", ppm) for _ in range(200)]
            for _ in range(4):
                s.json("POST", "/v2/repository/models/net/load", {})
            check("requests outlive their guest's model", all(a.result()[0] == 200 for a in asked))
        os.unlink(guest)
        reload()
        check("the guest went", used() is None)
    shutil.copy(signed, guest)
    with Server("--repository", os.path.join(WORK, "repository"), "--guest-beside", "--guest-key", os.path.join(WORK, "me.pub")) as s:
        check("a signed guest", s.json("POST", "/v1/classify/net", ppm)[0] == 200)


both = build("both", os.path.join(ROOT, "examples", "guest_serve.c"))
pre = build("pre", os.path.join(ROOT, "examples", "guest_serve.c"), "-DONLY_PRE")
post = build("post", os.path.join(ROOT, "examples", "guest_serve.c"), "-DONLY_POST")
equals_native(both, pre, post)
hostile(build("hostile", os.path.join(ROOT, "tests", "wasm", "guests", "serve_hostile.c"), "-Wl,-z,stack-size=65536"))
refused(both)
reloading(both, post)
serving.finish()
