#!/usr/bin/env python3
"""Inputs from a device to retraining: ledge serve keeps some sealed, the agent sends them, the registry stores
what it cannot read, and the key's holder opens them: the same bytes that the model saw.

Usage: test_registry_samples.py LEDGE SOURCE_ROOT"""
import contextlib
import glob
import hashlib
import http.client
import json
import os
import struct
import subprocess
import sys
import urllib.error
import urllib.request
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from registry_rig import Registry, bucket, check, finish, postgres

LEDGE, ROOT = sys.argv[1:3]
MODEL = os.path.join(ROOT, "tests", "data", "onnx", "classifier.onnx")
PICTURE = os.path.join(ROOT, "tests", "data", "image", "rgb8.png")


class Server:
    def __init__(self, r, *more):
        self.process = subprocess.Popen([LEDGE, "serve", "--json", "--port", "0", f"cls={MODEL}", *more],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        text = ""
        while not text.strip().endswith("}"):
            text += self.process.stdout.readline()
        self.port = json.loads(text)["port"]

    def ask(self, path, body):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        c.request("POST", path, body)
        answer = c.getresponse()
        answer.read()
        c.close()
        return answer.status

    def infer(self, values):
        return self.ask("/v2/models/cls/infer", json.dumps({"inputs": [
            {"name": "picture", "shape": [1, 3, 8, 8], "datatype": "FP32", "data": values}]}))

    def end(self):
        self.process.terminate()
        check("the server ends with 0", self.process.wait(30) == 0)
        self.process.stdout.close()


def samples(state):
    return glob.glob(os.path.join(state, "samples", "*.sample"))


def bytes_in(folder):
    return b"".join(open(f, "rb").read() for f in glob.glob(os.path.join(folder, "**"), recursive=True)
                    if os.path.isfile(f))


def png(data):
    """Width and rows of an 8-bit RGB picture."""
    at, idat = 8, b""
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", data[at + 8:at + 18])
            check("it is RGB", (depth, colour) == (8, 2))
        idat += data[at + 8:at + 8 + n] if kind == b"IDAT" else b""
        at += 12 + n
    raw, rows, before = zlib.decompress(idat), [], [0] * (3 * width)
    for y in range(height):
        how, line = raw[y * (3 * width + 1)], list(raw[y * (3 * width + 1) + 1:(y + 1) * (3 * width + 1)])
        for i in range(3 * width):
            a, b, c = line[i - 3] if i > 2 else 0, before[i], before[i - 3] if i > 2 else 0
            p = a + b - c
            nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line[i] = (line[i] + [0, a, b, (a + b) // 2, nearest][how]) % 256
        rows.append(line)
        before = line
    return width, rows


def is_gone(r, blob):
    answer = r.ask("GET", "/v1/blobs/" + blob)
    if answer.code != 302:
        return answer.code == 404
    try:
        urllib.request.urlopen(answer.headers["location"]).close()
    except urllib.error.HTTPError as e:
        return e.code == 404
    return False


def whole_way(r):
    state, out = r.path("device"), r.path("opened")
    r.run(0, "key", "new", "--type", "sampling", r.path("sampling"))
    r.run(0, "key", "new", "--type", "sampling", r.path("stranger"))
    token = r.ask("POST", "/v1/admin/tokens", {"role": "device", "device": "cam-1"}).json["token"]
    with open(r.path("token"), "w") as f:
        f.write(token)
    with open(r.path("root.json"), "w") as f:
        f.write(r.ask("GET", "/v1/tuf/1.root.json").body.decode())
    os.mkdir(state)
    pixels = [(i * 37) % 256 for i in range(192)]  # red plane, green plane, blue plane
    values = [struct.unpack("f", struct.pack("f", p / 255))[0] for p in pixels]
    picture = open(PICTURE, "rb").read()

    def sync(*more):
        return r.run(0, "agent", "sync", "--state", state, "--registry", f"http://127.0.0.1:{r.port}", "--root",
                     r.path("root.json"), "--token-file", r.path("token"), "--device", "cam-1", *more)

    # Off: whatever is asked, nothing of it is on the disk or at the registry.
    os.mkdir(os.path.join(state, "queue"))
    s = Server(r, "--telemetry", os.path.join(state, "queue", "serve"))
    check("it answers", s.infer(values) == 200 and s.ask("/v1/classify/cls", picture) == 200)
    s.end()
    sync("--sample-key", r.path("sampling.pub"))
    check("nothing is kept", not os.path.exists(os.path.join(state, "samples")))
    needle = struct.pack("<8f", *values[:8])
    check("nor is any of it elsewhere", needle not in bytes_in(state) and picture[8:40] not in bytes_in(state))

    # On.
    s = Server(r, "--samples", os.path.join(state, "samples"), "--sample-key", r.path("sampling.pub"),
               "--sample-below", "1.1", "--samples-per-hour", "3600")
    check("a tensor is asked", s.infer(values) == 200)
    r.wait("and kept", lambda: len(samples(state)) == 1)
    r.wait("a picture is kept", lambda: s.ask("/v1/classify/cls", picture) == 200 and len(samples(state)) >= 2)
    s.end()
    check("sealed", needle not in bytes_in(state) and picture[8:40] not in bytes_in(state))
    n = len(samples(state))
    sync()
    check("without the key none leaves", len(samples(state)) == n and not r.ask("GET", "/v1/admin/samples").json["samples"])
    sync("--sample-key", r.path("sampling.pub"))
    check("all have left", samples(state) == [])
    rows = r.ask("GET", "/v1/admin/samples").json["samples"]
    check("the registry has their heads", len(rows) == n and all(
        x["device"] == "cam-1" and x["model"] == "cls" and x["class_id"] >= 0 and 0 < x["confidence_ppm"] <= 1000000
        for x in rows), rows)
    check("and lists them", r.verb("samples").count("cam-1") == n)
    check("by model", json.loads(r.verb("samples", "--model", "other", "--json"))["samples"] == [])
    stored = [r.fetch(x["sha256"]) for x in rows]
    check("the registry cannot read them", all(needle not in b and picture[8:40] not in b for b in stored))
    check("gc leaves them", json.loads(r.verb("gc", "--grace", "0", "--json"))["removed"] == [])

    # Again, as after a lost answer; and what is none of ours.
    sha = rows[0]["sha256"]
    again = r.ask("POST", f"/v1/samples/cam-1/{sha}", stored[0], token=token)
    check("twice is once", again.code == 200 and again.json["duplicate"] is True, again)
    check("still as many", len(r.ask("GET", "/v1/admin/samples").json["samples"]) == n)
    other = r.ask("POST", f"/v1/samples/cam-2/{sha}", stored[0], token=token)
    check("for another device", other.code == 403, other)
    junk = os.urandom(3000)
    answer = r.ask("POST", f"/v1/samples/cam-1/{hashlib.sha256(junk).hexdigest()}", junk, token=token)
    check("what is no sample is refused", answer.code == 400 and "no sample" in answer.json["error"], answer)
    answer = r.ask("POST", f"/v1/samples/cam-1/{'0' * 64}", stored[0], token=token)
    check("another hash is refused", answer.code == 409, answer)
    check("no device, no sample", r.ask("POST", f"/v1/samples/{sha}", stored[0], token=token).code == 404)
    if not r.blobs:
        r.wait("nothing is left behind", lambda: os.listdir(os.path.join(r.folder, "blobs", "incoming")) == [])

    r.verb("devices", "cam-1", "--state", "blocked", "--reason", "test")
    changed = stored[0][:-1] + bytes([stored[0][-1] ^ 1])
    blob = hashlib.sha256(changed).hexdigest()
    answer = r.ask("POST", f"/v1/samples/cam-1/{blob}", changed, token=token)
    check("a blocked device is refused", answer.code == 403, answer)
    r.wait("and fills no disk", lambda: is_gone(r, blob))
    check("what it sent before stays", r.ask("POST", f"/v1/samples/cam-1/{sha}", stored[0], token=token).code == 403 and
          r.fetch(sha) == stored[0])
    r.verb("devices", "cam-1", "--state", "active", "--reason", "test")

    # Opened.
    said = r.verb("samples", "--key", r.path("stranger.key"), "--out", out, code=3)
    check("another key opens none", "was sealed to the key" in said and "0 samples" in said, said)
    check("a public key neither", "cannot open" in r.verb("samples", "--key", r.path("sampling.pub"), "--out", out, code=2))
    r.verb("samples", "--out", out, code=2)
    r.verb("samples", "--key", r.path("sampling.key"), "--out", out, "--remove", "--reason", "retraining")
    with open(os.path.join(out, "samples.csv")) as f:
        table = f.read().splitlines()
    files = [line.split(",")[0] for line in table[1:]]
    check("a row for each", len(files) == n and table[0].startswith("file,class_id,confidence"), table)
    contents = {name: open(os.path.join(out, name), "rb").read() for name in files}
    check("the picture is the one that was sent", picture in contents.values())
    mine = next(name for name, b in contents.items() if b != picture)
    width, rows = png(contents[mine])
    planes = [rows[y][3 * x + c] for c in range(3) for y in range(8) for x in range(8)]
    check("and the tensor's picture has the bytes that the tensor was made of", width == 8 and planes == pixels, planes)
    check("they are out of the registry", r.ask("GET", "/v1/admin/samples").json["samples"] == [])
    check("which the log says", sum(e["action"] == "sample.remove" and e["reason"] == "retraining"
                                    for e in r.ask("GET", "/v1/admin/audit").json["entries"]) == n)
    check("gc takes the files", len(json.loads(r.verb("gc", "--grace", "0", "--json"))["removed"]) == n)

    # Files by themselves, and one that was changed.
    path = r.path("one.sample")
    with open(path, "wb") as f:
        f.write(stored[0])
    alone = lambda: r.verb("samples", path, "--key", r.path("sampling.key"), "--out", r.path("alone"))
    alone()
    check("a file opens by itself", len(os.listdir(r.path("alone"))) == 2)
    csv = os.path.join(r.path("alone"), "samples.csv")
    whole = open(csv).read()
    alone()
    check("twice is one row", open(csv).read() == whole and whole.count("\n") == 2, whole)
    for cut in (len(whole.splitlines()[0]) + 1, len(whole) - 5, 10, 0):  # killed before the row, within it, within the head
        with open(csv, "w") as f:
            f.write(whole[:cut])
        alone()
        check("a row that was cut is written anew", open(csv).read() == whole, (cut, open(csv).read()))
    with open(path, "wb") as f:
        f.write(stored[0][:-1] + bytes([stored[0][-1] ^ 1]))
    said = r.verb("samples", path, "--key", r.path("sampling.key"), "--out", r.path("alone"), code=3)
    check("one that was changed does not", "was changed or cut after it was sealed" in said, said)
    # What came of it is what training takes.
    r.run(0, "distill", "--teacher", MODEL, "--student", MODEL, "--data", out, "--epochs", "1", "--batch", "2", "-o", r.path("s.onnx"))


def main():
    with Registry(LEDGE) as r:
        whole_way(r)
    # And with the other database, where it is installed, and files in a bucket: LEDGE_TEST_BLOBS, or one of our own.
    given = os.environ.get("LEDGE_TEST_BLOBS")
    with postgres() as database, contextlib.nullcontext(given) if given else bucket() as blobs:
        with Registry(LEDGE, database=database, blobs=blobs) as r:
            whole_way(r)
            if database:
                rows = subprocess.run(["psql", "-qAt", database, "-c", "SELECT COUNT(*) FROM samples"], capture_output=True, text=True)
                check("it was that database", rows.stdout.strip() == "0", rows)
            else:
                print("PostgreSQL is not installed")
    return finish()


sys.exit(main())
