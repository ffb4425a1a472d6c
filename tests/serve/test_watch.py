#!/usr/bin/env python3
"""The server's watchman: drift becomes alerts, alerts reach every channel once and end, states survive.

Usage: test_watch.py LEDGE SOURCE_ROOT. Python's standard library alone; everything on the loopback."""
import datetime
import glob
import http.server
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

import serving
from serving import check

LEDGE, ROOT = sys.argv[1:3]
CLASSIFIER = os.path.join(ROOT, "tests", "data", "onnx", "classifier.onnx")

def until(condition, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


class Sink:
    """Takes POSTs; keeps path, headers and JSON of each."""

    def __init__(self, port=0):
        sink = self
        self.got, self.codes = [], []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                code = sink.codes.pop(0) if sink.codes else 200
                if code == 200:
                    sink.got.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(code)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def at(self, path):
        return [body for p, _, body in list(self.got) if p == path]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Server(serving.Server):
    def __init__(self, *arguments):
        self.errors = tempfile.TemporaryFile("w+")
        super().__init__("--watch", "0.1", *arguments, stderr=self.errors)

    def status(self):
        return json.loads(self.ask("GET", "/v1/status")[1])

    def said(self):
        self.errors.seek(0)
        return self.errors.read()

    def show(self, pictures, low, high, seed):
        """Answers for pictures of pixels between low and high, all in one request."""
        rng = random.Random(seed)
        data = b"".join(struct.pack("<192f", *[rng.uniform(low, high)] * 192) for _ in range(pictures))
        head = json.dumps({"inputs": [{"name": "picture", "shape": [pictures, 3, 8, 8], "datatype": "FP32",
                                       "parameters": {"binary_data_size": len(data)}}]}).encode()
        status, answer, _ = self.ask("POST", "/v2/models/classifier/infer", head + data,
                                     {"Inference-Header-Content-Length": str(len(head))})
        check("pictures are answered", status == 200, answer[:200])


def rfc3339(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def running(program):
    """Ids of the processes whose command line names it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                found += [pid] * (program.encode() in f.read())
        except OSError:  # it ended meanwhile
            pass
    return found


def drift_reaches_every_channel_once_and_ends(work):
    sink = Sink()
    token, seen, program = (os.path.join(work, n) for n in ("token", "seen", "program"))
    with open(token, "w") as f:
        f.write("s3cret\n")
    with open(program, "w") as f:
        f.write(f"#!/bin/sh\ncat >> {seen}\necho >> {seen}\n")
    os.chmod(program, 0o755)
    base = f"http://127.0.0.1:{sink.port}"
    s = Server(CLASSIFIER, "--alert-log", "--alert-webhook", base + "/hook", "--alertmanager", base + "/am",
               "--alert-exec", program, "--alert-token-file", token, "--telemetry", os.path.join(work, "queue"))
    s.show(1000, 0.4, 0.6, 1)  # what it learns from
    s.show(1000, 0.4, 0.6, 2)
    time.sleep(0.5)
    drift = lambda: [a for a in sink.at("/hook") if a["name"].startswith("drift")]
    check("the same kind of pictures raises nothing", drift() == [], sink.got)
    s.show(1000, 0.05, 0.15, 3)
    bright = lambda: [a for a in drift() if a["name"] == "drift_feature_psi(mean)"]
    check("dark pictures raise an alert", until(lambda: len(bright()) == 1), sink.got)
    time.sleep(0.5)
    check("it is told once", len(bright()) == 1, drift())
    a = bright()[0]
    check("with its facts", a["event"] == "firing" and a["severity"] == "high" and a["subject"] == "classifier/1" and
          a["value"] > a["threshold"] and "in mean" in a["text"] and a["ended"] is None, a)
    check("and its time", abs((now() - rfc3339(a["since"])).total_seconds()) < 60, a["since"])
    check("with the token", [h.get("Authorization") for _, h, _ in sink.got] == ["Bearer s3cret"] * len(sink.got))
    names = lambda batch: {x["labels"]["alertname"] for x in batch}
    check("Alertmanager is told in its own words",
          until(lambda: any("drift_feature_psi(mean)" in names(b) for b in sink.at("/am/api/v2/alerts"))))
    x = next(x for b in sink.at("/am/api/v2/alerts") for x in b if x["labels"]["alertname"] == a["name"])
    check("a holding alert ends in the future", rfc3339(x["endsAt"]) > rfc3339(x["startsAt"]) and
          x["labels"]["severity"] == "critical" and x["labels"]["subject"] == "classifier/1" and
          rfc3339(x["endsAt"]) > now() and x["annotations"]["summary"], x)
    check("a program gets it", until(lambda: os.path.exists(seen) and a["name"] in open(seen).read()))
    check("each on its own, as JSON", all(json.loads(line)["event"] == "firing" for line in open(seen)))
    check("the log has a line", "ledge: alert: classifier/1 drift_feature_psi(mean): " in s.said(), s.said())
    spool = lambda: b"".join(open(f, "rb").read() for f in glob.glob(os.path.join(work, "queue.alerts", "*.seg")))
    check("the agent gets it", until(lambda: b"drift_feature_psi" in spool() and b"in mean" in spool()), spool())
    held = s.status()["alerts"]
    check("/v1/status shows it", any(h["name"] == a["name"] and h["age"] >= 0 for h in held), held)
    metrics = s.ask("GET", "/metrics")[1].decode()
    check("/metrics shows it", 'ledge_alert_severity{alert="drift_feature_psi(mean)",subject="classifier/1"} 2'
          in metrics, metrics[-2000:])
    check("and deliveries", 'ledge_alert_deliveries_total{channel="exec",result="failed"} 0' in metrics)
    s.show(3000, 0.4, 0.6, 4)
    over = lambda: [b for b in bright() if b["event"] == "resolved"]
    check("it ends when pictures are as before", until(lambda: len(over()) == 1), drift())
    check("with the same id and its end", over()[0]["id"] == a["id"] and rfc3339(over()[0]["ended"]), over())
    check("Alertmanager hears of the end", until(lambda: any(
        rfc3339(x["endsAt"]) <= now() for b in sink.at("/am/api/v2/alerts") for x in b
        if x["labels"]["alertname"] == a["name"])))
    s.show(1000, 0.05, 0.15, 5)
    time.sleep(0.5)
    check("within its cooldown it stays silent", len(bright()) == 2, bright())
    check("unloading ends its alerts", s.ask("POST", "/v2/repository/models/classifier/unload")[0] == 200 and
          until(lambda: not any(h["subject"] == "classifier/1" for h in s.status()["alerts"])))
    history = json.loads(s.ask("GET", "/v1/resources")[1])
    check("the machine's minutes are kept", history["interval"] == 60 and len(history["series"]["memory"]) == 1 and
          0 < history["series"]["memory"][0] < 1, history)
    s.end()
    sink.close()


def a_channel_that_is_down_gets_it_later(work):
    sink = Sink()
    port = sink.port
    sink.close()
    s = Server(CLASSIFIER, "--alert-webhook", f"http://127.0.0.1:{port}/hook")
    s.show(1000, 0.4, 0.6, 1)
    s.show(1000, 0.05, 0.15, 3)
    check("a dead channel is told of once", until(lambda: "took none; trying again" in s.said()), s.said())
    time.sleep(1.2)
    check("only once", s.said().count("took none") == 1, s.said())
    sink = Sink(port)
    sink.codes = [503]
    check("what waited arrives", until(lambda: any(a["event"] == "firing" for a in sink.at("/hook")), 30), s.said())
    check("and that is said", until(lambda: "takes them again" in s.said()), s.said())
    s.end()
    sink.close()


def a_program_that_hangs_holds_nothing_up(work):
    program = os.path.join(work, "hang")
    with open(program, "w") as f:
        f.write("#!/bin/sh\nsleep 1000\n")
    os.chmod(program, 0o755)
    s = Server(CLASSIFIER, "--alert-exec", program)
    s.show(1000, 0.4, 0.6, 1)
    s.show(1000, 0.05, 0.15, 3)
    check("the alert holds", until(lambda: s.status()["alerts"]))
    s.show(10, 0.4, 0.6, 3)
    check("the program hangs", until(lambda: running(program)))
    took = s.end()
    check("the server ends soon", took < 10, took)
    check("with all that it started", not running(program), running(program))


def drift_state_outlives_the_server(work):
    state = os.path.join(work, "state")
    model = lambda s: s.status()["models"][0]
    s = Server(CLASSIFIER, "--state", state)
    s.show(1000, 0.4, 0.6, 1)
    s.show(500, 0.4, 0.6, 2)
    check("it has learnt", model(s)["drift"] == "fine", model(s))
    s.end()
    files = glob.glob(state + "/*")
    check("one file is left", len(files) == 1 and files[0].endswith(".drift"), files)
    s = Server(CLASSIFIER, "--state", state, "--alert-log")
    check("a new server knows it at once", model(s)["drift"] == "fine", model(s))
    s.show(1000, 0.05, 0.15, 3)
    check("and sees drift against it", until(lambda: s.status()["alerts"]), model(s))
    s.process.send_signal(signal.SIGKILL)
    s.process.wait()
    s = Server(CLASSIFIER, "--state", state)
    check("a killed server leaves a whole file", "from the beginning" not in s.said() and
          model(s)["drift"] != "learning", (s.said(), model(s)))
    s.end()
    with open(files[0], "r+b") as f:
        f.seek(500)
        byte = f.read(1)
        f.seek(500)
        f.write(bytes([byte[0] ^ 1]))
    s = Server(CLASSIFIER, "--state", state)
    check("a damaged state is refused with a sentence", "from the beginning: the state is damaged" in s.said(), s.said())
    check("and drift is learnt anew", model(s)["drift"] == "learning", model(s))
    s.show(10, 0.4, 0.6, 1)
    os.rename(state, state + "2")  # the disk is gone
    with open(state, "w"):
        pass
    s.end()
    check("a state that cannot be saved is said", "cannot be saved" in s.said(), s.said())


def wrong_options_are_refused(work):
    for arguments, code, words in [
            (["--alert-webhook", "ftp://x"], 2, "http:// or https://"),
            (["--alertmanager", "localhost"], 2, "http:// or https://"),
            (["--alert-exec", "/nonexistent"], 3, "no program"),
            (["--watch", "x"], 2, "--watch takes a number"),
            (["--state", "/nonexistent/a/b"], 1, "cannot be written")]:
        p = subprocess.run([LEDGE, "serve", "--port", "0", CLASSIFIER, *arguments], capture_output=True, text=True,
                           timeout=20)
        check(f"{arguments} is refused", p.returncode == code and words in p.stderr, (p.returncode, p.stderr))


with tempfile.TemporaryDirectory() as folder:
    drift_reaches_every_channel_once_and_ends(folder)
    a_channel_that_is_down_gets_it_later(folder)
    a_program_that_hangs_holds_nothing_up(folder)
    drift_state_outlives_the_server(folder)
    wrong_options_are_refused(folder)
serving.finish()
