#!/usr/bin/env python3
"""What Prometheus' own tools say of ours: promtool on metrics and rules, a real Prometheus that scrapes a server,
a real Alertmanager that hears its alerts. Parts whose program is not installed are left out (Debian: prometheus,
prometheus-alertmanager); the dashboard's queries are held against the metrics in any case.

Usage: test_prometheus.py LEDGE SOURCE_ROOT."""
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import serving
from serving import check, stop

LEDGE, ROOT = sys.argv[1:3]
PACKAGING = os.path.join(ROOT, "packaging")
CLASSIFIER = os.path.join(ROOT, "tests", "data", "onnx", "classifier.onnx")
left_out = []


def get(url, body=None, headers=None):
    with urllib.request.urlopen(urllib.request.Request(url, body, headers or {}), timeout=10) as r:
        return r.read().decode()


def until(condition, seconds=60):
    end = time.time() + seconds
    while time.time() < end:
        try:
            if condition():
                return True
        except (OSError, KeyError, IndexError):
            pass
        time.sleep(0.2)
    return False


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Running:
    def __init__(self, *command, cwd=None):
        self.process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        stop(self.process)


def serve(port, *more):
    r = Running(LEDGE, "serve", "--port", str(port), "--watch", "0.1", CLASSIFIER, *more)
    check("the server starts", until(lambda: "live" in get(f"http://127.0.0.1:{port}/v2/health/live")))
    return r


def show(port, low, high):
    """1,000 pictures in one request, grey between low and high."""
    data = b"".join(struct.pack("<192f", *[low + (high - low) * (i % 97) / 97] * 192) for i in range(1000))
    head = json.dumps({"inputs": [{"name": "picture", "shape": [1000, 3, 8, 8], "datatype": "FP32",
                                   "parameters": {"binary_data_size": len(data)}}]}).encode()
    get(f"http://127.0.0.1:{port}/v2/models/classifier/infer", head + data,
        {"Inference-Header-Content-Length": str(len(head))})


def promtool(*arguments, **how):
    p = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, **how)
    return p.returncode == 0, p.stdout + p.stderr


def known_to(tool):
    if shutil.which(tool):
        return True
    left_out.append(tool)
    return False


def dashboard_asks_for_what_there_is(metrics):
    made = subprocess.run([sys.executable, os.path.join(PACKAGING, "grafana", "dashboard.py")], capture_output=True,
                          text=True, check=True).stdout
    with open(os.path.join(PACKAGING, "grafana", "ledge.json")) as f:
        check("ledge.json is what dashboard.py writes", f.read() == made)
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)$", metrics, re.M))
    with open(os.path.join(PACKAGING, "prometheus", "ledge.rules.yml")) as f:
        asked = set(re.findall(r"\bledge_\w+", made + f.read()))
    for name in asked:
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        check(f"{name} is served", base in families or name in families, sorted(families))
        check(f"{name} is a histogram", base == name or families.get(base) == "histogram")
    check("many families are asked for", len(asked) > 12, asked)


def prometheus_scrapes_it(port, folder):
    mine = free_port()
    with open(os.path.join(PACKAGING, "prometheus", "prometheus.yml")) as f:
        config = f.read().replace("127.0.0.1:8000", f"127.0.0.1:{port}").replace("15s", "1s")
    shutil.copy(os.path.join(PACKAGING, "prometheus", "ledge.rules.yml"), folder)
    with open(os.path.join(folder, "prometheus.yml"), "w") as f:
        f.write(config)

    def value(query):
        o = json.loads(get(f"http://127.0.0.1:{mine}/api/v1/query?query=" + urllib.parse.quote(query)))
        return float(o["data"]["result"][0]["value"][1])

    with Running("prometheus", "--config.file=prometheus.yml", f"--storage.tsdb.path={folder}/data",
                 f"--web.listen-address=127.0.0.1:{mine}", cwd=folder):
        check("a real Prometheus scrapes it", until(lambda: value('up{job="ledge"}') == 1))
        check("and finds what was answered", until(lambda: value("ledge_inferences_total") >= 1))
        check("rules are evaluated", until(lambda: value('ALERTS{alertname="LedgeDriftHigh",alertstate="firing"}') == 1))


def alertmanager_hears(folder):
    mine, port = free_port(), free_port()
    with open(os.path.join(folder, "am.yml"), "w") as f:
        f.write("route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n")

    def alerts():
        return json.loads(get(f"http://127.0.0.1:{mine}/api/v2/alerts"))

    with Running("prometheus-alertmanager", f"--config.file={folder}/am.yml", f"--storage.path={folder}/am",
                 f"--web.listen-address=127.0.0.1:{mine}", "--cluster.listen-address="):
        check("Alertmanager is up", until(lambda: alerts() == []))
        with serve(port, "--alertmanager", f"http://127.0.0.1:{mine}"):
            show(port, 0.2, 0.8)
            show(port, 0.01, 0.05)
            check("a real Alertmanager holds the drift", until(lambda: any(
                a["labels"]["alertname"] == "drift_feature_psi(mean)" and a["status"]["state"] == "active" for a in alerts())))
            for _ in range(3):
                show(port, 0.2, 0.8)
            check("and lets go of it", until(lambda: not any(
                a["labels"]["alertname"] == "drift_feature_psi(mean)" for a in alerts())))


with tempfile.TemporaryDirectory() as folder:
    port = free_port()
    with serve(port):
        show(port, 0.2, 0.8)
        show(port, 0.01, 0.05)
        metrics = get(f"http://127.0.0.1:{port}/metrics")
        dashboard_asks_for_what_there_is(metrics)
        if known_to("promtool"):
            check("promtool takes the metrics", *promtool("check", "metrics", input=metrics))
            check("and the rules", *promtool("check", "rules", os.path.join(PACKAGING, "prometheus", "ledge.rules.yml")))
            check("and the configuration", *promtool("check", "config", os.path.join(PACKAGING, "prometheus", "prometheus.yml")))
        if known_to("prometheus"):
            prometheus_scrapes_it(port, folder)
    if known_to("prometheus-alertmanager"):
        alertmanager_hears(folder)
if left_out:
    print("left out, not installed: " + ", ".join(left_out))
serving.finish()
