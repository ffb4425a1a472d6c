#!/usr/bin/env python3
"""ledge registry whose power is cut, that is killed, and whose disk is full, at random operations.

Usage: test_registry_powercut.py LEDGE SOURCE_ROOT POWER_TOOL POWER_SHIM [ROUNDS [SEED]]

Devices send batches, files are uploaded, versions are pushed and rollouts started, paused, resumed and
rolled back, while the server runs on the disk of tests/powercut. After each round what it acknowledged is
asked for: versions with all their files, the chain of signed metadata, rollouts in the state last
confirmed, the whole log. In the end every acknowledged batch is stored, and counted, once."""
import hashlib
import http.client
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import registry_rig
from registry_rig import Registry, check, finish, record, running

LEDGE, ROOT, TOOL, SHIM = sys.argv[1:5]
ROUNDS = int(sys.argv[5]) if len(sys.argv) > 5 else 20
SEED = int(sys.argv[6]) if len(sys.argv) > 6 else 5
MODEL = os.path.join(ROOT, "tests", "data", "onnx", "classifier.onnx")
SENDERS, RECORDS, DEVICES = 3, 20, 10
AFTER = {"pause": "paused", "resume": "running", "rollback": "rolled_back", "advance": "running"}


class World:
    """What was asked for, and what the registry said to it."""

    def __init__(self):
        self.acknowledged, self.sent, self.files = set(), set(), set()
        self.versions, self.maybe = ["1.0.0"], set()
        self.rollouts = {}  # id: the states that it may be in
        self.steps = {}     # id of one that goes by itself: the furthest step that was seen
        self.at = {}        # id of another one: the steps that it may be in
        self.runs = ["1.0.0"] * DEVICES
        self.targets = 0    # the newest version of the metadata that was seen
        self.stop, self.lock, self.serial = threading.Event(), threading.Lock(), [0] * SENDERS
        self.pushes = self.commands = 0


def ask(r, w, *words):
    """An answer; None: the registry went away, or there is no room."""
    try:
        a = r.ask(*words)
    except (OSError, http.client.HTTPException):
        return None
    if a.code in (503, 429):
        time.sleep(0.002)
        return None
    return a


def sender(r, w, token, k):
    while not w.stop.is_set():
        batch = f"cut-{k}:{w.serial[k]}"
        body = json.dumps({"device_id": f"cut-{k}", "batch": batch, "records": [record(i) for i in range(RECORDS)]})
        w.sent.add(batch)
        a = ask(r, w, "POST", "/v1/telemetry", body, token)
        if a and check("a batch is taken", a.code == 200, a):
            w.acknowledged.add(batch)
            w.serial[k] += 1
        time.sleep(random.uniform(0, 0.02))  # the others shall come to something too


def uploader(r, w):
    while not w.stop.is_set():
        bytes_ = os.urandom(random.choice((0, 10, 1000, 200000)))
        hash_ = hashlib.sha256(bytes_).hexdigest()
        a = ask(r, w, "PUT", "/v1/admin/blobs/" + hash_, bytes_)
        if a and check("a file is taken", a.code == 201, a):
            w.files.add(hash_)
        time.sleep(0.005)


def poller(r, w, token):
    """Devices that run what they are told, and say so: rollouts go on by that."""
    while not w.stop.is_set():
        for k in range(DEVICES):
            a = ask(r, w, "POST", "/v1/poll", {
                "device_id": f"roll-{k}", "agent": "test", "platform": {"arch": "x86-64", "level": "avx2", "cores": 2},
                "clock": int(time.time()), "models": [running(w.runs[k])]}, token)
            if a and check("a poll is answered", a.code == 200, a) and a.json["models"]:
                w.runs[k] = a.json["models"][0]["version"]
            time.sleep(0.005)


def push(r, w):
    """By the command line, so that the whole of a push may be cut in two."""
    version = f"1.{w.pushes}.1"
    w.pushes += 1
    w.maybe.add(version)
    done = subprocess.run(
        [LEDGE, "registry", "push", MODEL, "--name", "cls", "--version", version, "--key", r.path("targets.key"),
         "--force", "--reason", "test", "--no-compile", "--no-golden"], capture_output=True, text=True,
        env=dict(os.environ, LEDGE_REGISTRY_TOKEN=r.token, LEDGE_REGISTRY=f"http://127.0.0.1:{r.port}"))
    if done.returncode == 0:
        w.versions.append(version)
    return version if done.returncode == 0 else None


def roll_by_itself(r, w, version):
    """A rollout whose steps devices' reports decide; it may go on for several boots."""
    a = ask(r, w, "POST", "/v1/admin/rollouts", {"model": "cls", "version": version, "plan": {
        "steps": [{"percent": p} for p in (10, 30, 50, 80, 100)], "gates": {"soak_s": 0, "max_p90_ratio": None}}})
    if a and a.code == 200:
        w.steps[a.json["id"]] = 0
        w.rollouts[a.json["id"]] = {"running", "paused", "done", "rolled_back"}


def roll(r, w, version):
    """A rollout of it, and what people do to one; each answer is final."""
    a = ask(r, w, "POST", "/v1/admin/rollouts", {"model": "cls", "version": version, "plan": {
        "steps": [{"percent": p} for p in (1, 5, 10, 50, 100)], "gates": {"soak_s": 86400}}})
    if not a or a.code != 200:
        return
    number = a.json["id"]
    w.rollouts[number], w.at[number] = {"running"}, {0}
    for command in ["advance", random.choice(("pause", "advance")), "resume", "advance", "pause", "rollback"]:
        if w.stop.is_set():
            return
        before = w.rollouts[number], w.at[number]
        w.rollouts[number] = before[0] | {AFTER[command]}
        if command == "advance":
            w.at[number] = before[1] | {max(before[1]) + 1}
        a = ask(r, w, "POST", f"/v1/admin/rollouts/{number}/{command}", {"reason": "test"})
        if not a:
            return
        if a.code != 200:  # as it is, it takes no such command
            w.rollouts[number], w.at[number] = before
            continue
        w.rollouts[number] = {AFTER[command]}
        w.at[number] = {max(w.at[number])}
        w.commands += 1


def operator(r, w):
    while not w.stop.is_set():
        version = push(r, w)
        a = ask(r, w, "GET", "/v1/admin/rollouts")
        for x in a.json["rollouts"] if a and a.code == 200 else []:
            if x["id"] in w.steps:
                w.steps[x["id"]] = max(w.steps[x["id"]], x["step"])
            if x["state"] in ("running", "paused") and (x["id"] not in w.steps or random.random() < 0.2):
                ask(r, w, "POST", f"/v1/admin/rollouts/{x['id']}/rollback", {"reason": "test"})
                w.rollouts[x["id"]] = w.rollouts.get(x["id"], {x["state"]}) | {"rolled_back"}
        if version:
            random.choice((roll, roll, roll_by_itself))(r, w, version)
        time.sleep(0.01)


def tool(*words):
    done = subprocess.run([TOOL, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [int(x) for x in done.stdout.split()]


def shim(control):
    return {"LD_PRELOAD": " ".join(filter(None, (os.environ.get("LD_PRELOAD"), SHIM))), "LEDGE_POWERCUT": control,
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}


def beginnings(r):
    """A registry that was just made, and said so, is there after a cut."""
    kept = r.folder
    for i in range(6):
        root, control = r.path(f"disk{i}"), r.path("init.log")
        os.mkdir(root)
        tool("new", control, os.path.realpath(root))
        tool("begin", control, 0, 0, 0)
        r.folder = os.path.join(root, "fleet")
        done = subprocess.run([LEDGE, "registry", "init", r.folder, "--root-key", r.path("root.key"), "--targets-key",
                               r.path("targets.key")], capture_output=True, text=True, env=dict(os.environ, **shim(control)))
        check("a registry is made", done.returncode == 0, done.stderr)
        tool("cut", control)
        tool("fail", control, random.randint(0, 1 << 30))
        try:
            r.start()
            r.stop()
        except RuntimeError as why:
            check("what was made is there after a cut", False, why)
    r.folder = kept


def boot(r, w, token, control, kind, port):
    """One boot, until its end."""
    first = random.choice((random.randint(1, 80), random.randint(1, 900), random.randint(1, 3000)))
    full = kind == "full"
    tool("begin", control, 0 if full else first, first if full else 0, first + random.randint(1, 400) if full else 0)
    w.stop.clear()
    threads = [threading.Thread(target=sender, args=(r, w, token, k)) for k in range(SENDERS)]
    threads += [threading.Thread(target=uploader, args=(r, w)), threading.Thread(target=operator, args=(r, w)),
                threading.Thread(target=poller, args=(r, w, token))]
    try:
        r.start(port, **shim(control))
    except RuntimeError as why:  # it was cut, or had no room, before it was up
        check("a start that finds no room says so", not full or "error" in str(why), why)
    else:
        for t in threads:
            t.start()
        gently = random.random() < 0.3
        until = time.monotonic() + random.uniform(0.2, 0.5 if gently else 1.5)
        while r.process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        if gently and r.process.poll() is None:  # closing brings the log into the database
            r.process.send_signal(signal.SIGTERM)
            try:
                r.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
    count, refused = tool("cut", control)
    r.stop(signal.SIGKILL)
    w.stop.set()
    for t in threads:
        if t.is_alive():
            t.join()
    lost = tool("fail", control, random.randint(0, 1 << 30)) if kind == "cut" else [0] * 4
    return count, refused, lost


def metadata(r, w):
    """The chain of what is signed, as a device walks it; gives what the targets list."""
    stamp = r.ask("GET", "/v1/tuf/timestamp.json", token=None).json["signed"]
    listed = stamp["meta"]["snapshot.json"]
    snapshot = r.ask("GET", f"/v1/tuf/{listed['version']}.snapshot.json", token=None)
    good = hashlib.sha256(snapshot.body).hexdigest() == listed["hashes"]["sha256"]
    listed = snapshot.json["signed"]["meta"]["targets.json"]
    targets = r.ask("GET", f"/v1/tuf/{listed['version']}.targets.json", token=None)
    good &= hashlib.sha256(targets.body).hexdigest() == listed["hashes"]["sha256"]
    check("the metadata fit together", good)
    check("their version goes forward alone", listed["version"] >= w.targets, (listed["version"], w.targets))
    w.targets = listed["version"]
    return targets.json["signed"]["targets"]


def whole(r, hash_):
    answer = r.ask("GET", "/v1/blobs/" + hash_)
    return answer.code == 200 and hashlib.sha256(answer.body).hexdigest() == hash_


def verify(r, w):
    """What was acknowledged is there, and nothing is there in half."""
    listed = {x["version"] for x in r.ask("GET", "/v1/admin/models").json["versions"] if x["model"] == "cls"}
    check("every pushed version is listed", set(w.versions) <= listed, set(w.versions) - listed)
    check("and no other", listed <= set(w.versions) | w.maybe, listed)
    targets = metadata(r, w)
    for version in w.versions[-3:] + random.sample(w.versions, min(3, len(w.versions))):
        target = targets.get(f"models/cls/{version}/release.json")
        if not check("a pushed version is signed for", target, version):
            continue
        release = r.ask("GET", "/v1/blobs/" + target["hashes"]["sha256"])
        if check("its release is whole", release.code == 200 and len(release.body) == target["length"], release):
            for f in release.json["files"]:
                check("its files are whole", whole(r, f["sha256"]), f)
    for hash_ in random.sample(sorted(w.files), min(20, len(w.files))):
        check("an uploaded file is whole", whole(r, hash_))
    states = {x["id"]: (x["state"], x["step"]) for x in r.ask("GET", "/v1/admin/rollouts?limit=1000").json["rollouts"]}
    for number, may in w.rollouts.items():
        if check("a rollout that began is there", number in states, number):
            state, step = states[number]
            check("and as it was told", state in may, (number, state, may))
            check("and in its step", step in w.at[number] if number in w.at else step >= w.steps.get(number, 0),
                  (number, state, step, w.at.get(number), w.steps.get(number)))
            if number in w.at:
                w.at[number] = {step}
            if number not in w.steps or state in ("done", "rolled_back"):
                w.rollouts[number] = {state}
    check("the chain of the log is whole", "whole" in r.verb("audit", "--verify"))


def account(r, w):
    counted = sum(x["records"] for x in r.ask("GET", "/v1/admin/rollups").json["rollups"])
    r.stop()
    db = sqlite3.connect(os.path.join(r.folder, "registry.db"))
    check("the database is sound", db.execute("PRAGMA integrity_check").fetchone()[0] == "ok")
    stored = {row[0] for row in db.execute("SELECT id FROM batches")}
    rows = db.execute("SELECT COUNT(*) FROM telemetry").fetchone()[0]
    check("no acknowledged batch is lost", w.acknowledged <= stored, len(w.acknowledged - stored))
    check("nothing came of nothing", stored <= w.sent, len(stored - w.sent))
    check("each record is stored once", rows == len(stored) * RECORDS, (rows, len(stored)))
    check("and counted once", counted == rows, (counted, rows))
    blobs = os.path.join(r.folder, "blobs")
    for hash_, in db.execute("SELECT sha256 FROM blobs"):
        path = os.path.join(blobs, hash_[:2], hash_)
        good = os.path.exists(path) and hashlib.sha256(open(path, "rb").read()).hexdigest() == hash_
        check("a file that the database knows is whole", good, hash_)
    check("every acknowledged file is known", w.files <= {x for x, in db.execute("SELECT sha256 FROM blobs")})
    db.close()


def main():
    random.seed(SEED)
    w, kinds, lost, refused = World(), {"cut": 0, "kill": 0, "full": 0}, [0] * 4, 0
    with Registry(LEDGE, "--polls", "0", "--keep-raw") as r:
        control = r.path("power.log")
        r.verb("push", MODEL, "--name", "cls", "--version", "1.0.0", "--key", r.path("targets.key"), "--force",
               "--reason", "test", "--no-compile", "--no-golden")
        r.verb("promote", "cls", "1.0.0")
        token = r.ask("POST", "/v1/admin/tokens", {"role": "device"}).json["token"]
        port = r.port
        r.stop()
        beginnings(r)
        r.start(port)
        tool("new", control, os.path.realpath(r.folder))
        for i in range(ROUNDS):
            r.stop()
            kind = ("cut", "cut", "kill", "full")[i % 4]
            _, no_room, gone = boot(r, w, token, control, kind, port)
            kinds[kind] += 1
            refused += no_room
            lost = [a + b for a, b in zip(lost, gone)]
            r.start(port)
            verify(r, w)
            if registry_rig.failures:
                print(f"round {i}, {kind}")
                break
        account(r, w)
        print(f"{kinds['cut']} cuts, {kinds['kill']} kills, {kinds['full']} full disks; {lost[1]} of {lost[0]} names and "
              f"{lost[3]} of {lost[2]} writes lost, {refused} refused")
        print(f"{len(w.acknowledged)} batches acknowledged, {len(w.files)} files, {len(w.versions)} versions pushed, "
              f""
              f"{len(w.rollouts)} rollouts with {w.commands} commands and {sum(w.steps.values())} steps by themselves")
    check("something was at stake", len(w.acknowledged) > ROUNDS and len(w.files) > ROUNDS / 2)
    return finish()


sys.exit(main())
