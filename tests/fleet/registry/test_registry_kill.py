#!/usr/bin/env python3
"""ledge registry killed at random moments: what it acknowledged is there, once.

Usage: test_registry_kill.py LEDGE SOURCE_ROOT [ROUNDS]. Devices send batches and files all the
while; the server is killed with SIGKILL after a random time and started again. In the end every
acknowledged batch is stored, none is stored twice, every file that was acknowledged is whole, and gc finds those that
nobody came to know of. Ended by SIGTERM instead it leaves no request without its answer."""
import hashlib
import http.client
import itertools
import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.path.abspath(sys.argv[2]), "tests")]
from keep_asking import Crowd
from registry_rig import Registry, check, finish, record

LEDGE = sys.argv[1]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 12
SENDERS, RECORDS = 4, 20
acknowledged, sent, files, said_twice = set(), set(), set(), 0
stop = threading.Event()
lock = threading.Lock()


def sender(r, token, k):
    """Sends batch after batch; each until it is answered, as devices do."""
    global said_twice
    serial = 0
    while not stop.is_set():
        batch = f"killed-{k}:{serial}"
        body = json.dumps({"device_id": f"killed-{k}", "batch": batch,
                           "records": [record(i) for i in range(RECORDS)]})
        try:
            with lock:
                sent.add(batch)
            answer = r.ask("POST", "/v1/telemetry", body, token)
            if answer.code == 200:
                with lock:
                    acknowledged.add(batch)
                    said_twice += answer.json["duplicate"]
                serial += 1
            elif answer.code not in (503, 429):
                check("only busy answers", False, answer)
        except (OSError, http.client.HTTPException):
            time.sleep(0.002)


def uploader(r):
    while not stop.is_set():
        bytes_ = os.urandom(random.choice((10, 1000, 300000)))
        hash_ = hashlib.sha256(bytes_).hexdigest()
        try:
            if r.ask("PUT", "/v1/admin/blobs/" + hash_, bytes_).code == 201:
                with lock:
                    files.add(hash_)
        except (OSError, http.client.HTTPException):
            time.sleep(0.002)


def ended_while_asked():
    """SIGTERM: senders that keep their connections get every answer; what was acknowledged is there."""
    with Registry(LEDGE, "--polls", "0") as r:
        token = r.ask("POST", "/v1/admin/tokens", {"role": "device"}).json["token"]
        serial, acknowledged = itertools.count(), 0

        def batch():
            n = next(serial)
            return ("POST", "/v1/telemetry", json.dumps({"device_id": f"d{n % 8}", "batch": f"d{n % 8}:{n}", "records": [record(1)]}),
                    {"Authorization": "Bearer " + token})
        for _ in range(5):
            crowd = Crowd(8, r.port, batch)
            time.sleep(random.uniform(0.05, 0.3))
            r.stop()
            crowd.wait()
            check("only busy answers besides", set(crowd.codes) <= {200, 503} and crowd.codes[200] > 0, crowd.codes)
            check("they were told of the end", crowd.last > 0, crowd.codes)
            check("none was cut off", crowd.lost == [], crowd.lost)
            acknowledged += crowd.codes[200]
            r.start()
        stored = sum(x["records"] for x in r.ask("GET", "/v1/admin/rollups").json["rollups"])
        check("what was acknowledged is stored", stored == acknowledged, (stored, acknowledged))


def main():
    random.seed(int(os.environ.get("LEDGE_SEED", time.time())))
    with Registry(LEDGE, "--polls", "0") as r:
        token = r.ask("POST", "/v1/admin/tokens", {"role": "device"}).json["token"]
        port = r.port
        threads = [threading.Thread(target=sender, args=(r, token, k)) for k in range(SENDERS)]
        threads.append(threading.Thread(target=uploader, args=(r,)))
        for t in threads:
            t.start()
        for _ in range(ROUNDS):
            time.sleep(random.uniform(0.01, 0.4))
            r.stop(signal.SIGKILL)
            r.start(port)
        time.sleep(0.3)
        stop.set()
        for t in threads:
            t.join()
        check("batches were acknowledged", len(acknowledged) > ROUNDS, len(acknowledged))
        for hash_ in files:
            check("a file is whole", hashlib.sha256(r.fetch(hash_)).hexdigest() == hash_)
        # A day later what was killed between a file and its row goes, and nothing else.
        folder = os.path.join(r.folder, "blobs")
        for d, _, names in os.walk(folder):
            for f in names:
                os.utime(os.path.join(d, f), (time.time() - 90000,) * 2)
        strays = {x["sha256"] for x in json.loads(r.verb("gc", "--json"))["removed"]}
        check("no acknowledged file goes", not strays & files, strays & files)
        there = {f for _, _, names in os.walk(folder) for f in names}
        counted = sum(x["records"] for x in r.ask("GET", "/v1/admin/rollups").json["rollups"])
        check("the chain of the log is whole", "whole" in r.verb("audit", "--verify"))
        r.stop()
        db = sqlite3.connect(os.path.join(r.folder, "registry.db"))
        check("the database is sound", db.execute("PRAGMA integrity_check").fetchone()[0] == "ok")
        stored = {row[0] for row in db.execute("SELECT id FROM batches")}
        rows = db.execute("SELECT COUNT(*) FROM telemetry").fetchone()[0]
        check("no acknowledged batch is lost", acknowledged <= stored, len(acknowledged - stored))
        check("nothing came of nothing", stored <= sent, len(stored - sent))
        check("each record is stored once", rows == len(stored) * RECORDS, (rows, len(stored)))
        check("and counted once", counted == rows, (counted, rows))
        known = {row[0] for row in db.execute("SELECT sha256 FROM blobs")}
        check("the files that are there are those that are known", there == known, there ^ known)
        db.close()
        half = [f for d, _, names in os.walk(folder) for f in names if "incoming" not in d
                and hashlib.sha256(open(os.path.join(d, f), "rb").read()).hexdigest() != f]
        check("no half file has a name", not half, half)
        print(f"{ROUNDS} kills, {len(acknowledged)} batches acknowledged, {said_twice} of them sent again, {len(files)} files, {len(strays)} strays")
    ended_while_asked()
    return finish()


sys.exit(main())
