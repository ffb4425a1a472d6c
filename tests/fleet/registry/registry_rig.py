"""What the registry's tests share: a registry in a scratch folder, requests to it, checks.

Python's standard library alone; everything on the loopback."""
import contextlib
import glob
import html
import http.client
import http.server
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.parse
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


# ---- databases and places for files ----

@contextlib.contextmanager
def postgres():
    """An empty database: the one that LEDGE_TEST_POSTGRES names, else of a server that lasts as long as the block; None
    where PostgreSQL is not installed."""
    given = os.environ.get("LEDGE_TEST_POSTGRES")
    path = os.pathsep.join([os.environ["PATH"], *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)])
    initdb, server = (shutil.which(name, path=path) for name in ("initdb", "postgres"))
    if given or not (initdb and server and shutil.which("psql")):
        yield given
        return
    folder = tempfile.mkdtemp(prefix="ledge-postgres-")
    who = {}
    if os.geteuid() == 0:  # which PostgreSQL refuses
        names = {p.pw_name for p in pwd.getpwall()}
        user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
        os.chown(folder, user.pw_uid, user.pw_gid)
        who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data = os.path.join(folder, "data")
    subprocess.run([initdb, "-D", data, "-A", "trust", "-U", "ledge", "-E", "UTF8", "--locale=C"], check=True,
                   capture_output=True, cwd=folder, **who)
    process = subprocess.Popen([server, "-D", data, "-k", folder, "-c", "listen_addresses="], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, cwd=folder, **who)
    address = f"postgres:///postgres?host={urllib.parse.quote(folder, safe='')}&user=ledge"
    try:
        for _ in range(600):
            if subprocess.run(["psql", "-qAt", address, "-c", "SELECT 1"], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        yield address
    finally:
        process.send_signal(signal.SIGINT)  # now, whoever is connected
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


class Bucket(http.server.BaseHTTPRequestHandler):
    """Keeps objects in memory, and does what `faults` say first: a code, "close" or "lie"."""
    protocol_version = "HTTP/1.1"
    objects, faults, asked, why, age, lists = {}, [], [], b"", 0, 0
    uploads = {}  # in parts, begun and not ended: key by id

    def log_message(self, *_):
        pass

    def answer(self, code, body=b"", **headers):
        self.send_response(code)
        for k, v in headers.items():
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def fault(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        Bucket.asked.append((self.command, self.path, self.headers.get("Authorization", "")[:16]))
        now = Bucket.faults.pop(0) if Bucket.faults else None
        if now == "close":
            self.close_connection = True
            self.connection.close()
            return True
        if isinstance(now, int):
            self.answer(now, b"<Error><Code>%s</Code></Error>" % Bucket.why)
            return True
        self.lie = now == "lie"
        return False

    def do_PUT(self):
        if not self.fault():
            Bucket.objects[self.path] = self.body
            self.answer(200, ETag='"e"')

    def list(self, query):
        """A page of two: what S3 may do whatever is asked for."""
        prefix, marker = query.get("prefix", [""])[0], query.get("marker", [""])[0]
        keys = sorted(k[len("/bucket/"):] for k in list(Bucket.objects))
        keys = [k for k in keys if k.startswith(prefix) and k > marker]
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - Bucket.age))
        each = "".join(f"<Contents><Key>{html.escape(k)}</Key><LastModified>{stamp}</LastModified><ETag>&quot;e&quot;</ETag>"
                       f"<Size>{len(Bucket.objects.get('/bucket/' + k, b''))}</Size></Contents>" for k in keys[:2])
        self.answer(200, f"<?xml version='1.0'?><ListBucketResult><Prefix>{prefix}</Prefix><IsTruncated>"
                    f"{str(len(keys) > 2).lower()}</IsTruncated>{each}</ListBucketResult>".encode())

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/bucket" and "uploads=" in query:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - Bucket.age))
            each = "".join(f"<Upload><Key>{k}</Key><UploadId>{i}</UploadId><Initiated>{stamp}</Initiated></Upload>"
                           for i, k in Bucket.uploads.items())
            self.answer(200, f"<ListMultipartUploadsResult>{each}</ListMultipartUploadsResult>".encode())
        elif path == "/bucket" and not self.fault():
            Bucket.lists += 1
            self.list(urllib.parse.parse_qs(query))
        elif path != "/bucket" and not self.fault():
            body = Bucket.objects.get(path)
            self.answer(*((404, b"") if body is None else (200, body[::-1] if self.lie else body)))

    def do_DELETE(self):
        if not self.fault():
            path, _, query = self.path.partition("?")
            id_ = urllib.parse.parse_qs(query).get("uploadId", [None])[0]
            if id_ and path == "/bucket/" + Bucket.uploads.get(id_, ""):
                del Bucket.uploads[id_]
            elif not id_:
                Bucket.objects.pop(path, None)
            self.answer(204)


@contextlib.contextmanager
def bucket():
    """The address of an empty bucket in this process."""
    Bucket.objects.clear()
    Bucket.faults.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ.update(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", TMPDIR="/tmp")
    try:
        yield f"s3://bucket/models?endpoint=http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
