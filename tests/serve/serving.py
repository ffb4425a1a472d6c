"""What the tests of `ledge serve` share: a running server, and counted checks. The first argument of
the test is ledge."""
import http.client
import json
import signal
import socket
import subprocess
import sys

LEDGE = sys.argv[1]
checks = failures = 0


def check(what, good, seen=""):
    global checks, failures
    checks += 1
    if not good:
        failures += 1
        print(f"FAILED: {what} {seen!r}"[:600])


def finish():
    print(f"{checks} checks, {failures} failed")
    sys.exit(failures > 0)


class Server:
    """One running server; ends with the block."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([LEDGE, "serve", "--json", "--port", "0", *arguments],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.process.stderr.read())
        self.port = json.loads(line + ("" if line.strip().endswith("}") else self.rest()))["port"]

    def rest(self):
        text = ""
        while not text.strip().endswith("}"):
            text += self.process.stdout.readline()
        return text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                check("the server ends by itself", False)
        check("the server ends with 0", self.process.wait() == 0, self.process.stderr.read())

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
