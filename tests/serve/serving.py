"""What the tests of `ledge serve` share: a running server, and counted checks. The first argument of
the test is ledge."""
import http.client
import json
import os
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from children import stop

LEDGE = os.path.abspath(sys.argv[1])
checks = failures = 0


def check(what, good, seen=""):
    global checks, failures
    checks += 1
    if not good:
        failures += 1
        print(f"FAILED: {what} {seen!r}"[:900], flush=True)


def finish():
    print(f"{checks} checks, {failures} failed")
    sys.exit(failures > 0)


class Server:
    """One running server; ends with the block."""

    def __init__(self, *arguments, stderr=subprocess.PIPE):
        self.process = subprocess.Popen([LEDGE, "serve", "--json", "--port", "0", *arguments],
                                        stdout=subprocess.PIPE, stderr=stderr, text=True)
        text = ""
        while not text.strip().endswith("}"):
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(self.said())
            text += line
        self.port = json.loads(text)["port"]

    def said(self):
        """What it wrote to standard error and nobody read yet; to be asked when it has ended."""
        return self.process.stderr.read() if self.process.stderr else ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self, patience=30):
        """Seconds that it took."""
        start = time.monotonic()
        if self.process.poll() is None:
            if not stop(self.process, patience):
                check("the server ends by itself", False)
        check("the server ends with 0", self.process.wait() == 0, self.said())
        return time.monotonic() - start

    def ask(self, method, path, body=None, headers=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        c.request(method, path, body, headers or {})
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, data, r.headers

    def json(self, method, path, body=None, headers=None):
        status, data, _ = self.ask(method, path, json.dumps(body) if isinstance(body, dict) else body, headers)
        return status, json.loads(data) if data else None

    def raw(self, data, wait=5):
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as s:
            out = b""
            try:  # the server may close as soon as it has seen enough
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                while piece := s.recv(65536):
                    out += piece
            except OSError:
                pass
            return out
