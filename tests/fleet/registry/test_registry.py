#!/usr/bin/env python3
"""ledge registry from end to end: publishing, devices, telemetry, rollouts, the log, bad input.

Usage: test_registry.py LEDGE SOURCE_ROOT"""
import hashlib
import http.client
import json
import os
import platform
import sqlite3
import sys
import threading
import time
import urllib.parse
import urllib.request
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from registry_rig import Registry, check, finish, record, running

LEDGE, ROOT = sys.argv[1:3]
MODEL = os.path.join(ROOT, "tests", "data", "onnx", "classifier.onnx")


def push(r, version, code=0, key="targets.key", *more):
    return r.verb("push", MODEL, "--name", "cls", "--version", version, "--key", r.path(key), "--force", "--reason",
                  "no certificate in tests", *more, code=code)


def publishing(r):
    r.verb("push", MODEL, "--version", "1.0.0", "--key", r.path("targets.key"), code=2)
    check("no key of another may publish", "not one that you trust" in push(r, "1.0.0", 3, "other.key")
          or "not signed by your key" in push(r, "1.0.0", 3, "other.key"))
    push(r, "1.0.0")
    check("a version never changes", "there already" in push(r, "1.0.0", 1))
    push(r, "1.1.0", 0, "targets.key", "--no-compile")
    r.verb("push", MODEL.replace("classifier", "external"), "--version", "1", "--key", r.path("targets.key"), "--force",
           "--reason", "test", "--no-compile")
    shown = json.loads(r.verb("show", "external", "1", "--json"))
    check("weights beside the model travel too", {"external.onnx", "external.data"} <= {f["path"] for f in shown["files"]}, shown)
    push(r, "2.0.0", 0, "targets.key", "--no-compile", "--no-golden")
    stamp = r.ask("GET", "/v1/tuf/timestamp.json", token=None)
    listed = stamp.json["signed"]["meta"]["snapshot.json"]
    snapshot = r.ask("GET", f"/v1/tuf/{listed['version']}.snapshot.json", token=None)
    check("the timestamp lists the snapshot's bytes", len(snapshot.body) == listed["length"] and
          hashlib.sha256(snapshot.body).hexdigest() == listed["hashes"]["sha256"])
    listed = snapshot.json["signed"]["meta"]["targets.json"]
    targets = r.ask("GET", f"/v1/tuf/{listed['version']}.targets.json", token=None)
    check("the snapshot lists the targets' bytes",
          hashlib.sha256(targets.body).hexdigest() == listed["hashes"]["sha256"])
    target = targets.json["signed"]["targets"]["models/cls/1.0.0/release.json"]
    release = r.fetch(target["hashes"]["sha256"])
    check("the target is the release's bytes", len(release) == target["length"] and
          hashlib.sha256(release).hexdigest() == target["hashes"]["sha256"])
    roles = [f["role"] for f in json.loads(release)["files"]]
    check("model, compiled and golden files travel", {"model", "compiled", "golden"} <= set(roles), roles)
    check("no second root", r.ask("GET", "/v1/tuf/2.root.json", token=None).code == 404)
    check("the root is there", r.ask("GET", "/v1/tuf/1.root.json", token=None).json["signed"]["_type"] == "root")
    nonce = "00112233445566778899aabbccddeeff"
    signed = r.ask("GET", f"/v1/tuf/time/{nonce}.json", token=None).json["signed"]
    check("the time is signed with the nonce", signed["nonce"] == nonce and abs(signed["time"] - time.time()) < 5)
    for bad in ("0.root.json", "99999999999999999999.root.json", "x.json", "../1.root.json", "1.mirrors.json", "time/zz.json"):
        check(f"no metadata {bad}", r.ask("GET", "/v1/tuf/" + bad, token=None).code in (400, 404))
    forged = dict(targets.json, signed=dict(targets.json["signed"], version=listed["version"] + 1))
    answer = r.ask("POST", "/v1/admin/releases", {"name": "cls", "version": "6.6.6", "targets": json.dumps(forged),
                                                  "force": True, "reason": "x"})
    check("forged targets are refused", answer.code == 409 and "changed after signing" in answer.json["error"], answer)
    answer = r.ask("POST", "/v1/admin/releases", {"name": "cls", "version": "6.6.6", "targets": targets.body.decode(),
                                                  "force": True, "reason": "x"})
    check("old targets are refused", answer.code == 409 and "follows" in answer.json["error"], answer)
    check("nothing of it stayed", "6.6.6" not in r.verb("list"))


def files(r):
    shown = json.loads(r.verb("show", "cls", "1.0.0", "--json"))
    file = next(f for f in shown["files"] if f["role"] == "model")
    with open(MODEL, "rb") as f:
        bytes_ = f.read()
    url, tag, n = "/v1/blobs/" + file["sha256"], f'"{file["sha256"]}"', len(bytes_)
    if r.blobs:  # the place itself answers
        answer = r.ask("GET", url)
        where = urllib.parse.urlsplit(answer.headers["location"])
        c = http.client.HTTPConnection(where.netloc)
        c.request("GET", where.path + "?" + where.query, headers={"Range": "bytes=5-"})
        got = c.getresponse()
        check("a file is where the redirection says", answer.code == 302 and got.status == 206 and got.read() == bytes_[5:])
        big = os.urandom(40 << 20)
        hash_ = hashlib.sha256(big).hexdigest()
        check("a large one goes in parts", r.ask("PUT", "/v1/admin/blobs/" + hash_, big).code == 201)
        check("and comes back", hashlib.sha256(r.fetch(hash_)).hexdigest() == hash_)
        return

    def get(**headers):
        return r.ask("GET", url, headers={k.replace("_", "-"): v for k, v in headers.items()})
    whole = get()
    check("a file comes whole", whole.code == 200 and whole.body == bytes_ and whole.headers["etag"] == tag)
    for text, want in (("bytes=0-9", bytes_[:10]), ("bytes=100-", bytes_[100:]), ("bytes=-7", bytes_[-7:]),
                       (f"bytes={n - 1}-{n + 100}", bytes_[-1:]), (f"bytes=-{n + 5}", bytes_)):
        part = get(Range=text)
        check(f"range {text}", part.code == 206 and part.body == want, part)
    part = get(Range="bytes=10-19")
    check("it says which range", part.headers["content-range"] == f"bytes 10-19/{n}")
    for text in (f"bytes={n}-", "bytes=-0"):
        check(f"{text} cannot be", get(Range=text).code == 416)
    for text in ("bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=", "bytes=1"):
        check(f"{text} is passed over", get(Range=text).code == 200)
    check("If-Range that fits", get(Range="bytes=0-9", If_Range=tag).code == 206)
    check("If-Range that does not gives all", get(Range="bytes=0-9", If_Range='"other"').code == 200)
    check("If-Match that does not", get(If_Match='"other"').code == 412)
    check("If-None-Match", get(If_None_Match=tag).code == 304)
    check("HEAD", r.ask("HEAD", url).headers["content-length"] == str(n))
    check("no such file", r.ask("GET", "/v1/blobs/" + "0" * 64).code == 404)
    check("no path", r.ask("GET", "/v1/blobs/../../registry.db").code == 404)
    answer = r.ask("PUT", "/v1/admin/blobs/" + "1" * 64, b"other bytes")
    check("bytes of another hash are refused", answer.code == 409 and "SHA-256" in answer.json["error"], answer)
    empty = hashlib.sha256(b"").hexdigest()
    check("an empty file is one", r.ask("PUT", "/v1/admin/blobs/" + empty, b"").code == 201)
    check("nothing is left behind", os.listdir(os.path.join(r.folder, "blobs", "incoming")) == [])


def lwm(targets, changed=False):
    """A guest's file as docs/formats.md has it, with other bytes for code."""
    code = [os.urandom(100) for _ in targets]

    def manifest(start):
        at = [start + 128 * i for i in range(len(code))]
        return {"_type": "lwm", "name": "guest", "ledge": "0", "wasm2c": "1", "created": 1,
                "wasm": {"sha256": "0" * 64, "length": 9}, "memory": {"pages": 1, "most": 2}, "imports": [], "exports": [],
                "targets": [{"target": t, "bounds": "explicit", "offset": o, "length": len(c),
                             "sha256": hashlib.sha256(c).hexdigest()} for t, o, c in zip(targets, at, code)]}
    text = json.dumps({"signed": manifest(4096), "signatures": []}, sort_keys=True, separators=(",", ":")).encode()
    file = b"LEDGELWM" + (1).to_bytes(4, "little") + len(text).to_bytes(4, "little") + text
    file += bytes(4096 - len(file)) + b"".join(c + bytes(28) for c in code)
    whole = bytearray(file + hashlib.sha256(file).digest())
    if changed:
        whole[4100] ^= 1
    return bytes(whole)


def guests(r):
    """A release may bring a guest: one that is whole, for machines that there are, of a bounded size."""
    def guest(name, bytes_):
        with open(r.path(name), "wb") as f:
            f.write(bytes_)
        return r.path(name)

    def bring(version, file, code=0, *more):
        return push(r, version, code, "targets.key", "--no-compile", "--no-golden", "--guest", file, *more)
    bring("7.0.0", guest("good.lwm", lwm(["x86_64", "x86_64_v3"])))
    shown = json.loads(r.verb("show", "cls", "7.0.0", "--json"))
    file = next(f for f in shown["files"] if f["role"] == "guest")
    check("a guest is part of the version", file["path"] == "guest.lwm" and file["arch"] == "x86-64" and not file.get("level"), file)
    with open(r.path("good.lwm"), "rb") as f:
        check("and comes as it went", r.fetch(file["sha256"]) == f.read())
    bring("7.0.1", guest("v3.lwm", lwm(["x86_64_v3"])))
    file = next(f for f in json.loads(r.verb("show", "cls", "7.0.1", "--json"))["files"] if f["role"] == "guest")
    check("it says what it needs", (file["arch"], file["level"]) == ("x86-64", "avx2"), file)
    bring("7.0.2", guest("fat.lwm", lwm(["x86_64", "aarch64"])))
    for what, bytes_, code, says in (
            ("changed", lwm(["x86_64"], changed=True), 3, "SHA-256 does not fit"), ("cut", lwm(["x86_64"])[:-500], 3, "does not fit"),
            ("of another kind", b"\x00asm\x01\x00\x00\x00" * 9, 3, "no .lwm file"), ("empty", b"", 3, "no .lwm file"),
            ("for no device", lwm(["riscv64"]), 3, "no device is")):
        check(f"a guest that is {what}", says in bring("7.1.0", guest("bad.lwm", bytes_), code), what)
    big = guest("big.lwm", b"LEDGELWM")
    os.truncate(big, (64 << 20) + 1)
    check("a guest that is too large", "larger" in bring("7.1.0", big, 3) or "67108864" in bring("7.1.0", big, 3))
    check("a guest that nobody signed, where a key is asked for", "signed" in bring("7.1.0", r.path("good.lwm"), 3, "--guest-key", r.path("other.pub")))
    check("none of them stayed", "7.1.0" not in r.verb("list"))


def guest_on_a_device(r, enroll):
    """From push to the folder where the server looks for it, by the real agent."""
    here = "aarch64" if platform.machine() == "aarch64" else "x86_64"
    state, token, file = r.path("device"), r.path("enroll.token"), r.path("here.lwm")
    for name, bytes_ in ((token, enroll.encode()), (file, lwm([here]))):
        with open(name, "wb") as f:
            f.write(bytes_)
    r.verb("push", MODEL, "--name", "guided", "--version", "1", "--key", r.path("targets.key"), "--force", "--reason", "test",
           "--no-compile", "--no-golden", "--guest", file)
    r.verb("promote", "guided", "1")
    r.run(0, "agent", "sync", "--state", state, "--registry", f"http://127.0.0.1:{r.port}", "--root",
          os.path.join(r.folder, "root.json"), "--token-file", token, "--device", "guest-1")
    link = os.path.join(state, "serve", "guided.onnx")
    if not check("the device serves the model", os.path.exists(link), r.run(0, "agent", "status", "--state", state)):
        return
    beside = os.path.join(os.path.dirname(os.path.realpath(link)), "guest.lwm")
    with open(beside, "rb") as f, open(file, "rb") as pushed:
        check("its guest is beside it, as it was pushed", f.read() == pushed.read())
    check("and can be asked what it is", here in r.run(0, "wasm", "info", beside))


def old_clients(r):
    """The two calls, by clients that know these keys alone."""
    answer = r.ask("GET", "/api/models/latest?device_id=old-1", token=None)
    check("latest, before there is a model", answer.code == 404 and "error" in answer.json, answer)
    r.verb("promote", "cls", "1.0.0", "--reason", "first")
    answer = r.ask("GET", "/api/models/latest?device_id=old-1", token=None)
    check("latest has its keys", answer.code == 200 and
          {"model_id", "version", "download_url", "sha256"} <= set(answer.json), answer)
    url = answer.json["download_url"]
    with urllib.request.urlopen(url) as f:
        bytes_ = f.read()
    check("what it downloads has the hash", hashlib.sha256(bytes_).hexdigest() == answer.json["sha256"])
    body = {"device_id": "old-1", "records": [
        {"device_id": "old-1", "timestamp": time.time(), "request_hash": "d41d8cd9", "latency_ms": 12.5,
         "model_version": "1.0.0", "confidence": 0.93, "class_id": 3},
        {"device_id": "old-1", "timestamp": "2026-11-22T18:00:00.123456+00:00", "request_hash": "d41d8cd9",
         "latency_ms": 7, "model_version": "1.0.0", "confidence": 1, "class_id": 0}]}
    before = total(r)
    check("ingest", r.ask("POST", "/api/ingest", body, token=None).code == 200)
    check("ingest again, as after a lost answer", r.ask("POST", "/api/ingest", body, token=None).code == 200)
    check("counted once", total(r) == before + 2, total(r))
    for bad in ({"device_id": "old-1", "records": [{"latency_ms": "fast"}]}, {"records": []}, [],
                {"device_id": "../x", "records": []}, {"device_id": "old-1", "records": {}},
                {"device_id": "old-1", "records": [{"confidence": 93}]},
                {"device_id": "old-1", "records": [{"timestamp": "yesterday"}]}):
        answer = r.ask("POST", "/api/ingest", bad, token=None)
        check(f"ingest of {bad} is refused with a sentence", answer.code == 400 and answer.json["error"], answer)
    check("no device id", r.ask("GET", "/api/models/latest", token=None).code == 400)


def total(r):
    return r.ask("GET", "/v1/admin/overview").json["counts"]["records"]


def tokens(r):
    check("without a token", r.ask("POST", "/v1/poll", {"device_id": "x"}, token=None).code == 401)
    check("with a wrong one", r.ask("GET", "/v1/admin/models", token="ledge_" + "0" * 64).code == 401)
    with open(r.path("long.token"), "w") as f:
        f.write("x" * 194)
    told = r.verb("list", "--token-file", r.path("long.token"), code=2)
    check("one that is too long is not cut", "up to 193 characters" in told, told)
    new = r.ask("POST", "/v1/admin/tokens", {"role": "device", "device": "cam-1"}).json
    check("a device polls", r.poll("cam-1", new["token"]).code == 200)
    answer = r.poll("cam-2", new["token"])
    check("but not as another", answer.code == 403 and "cam-1" in answer.json["error"], answer)
    check("nor asks the admin API", r.ask("GET", "/v1/admin/models", token=new["token"]).code == 403)
    viewer = r.ask("POST", "/v1/admin/tokens", {"role": "viewer"}).json["token"]
    check("a viewer looks", r.ask("GET", "/v1/admin/models", token=viewer).code == 200)
    check("and does not touch", r.ask("POST", "/v1/admin/models/cls/promote", {"version": "1.1.0"}, viewer).code == 403)
    check("nor sees tokens", r.ask("GET", "/v1/admin/tokens", token=viewer).code == 403)
    publisher = r.ask("POST", "/v1/admin/tokens", {"role": "publisher"}).json["token"]
    check("a publisher does not promote",
          r.ask("POST", "/v1/admin/models/cls/promote", {"version": "1.1.0"}, publisher).code == 403)
    r.verb("token", "revoke", new["id"], "--reason", "lost")
    check("a revoked token is none", r.poll("cam-1", new["token"]).code == 401)
    r.verb("devices", "cam-1", "--state", "blocked", "--reason", "stolen")
    enroll = r.ask("POST", "/v1/admin/tokens", {"role": "device", "note": "enrolment"}).json["token"]
    answer = r.poll("cam-1", enroll)
    check("a blocked device is refused", answer.code == 403 and "blocked" in answer.json["error"], answer)
    check("a new one enrolls", r.poll("cam-3", enroll).code == 200)
    if not r.database:
        with open(os.path.join(r.folder, "registry.db"), "rb") as f:
            check("no token lies in the database", new["token"].encode() not in f.read())
    for bad in ({"role": "king"}, {}, {"role": "viewer", "device": "x"}, {"role": "device", "device": "a b"}):
        check(f"token {bad}", r.ask("POST", "/v1/admin/tokens", bad).code == 400)
    return enroll


def polls(r, enroll):
    first = r.poll("cam-10", enroll, labels={"site": "berlin"})
    model = first.json["models"][0]
    check("a poll names the champion", (model["name"], model["version"]) == ("cls", "1.0.0"), first)
    check("and its signed target", model["release"] == "models/cls/1.0.0/release.json")
    tag = first.headers["etag"]
    check("the tag is the answer's", tag == f'"{first.json["etag"]}"')
    again = r.poll("cam-10", enroll, tag=tag, labels={"site": "berlin"})
    check("nothing new is 304", again.code == 304 and not again.body and again.headers["etag"] == tag, again)
    r.verb("groups", "set", "berlin", "--label", "site=berlin", "--reason", "test")
    r.verb("groups", "assign", "berlin", "cls", "--alias", "berlin", "--fallback", "cls=1.0.0", "--when", "idle")
    r.verb("promote", "cls", "1.1.0", "--alias", "berlin")
    moved = r.poll("cam-10", enroll, tag=tag, labels={"site": "berlin"})
    check("a group of higher priority decides", moved.code == 200 and moved.json["models"][0]["version"] == "1.1.0" and
          moved.json["models"][0]["when"] == "idle" and moved.json["models"][0]["fallback"]["version"] == "1.0.0", moved)
    check("others stay", r.poll("cam-11", enroll, labels={"site": "rome"}).json["models"][0]["version"] == "1.0.0")
    r.verb("devices", "cam-11", "--label", "site=berlin")
    check("labels set by hand win",
          r.poll("cam-11", enroll, labels={"site": "rome"}).json["models"][0]["version"] == "1.1.0")
    gone = r.poll("cam-11", enroll, models=[running("1.0.0", name="dead")])
    check("what nobody asks for is retired", gone.json["retire"] == [{"name": "dead", "version": "1.0.0"}], gone)
    r.verb("groups", "drop", "berlin")
    for bad in (b"", b"{", b"[]", b'{"device_id":""}', b'{"device_id":"a/../b"}', b'{"device_id":"x","models":[{}]}',
                b'{"device_id":"x","models":{}}', b'{"device_id":"x","clock":"now"}', b"\xff\xfe", b'{"device_id":"x"}x'):
        answer = r.ask("POST", "/v1/poll", bad, enroll)
        check(f"poll {bad[:40]!r}", answer.code == 400 and answer.json["error"], answer)
    check("a poll too large", r.ask("POST", "/v1/poll", b" " * 66000, enroll).code == 413)
    codes = [r.poll("greedy", enroll).code for _ in range(60)]
    check("who polls too often waits", 429 in codes and codes[0] == 200, codes)


def telemetry(r, enroll):
    before = total(r)
    records = [record(i) for i in range(100)]
    first = r.batch("cam-20", "cam-20-a:1", records, enroll)
    check("a batch is stored", first.code == 200 and first.json == {"batch": "cam-20-a:1", "stored": 100, "duplicate": False}, first)
    again = r.batch("cam-20", "cam-20-a:1", records, enroll)
    check("and once", again.code == 200 and again.json["duplicate"] and again.json["stored"] == 0, again)
    check("later ones may come earlier", r.batch("cam-20", "cam-20-a:3", records, enroll, False).json["stored"] == 100)
    check("and the other way", r.batch("cam-20", "cam-20-a:2", records, enroll).json["stored"] == 100)
    check("each is counted once", total(r) == before + 300, total(r))
    rows = r.ask("GET", "/v1/admin/rollups").json["rollups"]
    mine = sum(x["records"] for x in rows if x["model"] == "cls")
    check("the figures say the same", mine == before + 300, rows)
    check("latency is about what it was", all(800 < x["p50_us"] < 13000 for x in rows), rows)
    check("no records, and alerts", r.batch("cam-20", "cam-20-a:4", [], enroll, alerts=[
        {"seq": 1, "timestamp": 1, "kind": "drift", "severity": "high", "model": "cls", "version": "1.0.0",
         "message": "<script>alert(1)</script>"}]).code == 200)
    events = r.ask("GET", "/v1/admin/events").json["events"]
    check("the alert is there", events and events[0]["kind"] == "drift" and events[0]["device"] == "cam-20", events)
    body = {"device_id": "cam-20", "batch": "cam-20-e:1", "clock_us": 1, "events": [
        {"seq": 1, "timestamp": 1, "kind": "fell_back", "severity": "high", "model": "cls", "version": "1.1.0", "message": "m"}]}
    check("an event", r.ask("POST", "/v1/events", body, enroll).code == 200)
    check("is in the log", "device.fell_back" in r.verb("audit"))
    good = json.dumps({"device_id": "cam-20", "batch": "cam-20-x:1", "records": [record(1)]}).encode()
    for name, bad, headers, code in (
            ("cut", zlib.compress(good)[:-5], {"Content-Encoding": "deflate"}, 400),
            ("a bomb", zlib.compress(b" " * (64 << 20)), {"Content-Encoding": "deflate"}, 413),
            ("too large", b" " * (2 << 20), {}, 413),
            ("gzip", good, {"Content-Encoding": "gzip"}, 400),
            ("wrong types", good.replace(b'"latency_us": ', b'"latency_us": "x",  "y": '), {}, 400),
            ("no batch id", good.replace(b"batch", b"hctab"), {}, 400),
            ("not UTF-8", good.replace(b"cls", b"\xff\xff\xff"), {}, 400),
            ("a text for a list", b'{"device_id":"a","batch":"b","records":"c"}', {}, 400),
            ("rubbish behind", good + b"{}", {}, 400)):
        try:
            answer = r.ask("POST", "/v1/telemetry", bad, enroll, headers)
        except ConnectionResetError:
            check(f"{name}: only what is too large is cut off", len(bad) > 1 << 20)
            continue
        check(f"{name}: {code} and a sentence", answer.code == code and answer.json["error"], answer)
    check("nothing of that was counted", total(r) == before + 300, total(r))
    check("a clock in 1970 is no harm", r.batch("cam-20", "cam-20-a:9", [record(1, timestamp=5)], enroll,
                                                clock_us=6).json["stored"] == 1)


def fleet(r, enroll, version, share):
    """Forty devices poll; those told to run `version` report what `share` says of it."""
    told = 0
    for i in range(40):
        name = f"fleet-{i}"
        answer = r.poll(name, enroll, models=fleet.state.get(name, [running("1.0.0")]))
        model = answer.json["models"][0]
        told += model["version"] == version
        fleet.state[name] = [share() if model["version"] == version else running(model["version"])]
    return told


fleet.state = {}


def plan(r, **more):
    path = r.path("plan.json")
    with open(path, "w") as f:
        json.dump({"steps": [{"percent": 5}, {"percent": 50}, {"percent": 100}], "silent_s": 3600,
                   "gates": {"min_samples": 50, "soak_s": 1, "max_failures": 0}, "patience_s": 60, **more}, f)
    return path


def state_of(r, number):
    return r.ask("GET", f"/v1/admin/rollouts/{number}").json


def rollouts(r, enroll):
    fleet(r, enroll, "", lambda: None)
    devices = r.ask("GET", "/v1/admin/overview").json["counts"]["devices"]
    most = max(1, devices * 5 // 100)
    # A bad version: a first few devices see it, and all go back by themselves.
    r.verb("rollout", "start", "cls", "1.1.0", "--plan", plan(r), "--reason", "try")
    check("one at a time", "on its way" in r.verb("rollout", "start", "cls", "2.0.0", code=1))
    r.verb("promote", "cls", "2.0.0", code=1)
    r.verb("retire", "cls", "1.1.0", code=1)
    told = fleet(r, enroll, "1.1.0", lambda: running("1.1.0", 100, 50))
    check("no more than five in a hundred", told <= most, (told, most))
    number = json.loads(r.verb("rollout", "--json"))["rollouts"][0]["id"]
    if not told:  # the cohort's device is none of these forty
        r.verb("rollout", "rollback", number)
    else:
        told = fleet(r, enroll, "1.1.0", lambda: running("1.1.0", 100, 50))
        r.wait("a bad version is rolled back by itself", lambda: state_of(r, number)["state"] == "rolled_back")
        check("and why is said", "error_rate" in state_of(r, number)["reason"], state_of(r, number))
        check("in the log too", "rollout.rollback" in r.verb("audit"))
    check("the next poll takes it back", fleet(r, enroll, "1.1.0", lambda: None) == 0)
    # A good one goes through every step, and becomes the champion.
    r.verb("rollout", "start", "cls", "1.1.0", "--step", "60", "--step", "100", "--plan", plan(r))
    number = json.loads(r.verb("rollout", "--json"))["rollouts"][0]["id"]
    told = fleet(r, enroll, "1.1.0", lambda: running("1.1.0"))
    check("a first part is told", 5 < told < 40, told)
    r.verb("rollout", "pause", number, "--reason", "lunch")
    check("a paused one stays", state_of(r, number)["state"] == "paused")
    check("it takes no pause twice", "takes resume" in r.verb("rollout", "pause", number, code=1))
    r.verb("rollout", "resume", number)

    def done():
        fleet(r, enroll, "1.1.0", lambda: running("1.1.0"))
        return state_of(r, number)["state"] == "done"
    # Other devices of this test are in the cohort and never report: patience, not for ever.
    for _ in range(3):
        if state_of(r, number)["state"] == "done":
            break
        time.sleep(1.5)
        fleet(r, enroll, "1.1.0", lambda: running("1.1.0"))
        if state_of(r, number)["state"] == "running":
            r.verb("rollout", "advance", number, "--reason", "the rest is silent")
    r.wait("it is done", done)
    check("and the champion", fleet(r, enroll, "1.1.0", lambda: running("1.1.0")) == 40)
    for bad in ({"steps": []}, {"gates": {"max_eror_rate": 1}}, {"when": "soon"}):
        answer = r.ask("POST", "/v1/admin/rollouts", {"model": "cls", "version": "2.0.0", "plan": bad})
        check(f"plan {bad}", answer.code == 400 and answer.json["error"], answer)
    # A device that falls back to the old version failed the new one.
    answer = r.ask("POST", "/v1/admin/rollouts", {"model": "cls", "version": "2.0.0", "plan": {
        "steps": [{"percent": 100}], "gates": {"soak_s": 600, "max_failures": 0}}})
    fallen = answer.json["id"]
    r.poll("fleet-2", enroll, models=[running("1.1.0", state="fallback"), running("2.0.0", 0, state="failed")])
    r.wait("a fall back is a failure", lambda: state_of(r, fallen)["state"] == "rolled_back")
    check("of one device", "failures refused in step 1: 1 " in state_of(r, fallen)["reason"], state_of(r, fallen))
    # In the shadow, the old version answers on.
    r.ask("POST", "/v1/admin/rollouts", {"model": "cls", "version": "2.0.0", "plan": {
        "steps": [{"percent": 100, "shadow": True}, {"percent": 100}], "gates": {"soak_s": 600}}})
    models = r.poll("fleet-1", enroll).json["models"]
    check("a shadow stands beside", [(m["version"], m["shadow"]) for m in models] == [("1.1.0", False), ("2.0.0", True)], models)
    number = json.loads(r.verb("rollout", "--json"))["rollouts"][0]["id"]
    r.verb("rollout", "rollback", number, "--reason", "enough")


def cleaning(r):
    r.verb("retire", "cls", "2.0.0", "--reason", "old")
    check("a champion is not retired", "promote another" in r.verb("retire", "cls", "1.1.0", code=1))
    check("young files stay", "0 files" in r.verb("gc"))
    out = r.verb("gc", "--grace", "0", "--dry-run")
    check("what would go", "would go" in out and not out.startswith("0 files"), out)
    r.verb("gc", "--grace", "0", "--reason", "room")
    shown = json.loads(r.verb("show", "cls", "1.1.0", "--json"))
    for f in shown["files"]:
        check("what is needed stays", len(r.fetch(f["sha256"])) == f["length"])
    push(r, "3.0.0")
    targets = r.ask("GET", "/v1/tuf/targets.json", token=None).json["signed"]["targets"]
    check("what was retired leaves the targets", "models/cls/2.0.0/release.json" not in targets and
          "models/cls/3.0.0/release.json" in targets)


def strays(r):
    """Files that came to their place while the registry was killed before it wrote so down."""
    def lay(bytes_, age):
        sha = hashlib.sha256(bytes_).hexdigest()
        path = os.path.join(r.folder, "blobs", sha[:2], sha)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(bytes_)
        os.utime(path, (time.time() - age,) * 2)
        return sha, path
    r.verb("gc", "--grace", "0")
    old, young, again = lay(b"a stray", 90000), lay(b"an upload", 80000), lay(b"one that comes again", 90000)
    other = os.path.join(os.path.dirname(old[1]), "README")
    with open(other, "w") as f:
        f.write("not ours")
    os.utime(other, (1, 1))
    known = json.loads(r.verb("show", "cls", "1.1.0", "--json"))["files"][0]["sha256"]
    needed = os.path.join(r.folder, "blobs", known[:2], known)
    os.utime(needed, (time.time() - 90000,) * 2)
    check("it comes again", r.ask("PUT", "/v1/admin/blobs/" + again[0], b"one that comes again").code == 201)
    os.utime(again[1], (time.time() - 90000,) * 2)
    said = json.loads(r.verb("gc", "--dry-run", "--json"))["removed"]
    check("a stray would go", said == [{"sha256": old[0], "length": 7}], said)
    check("and is still there", os.path.exists(old[1]))
    said = json.loads(r.verb("gc", "--json"))
    check("it goes", said["removed"] == [{"sha256": old[0], "length": 7}] and said["bytes"] == 7 and
          not os.path.exists(old[1]), said)
    check("what may still be an upload's stays, whatever the grace", json.loads(r.verb("gc", "--grace", "0", "--json"))["removed"] ==
          [{"sha256": again[0], "length": 20}] and os.path.exists(young[1]))
    check("and what is needed, and what is not ours", os.path.exists(needed) and os.path.exists(other))
    os.remove(young[1])


def roots(r):
    r.run(0, "key", "new", r.path("root2"))
    root = os.path.join(r.folder, "root.json")
    r.verb("root", root, "--key", r.path("root2.key"), "--root-key", r.path("root2.pub"), "-o", r.path("bad.json"), code=3)
    r.verb("root", root, "--key", r.path("root.key"), "--key", r.path("root2.key"), "--root-key", r.path("root2.pub"),
           "-o", r.path("2.root.json"), "--publish", "--reason", "rotation")
    check("the next root is there", r.ask("GET", "/v1/tuf/2.root.json", token=None).json["signed"]["version"] == 2)
    check("the old one may not follow", r.ask("POST", "/v1/admin/root", {"root": open(root).read()}).code == 409)
    check("the old key signs no more", r.verb("root", r.path("2.root.json"), "--key", r.path("root.key"), "--publish", code=3))


def hostile(r):
    for path in ("/v1/admin/nothing", "/nothing", "/v1/admin/models/a/b/c/d", "/v1/admin/rollouts/x"):
        check(f"GET {path}", r.ask("GET", path).code in (400, 404))
    check("another method", r.ask("DELETE", "/v1/poll").code == 405)
    check("and in the admin API", r.ask("PUT", "/v1/admin/models", b"{}").code == 405)
    deep = b"[" * 100000
    for body in (b"{", b"[]", b'{"version":1}', deep, b'{"a":1,"a":2}', b"\0\0"):
        answer = r.ask("POST", "/v1/admin/models/cls/promote", body)
        check(f"promote {body[:20]!r}", answer.code in (400, 413) and answer.json["error"], answer)
    quote = "x'; DROP TABLE devices; --"
    answer = r.ask("GET", "/v1/admin/rollups?group=" + quote.replace(" ", "%20").replace("'", "%27").replace(";", "%3B"))
    check("a group's name is no statement", answer.code == 200 and answer.json["rollups"] == [], answer)
    page = r.ask("GET", "/", token=None)
    check("the page is there, and can load nothing else", page.code == 200 and
          "default-src 'self'" in page.headers["content-security-policy"])
    metrics = r.ask("GET", "/metrics").body.decode()
    check("metrics", "ledge_registry_records_total" in metrics and metrics.startswith("# HELP"), metrics[:100])


def log(r):
    check("the chain is whole", "whole" in r.verb("audit", "--verify"))
    r.stop()
    db = sqlite3.connect(os.path.join(r.folder, "registry.db"))
    try:
        db.execute("UPDATE audit SET reason = 'other' WHERE id = 3")
        check("the log takes no change", False)
    except sqlite3.DatabaseError as e:
        check("the log takes no change", "only added to" in str(e), str(e))
    db.execute("DROP TRIGGER audit_stays")
    db.execute("UPDATE audit SET reason = 'other' WHERE id = 3")
    db.commit()
    db.close()
    r.start()
    check("who changes it all the same is seen", "entry 3" in r.verb("audit", "--verify", code=3))


def full_disk(r, enroll):
    """A database that cannot grow: 503 with what to do, nothing lost, nothing counted."""
    before = total(r)
    r.stop()
    limit = os.path.getsize(os.path.join(r.folder, "registry.db")) // 1024 + 200
    r.ledge_before, r.ledge = r.ledge, r.path("limited.sh")
    with open(r.ledge, "w") as f:
        f.write(f"#!/bin/bash\nulimit -f {limit}\nexec {r.ledge_before} \"$@\"\n")
    os.chmod(r.ledge, 0o755)
    r.start()
    stored = 0
    codes = set()
    for i in range(400):
        answer = r.batch(f"full-{i}", f"full-{i}:1", [record(k) for k in range(500)], enroll)
        codes.add(answer.code)
        stored += answer.json.get("stored", 0) if answer.code == 200 else 0
        if answer.code == 503:
            check("it says when to come again", answer.retry is not None)
            break
    check("a full disk is 503", 503 in codes, codes)
    r.stop()
    r.ledge = r.ledge_before
    r.start()
    check("what was acknowledged is there, and no more", total(r) == before + stored, (total(r), before, stored))


def raw(r):
    """With --keep-raw, batches end up in the files as they came."""
    enroll = r.ask("POST", "/v1/admin/tokens", {"role": "device"}).json["token"]
    for i in range(5):
        r.batch("cam", f"cam:{i}", [record(i)], enroll)
    db = sqlite3.connect(os.path.join(r.folder, "registry.db"))
    check("raw batches wait", db.execute("SELECT COUNT(*) FROM raw_pending").fetchone()[0] == 5)
    db.execute("UPDATE raw_pending SET received = received - 1000")
    db.commit()
    r.wait("and move to the files", lambda: r.ask("GET", "/v1/admin/raw").json["segments"])
    segment = r.ask("GET", "/v1/admin/raw").json["segments"][0]
    body = r.ask("GET", "/v1/blobs/" + segment["sha256"]).body
    check("all of them, as they came", segment["batches"] == 5 and body.count(b'"device_id": "cam"') == 5, body[:300])
    check("and wait no more", db.execute("SELECT COUNT(*) FROM raw_pending").fetchone()[0] == 0)
    db.close()


def concurrent(r, enroll):
    """Many at once: every acknowledged record is counted, each batch once, though all send all."""
    before = total(r)
    sent = set()

    def work(k):
        c = http.client.HTTPConnection("127.0.0.1", r.port, timeout=30)
        for i in range(40):
            body = json.dumps({"device_id": f"many-{k % 4}", "batch": f"many-{k % 4}:{i}",
                               "records": [record(n) for n in range(10)]})
            answer = r.ask("POST", "/v1/telemetry", body, enroll, connection=c)
            if answer.code == 200:
                sent.add((k % 4, i))
    threads = [threading.Thread(target=work, args=(k,)) for k in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check("as many as there are batches", total(r) == before + 10 * len(sent), (total(r), before, len(sent)))
    check("and none was refused for long", len(sent) > 100, len(sent))


def everything(r):
    publishing(r)
    files(r)
    old_clients(r)
    enroll = tokens(r)
    polls(r, enroll)
    telemetry(r, enroll)
    concurrent(r, enroll)
    rollouts(r, enroll)
    guests(r)
    guest_on_a_device(r, enroll)
    cleaning(r)
    roots(r)
    hostile(r)
    check("the chain is whole", "whole" in r.verb("audit", "--verify"))
    return enroll


def main():
    # An empty database of PostgreSQL, and a place for files: what is of SQLite or a folder is left out.
    database, blobs = os.environ.get("LEDGE_TEST_POSTGRES"), os.environ.get("LEDGE_TEST_BLOBS")
    if database or blobs:
        with Registry(LEDGE, "--open-api", "--interval", "1", database=database, blobs=blobs) as r:
            everything(r)
        return finish()
    with Registry(LEDGE, "--open-api", "--interval", "1") as r:
        enroll = everything(r)
        strays(r)
        full_disk(r, enroll)
        log(r)
    with Registry(LEDGE, "--keep-raw") as r:
        raw(r)
    return finish()


sys.exit(main())
