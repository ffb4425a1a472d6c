#!/usr/bin/env python3
"""Two registries on one PostgreSQL: what one changes the other knows, either may die, the database may go.

Usage: test_registry_many.py LEDGE SOURCE_ROOT. LEDGE_TEST_POSTGRES may name an empty database whose user may end connections.
Skipped (77) where there is none and PostgreSQL is not installed."""
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from registry_rig import Registry, check, finish, postgres, record

LEDGE, ROOT = sys.argv[1:3]
MODEL = os.path.join(ROOT, "tests", "data", "onnx", "classifier.onnx")
acknowledged, stop, lock = set(), threading.Event(), threading.Lock()


def cut_all(database):
    """Ends every connection but its own, in the middle of whatever it does."""
    subprocess.run(["psql", "-qAt", database, "-c", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"], capture_output=True)


def sender(both, token, k):
    serial, turn = 0, k
    while not stop.is_set():
        body = json.dumps({"device_id": f"many-{k}", "batch": f"many-{k}:{serial}", "records": [record(i) for i in range(10)]})
        turn += 1  # now one registry, now the other; a batch goes on until one of them says yes
        try:
            answer = both[turn % 2].ask("POST", "/v1/telemetry", body, token)
            if answer.code == 200:
                with lock:
                    acknowledged.add(f"many-{k}:{serial}")
                serial += 1
            elif answer.code != 503:
                check("only busy answers", False, answer)
        except (OSError, http.client.HTTPException):
            time.sleep(0.002)


def second_of(first):
    """Another process on a copy of the folder: here the folder itself."""
    r = Registry.__new__(Registry)
    r.__dict__.update(first.__dict__, process=None)
    r.start()
    return r


def main(database):
    with Registry(LEDGE, "--polls", "0", "--interval", "1", database=database) as a:
        b = second_of(a)
        token = a.ask("POST", "/v1/admin/tokens", {"role": "device"}).json["token"]
        a.wait("the other knows the token", lambda: b.poll("many-0", token).code == 200)
        for version in ("1.0.0", "2.0.0"):
            a.verb("push", MODEL, "--name", "cls", "--version", version, "--key", a.path("targets.key"), "--force", "--reason", "x",
                   "--no-compile", "--no-golden")
        b.verb("promote", "cls", "1.0.0")
        check("what one published the other tells", a.poll("many-0", token).json["models"][0]["version"] == "1.0.0")
        a.ask("POST", "/v1/admin/rollouts", {"model": "cls", "version": "2.0.0", "plan": {
            "steps": [{"percent": 100}], "gates": {"min_samples": 0, "soak_s": 0}}})
        for r in (a, b):
            r.poll("many-0", token, models=[{"name": "cls", "version": "2.0.0", "state": "running", "since_s": 1,
                                             "window": {"count": 5, "errors": 0, "p90_us": 5, "drift": "fine"}}])
        a.wait("both turn it, it is done once", lambda: b.ask("GET", "/v1/admin/rollouts/1").json["state"] == "done")
        check("the log says so once", b.verb("audit").count("rollout.done") == 1)
        threads = [threading.Thread(target=sender, args=((a, b), token, k)) for k in range(4)]
        for t in threads:
            t.start()
        port = b.port
        for i in range(8):
            time.sleep(random.uniform(0.05, 0.5))
            if i % 2:
                cut_all(database)
            else:
                b.stop(signal.SIGKILL)
                b.start(port)
        time.sleep(1)
        stop.set()
        for t in threads:
            t.join()
        check("batches were acknowledged", len(acknowledged) > 20, len(acknowledged))
        rows = subprocess.run(["psql", "-qAt", database, "-c", "SELECT id FROM batches"], capture_output=True, text=True).stdout.split()
        count = int(subprocess.run(["psql", "-qAt", database, "-c", "SELECT COUNT(*) FROM telemetry"], capture_output=True, text=True).stdout)
        check("none of them is lost", acknowledged <= set(rows), len(acknowledged - set(rows)))
        check("each record is there once", count == 10 * len(rows), (count, len(rows)))
        figures = sum(x["records"] for x in a.ask("GET", "/v1/admin/rollups").json["rollups"])
        check("and counted once", figures == count, (figures, count))
        check("the chain of the log is whole", "whole" in b.verb("audit", "--verify"))
        b.stop()
    return finish()


with postgres() as database:
    if not database:
        print("PostgreSQL is not installed")
    code = main(database) if database else 77
sys.exit(code)
