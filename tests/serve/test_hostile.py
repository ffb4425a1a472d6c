#!/usr/bin/env python3
"""Clients that mean harm: slow ones, thousands of them, giant headers, lying sizes; the others must be served all the while.

Usage: test_hostile.py LEDGE SOURCE_ROOT. Python's standard library alone; everything on the loopback."""
import http.client
import json
import os
import resource
import socket
import sys
import tempfile
import time

import serving
from serving import check

LEDGE, ROOT = sys.argv[1:3]
PAIR = os.path.join(os.path.abspath(ROOT), "tests", "data", "onnx", "pair.onnx")
CROWD = 10000

class Server(serving.Server):
    def __init__(self, folder, **config):
        path = os.path.join(folder, "serve.json")
        with open(path, "w") as f:
            json.dump({"port": 0, "models": [{"name": "pair", "path": PAIR}], **config}, f)
        super().__init__("--config", path, stderr=None)

    def __exit__(self, *_):
        check("alive to the end", self.process.poll() is None)
        self.end(40)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def good(self, what):
        """An ordinary client gets its answer, soon."""
        start = time.monotonic()
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            c.request("GET", "/v2/models/pair")
            r = c.getresponse()
            check(f"{what}: others are served", r.status == 200 and len(r.read()) > 10 and time.monotonic() - start < 5, r.status)
        except OSError as e:
            check(f"{what}: others are served", False, e)
        c.close()

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(next(l for l in f if l.startswith("VmRSS")).split()[1]) / 1024


def closed(s):
    """Whether the server has ended the connection."""
    s.setblocking(False)
    try:
        return s.recv(4096) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def dribble(connections, pieces, until):
    """Sends a byte to each now and then; gives how many are open at the end."""
    i = 0
    alive = list(connections)
    while alive and time.monotonic() < until:
        for c in list(alive):
            try:
                c.send(pieces[i % len(pieces):][:1])
            except BlockingIOError:
                pass
            except OSError:
                alive.remove(c)
                continue
            if closed(c):
                alive.remove(c)
        i += 1
        time.sleep(0.2)
    return len(alive)


def slow(folder):
    with Server(folder, idle_s=2, connections=150) as s:
        silent = [s.connect() for _ in range(30)]
        heads = [s.connect() for _ in range(30)]
        for c in heads:
            c.send(b"GET /v2 HTTP/1.1\r\nX: ")
        bodies = [s.connect() for _ in range(30)]
        for c in bodies:
            c.send(b"POST /v2/models/pair/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n")
        s.good("a slow crowd")
        left = dribble(heads + bodies, b"abcdefgh", time.monotonic() + 8)
        check("who sends by the byte is cut off", left == 0, left)
        check("who says nothing is cut off", all(closed(c) for c in silent))
        s.good("after a slow crowd")
        # One that is merely slow, but gets on, is not: 60 kB in 3 seconds.
        c = s.connect()
        body = b" " * 60000
        c.sendall(b"POST /v2/models/pair/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 2000):
            c.sendall(body[at:at + 2000])
            time.sleep(0.1)
        check("who gets on is answered", c.recv(100).startswith(b"HTTP/1.1 400"))
        for other in silent + heads + bodies + [c]:
            other.close()


def gone(folder):
    """Clients that go away in the midst of a request do not keep their connections for the idle time."""
    with Server(folder, idle_s=60) as s:
        left = [s.connect() for _ in range(20)]
        for c in left:
            c.sendall(b"POST /v2/models/pair/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{")
            c.shutdown(socket.SHUT_WR)
        whole = s.connect()
        whole.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
        whole.shutdown(socket.SHUT_WR)
        check("who only stops sending is answered", whole.recv(100).startswith(b"HTTP/1.1 200"))
        end = time.monotonic() + 20
        while time.monotonic() < end and not all(closed(c) for c in left):
            time.sleep(0.1)
        check("who left in the midst is cut off", all(closed(c) for c in left))
        for c in left + [whole]:
            c.close()


def many(folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(CROWD, hard - 500 if hard != resource.RLIM_INFINITY else CROWD)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count + 400, hard) if hard != resource.RLIM_INFINITY else count + 400), hard))
    with Server(folder, connections=count + 50) as s:
        before = s.memory()
        crowd = []
        for i in range(count):
            c = s.connect()
            c.send(b"GET /v2 HTTP/1.1\r\nHo")
            crowd.append(c)
            if i % 2500 == 0:
                s.good(f"{i} connections")
        s.good(f"{count} connections")
        used = s.memory() - before
        check("memory of a connection is bounded", used < 0.04 * count + 20, used)
        for c in crowd[::2]:
            c.send(b"st: x\r\n\r\n")
        check("each of them can be answered", all(c.recv(1000).startswith(b"HTTP/1.1 200") for c in crowd[::2]))
        for c in crowd:
            c.close()
        s.good("after them")
    with Server(folder, connections=100, idle_s=2) as s:  # more come than are let in
        crowd = [s.connect() for _ in range(110)]
        time.sleep(4.5)
        s.good("a full house, after the idle time")
        for c in crowd:
            c.close()
    print(f"{count} connections")


def giant(folder):
    with Server(folder, body_mb=1) as s:
        for junk in [b"GET /" + b"a" * 1000000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nCookie: " + b"c" * 5000000 + b"\r\n\r\n",
                     b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(100000)) + b"\r\n",
                     b"POST /v2/models/pair/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"40000\r\n" + b" " * 0x40000 + b"\r\n" + b"100000\r\n" + b" " * 0x100000,
                     b"POST /v2/models/pair/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                     b"POST /v2/models/pair/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nInference-Header-Content-Length: 99999999999999999999\r\n\r\n0123456789",
                     b"POST /v2/models/pair/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n0"]:
            c = s.connect()
            answer = b""
            try:
                c.sendall(junk)
                c.settimeout(5)
                answer = c.recv(100)
            except OSError:
                pass
            check("an error or nothing", b" 200 " not in answer[:20], answer)
            c.close()
            s.good("giants")
        check("memory is not theirs", s.memory() < 100, s.memory())


with tempfile.TemporaryDirectory() as work:
    slow(work)
    gone(work)
    giant(work)
    many(work)
serving.finish()
