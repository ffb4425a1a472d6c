"""What the registry's tests share: a registry in a scratch folder, requests to it, checks.

Python's standard library alone; everything on the loopback."""
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
import zlib

checks = failures = 0


def check(what, good, seen=""):
    global checks, failures
    checks += 1
    if not good:
        failures += 1
        print(f"FAILED: {what} {seen!r}"[:900])
    return good


def finish():
    print(f"{checks} checks, {failures} failed")
    return 1 if failures or not checks else 0


class Answer:
    def __init__(self, response):
        self.code, self.body = response.status, response.read()
        self.headers = {k.lower(): v for k, v in response.getheaders()}
        self.retry = self.headers.get("retry-after")
        try:
            self.json = json.loads(self.body) if self.body else None
        except ValueError:
            self.json = None

    def __repr__(self):
        return f"{self.code} {self.body[:300]!r}"


class Registry:
    """A registry's folder, and the server on it while the block lasts."""

    def __init__(self, ledge, *serve, database=None, blobs=None):
        self.ledge, self.serve_options = ledge, serve
        self.work = tempfile.mkdtemp(prefix="ledge-registry-")
        self.folder = os.path.join(self.work, "fleet")
        self.process, self.port, self.database, self.blobs = None, None, database, blobs
        for name in ("root", "targets", "other"):
            self.run(0, "key", "new", self.path(name))
        extra = (["--db", database] if database else []) + (["--blobs", blobs] if blobs else [])
        self.run(0, "registry", "init", self.folder, "--root-key", self.path("root.key"),
                 "--targets-key", self.path("targets.key"), *extra)
        with open(os.path.join(self.folder, "admin.token")) as f:
            self.token = f.read()

    def path(self, name):
        return os.path.join(self.work, name)

    def run(self, code, *words):
        """The command line; check its exit code, give what it printed."""
        environment = dict(os.environ, LEDGE_REGISTRY_TOKEN=getattr(self, "token", ""),
                           LEDGE_REGISTRY=f"http://127.0.0.1:{getattr(self, 'port', 0)}")
        done = subprocess.run([self.ledge, *map(str, words)], capture_output=True, text=True, env=environment)
        check(f"ledge {' '.join(map(str, words))[:200]}: exit {code}", done.returncode == code,
              (done.returncode, done.stderr[-600:]))
        return done.stdout + done.stderr

    def verb(self, *words, code=0):
        return self.run(code, "registry", *words)

    def start(self, port=0, **environment):
        self.process = subprocess.Popen(
            [self.ledge, "registry", "serve", self.folder, "--json", "--port", str(port), *self.serve_options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ, **environment))
        text = ""
        while text[-2:] != "}\n" or "\n}" not in text:
            line = self.process.stdout.readline()
            if not line:
                break
            text += line
        said = json.loads(text) if text.strip().endswith("}") else {}
        if "port" not in said:  # it says why, then ends
            raise RuntimeError(text + self.process.stderr.read())
        self.port = said["port"]

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                check("the registry ends by itself", False)
            if how == signal.SIGTERM:
                check("the registry ends with 0", self.process.wait() == 0, self.process.stderr.read())
        if self.process:
            self.process.stdout.close()
            self.process.stderr.close()
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.work, ignore_errors=True)

    def ask(self, method, path, body=None, token="", headers=None, connection=None):
        """token "": the admin's; None: none."""
        c = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        h = dict(headers or {})
        if token is not None:
            h["Authorization"] = f"Bearer {token or self.token}"
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        try:
            c.request(method, path, body, h)
        except (BrokenPipeError, ConnectionResetError):
            if not c.sock:
                raise
            # else the answer came before the body was taken
        answer = Answer(c.getresponse())
        if not connection:
            c.close()
        return answer

    def fetch(self, sha256):
        """A file's bytes, wherever they are."""
        answer = self.ask("GET", "/v1/blobs/" + sha256)
        if answer.code != 302:
            return answer.body
        with urllib.request.urlopen(answer.headers["location"]) as f:
            return f.read()

    def poll(self, device, token="", models=(), tag=None, **more):
        body = {"device_id": device, "agent": "test", "platform": {"arch": "x86-64", "level": "avx2", "cores": 2},
                "clock": int(time.time()), "models": list(models), **more}
        return self.ask("POST", "/v1/poll", body, token, {"If-None-Match": tag} if tag else None)

    def batch(self, device, batch, records, token="", deflate=True, **more):
        body = json.dumps({"device_id": device, "batch": batch, "clock_us": int(time.time() * 1e6),
                           "records": records, **more}).encode()
        return self.ask("POST", "/v1/telemetry", zlib.compress(body) if deflate else body, token,
                        {"Content-Encoding": "deflate"} if deflate else None)

    def wait(self, what, condition, seconds=20):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if condition():
                return check(what, True)
            time.sleep(0.1)
        return check(what, False)


def record(seq, version="1.0.0", model="cls", **more):
    return {"seq": seq, "timestamp": int(time.time() * 1e6), "model": model, "version": version,
            "latency_us": 1000 + seq % 100, "confidence_ppm": 900000, "class_id": seq % 10,
            "request_hash": "ab12", "drift": "fine", **more}


def running(version, count=100, errors=0, p90=1000, drift="fine", state="running", name="cls", **more):
    return {"name": name, "version": version, "state": state, "since_s": 1,
            "window": {"count": count, "errors": errors, "p90_us": p90, "drift": drift, **more}}
