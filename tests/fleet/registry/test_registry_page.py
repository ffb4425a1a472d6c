#!/usr/bin/env python3
"""The fleet page in a real Chromium, driven over its debugging protocol; skipped (77) where there is none.

Usage: test_registry_page.py LEDGE SOURCE_ROOT"""
import base64
import http.client
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from registry_rig import Registry, check, finish, record, running

LEDGE, ROOT = sys.argv[1:3]
MODEL = os.path.join(ROOT, "tests", "data", "onnx", "classifier.onnx")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One page, by the DevTools protocol over a WebSocket (RFC 6455), with the standard library."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="ledge-chromium-")
        self.process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--remote-debugging-port=0", f"--user-data-dir={self.profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until, path = time.monotonic() + 60, os.path.join(self.profile, "DevToolsActivePort")
        while time.monotonic() < until and not (os.path.exists(path) and "\n" in open(path).read()):
            time.sleep(0.1)
        self.port = int(open(path).read().split("\n")[0])
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        c.request("GET", "/json/list")
        page = next(p for p in json.loads(c.getresponse().read()) if p["type"] == "page")
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET {page['webSocketDebuggerUrl'].split(str(self.port))[1]} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
                            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                            "Sec-WebSocket-Version: 13\r\n\r\n".encode())
        self.file = self.socket.makefile("rb")
        while self.file.readline().strip():
            pass
        self.id, self.faults = 0, []

    def read(self):
        text = b""
        while True:
            first, second = self.file.read(2)
            n = second & 127
            n = struct.unpack(">H", self.file.read(2))[0] if n == 126 else struct.unpack(">Q", self.file.read(8))[0] if n == 127 else n
            text += self.file.read(n)
            if first & 128:
                return json.loads(text)

    def call(self, method, **params):
        self.id += 1
        data = json.dumps({"id": self.id, "method": method, "params": params}).encode()
        mask = os.urandom(4)
        head = bytes([129]) + (bytes([128 | len(data)]) if len(data) < 126 else bytes([254]) + struct.pack(">H", len(data))
                               if len(data) < 65536 else bytes([255]) + struct.pack(">Q", len(data)))
        self.socket.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))
        while True:
            said = self.read()
            if said.get("method") == "Runtime.exceptionThrown":
                self.faults.append(said["params"]["exceptionDetails"].get("exception", {}).get("description", "?"))
            if said.get("id") == self.id:
                return said.get("result", {})

    def js(self, text):
        """The value; None also while a page is on its way, when there is none that could answer."""
        said = self.call("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        return said.get("result", {}).get("value")

    def wait(self, what, text, seconds=30):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.js(text):
                return check(what, True)
            time.sleep(0.2)
        return check(what, False, self.js("document.body.innerText"))

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.profile, ignore_errors=True)


def fill(r):
    for version in ("1.0.0", "1.1.0"):
        r.verb("push", MODEL, "--name", "cls", "--version", version, "--key", r.path("targets.key"), "--force",
               "--reason", "test", "--no-compile", "--no-golden")
    r.verb("promote", "cls", "1.0.0", "--reason", "first")
    token = r.ask("POST", "/v1/admin/tokens", {"role": "device"}).json["token"]
    for i in range(10):
        r.poll(f"cam-{i}", token, models=[running("1.0.0")], labels={"site": "berlin"})
        r.batch(f"cam-{i}", f"cam-{i}:1", [record(k, drift="warning" if k % 4 == 0 else "fine") for k in range(100)], token)
    r.batch("cam-0", "cam-0:2", [], token, alerts=[{"seq": 1, "timestamp": 1, "kind": "drift", "severity": "high", "model": "cls",
                                            "version": "1.0.0", "message": "<img src=x onerror=window.hacked=1>"}])
    r.ask("POST", "/v1/admin/rollouts", {"model": "cls", "version": "1.1.0", "plan": {
        "steps": [{"percent": 20}, {"percent": 100}], "gates": {"soak_s": 600}}})


def main():
    with Registry(LEDGE) as r:
        fill(r)
        b = Browser()
        try:
            b.call("Runtime.enable")
            b.call("Page.enable")
            b.call("Page.navigate", url=f"http://127.0.0.1:{r.port}/")
            b.wait("it asks for a token", "!!document.querySelector('#login') && !document.querySelector('#login').hidden")
            check("and shows nothing before", b.js("document.getElementById('main').hidden"))
            b.js(f"document.getElementById('token').value = '{r.token}'; document.getElementById('login').requestSubmit()")
            b.wait("devices are there", "document.querySelectorAll('#devices tr').length === 11")
            check("how many answer is said", "10 of 10 devices" in b.js("document.getElementById('about').textContent"))
            b.wait("the rollout and its gates", "document.querySelectorAll('#rollouts table tr').length === 8")
            check("with its steps", "step 1 of 2: [20 %]" in b.js("document.getElementById('rollouts').innerText"))
            check("latency over time", b.js("document.querySelector('#latency polyline').getAttribute('points').length") > 5)
            check("drift over time", "25.0 %" in b.js("document.getElementById('drift').innerText"),
                  b.js("document.getElementById('drift').innerText"))
            check("versions", "1.1.0" in b.js("document.getElementById('versions').innerText"))
            check("alerts are text, not markup", "<img src=x" in b.js("document.getElementById('events').innerText")
                  and not b.js("window.hacked"))
            check("the log", "model.promote" in b.js("document.getElementById('audit').innerText"))
            b.js("window.prompt = () => 'by the page'")
            press = "[...document.querySelectorAll('#rollouts button')].find(b => b.textContent === '%s').click()"
            b.js(press % "pause")
            b.wait("a button pauses", "document.getElementById('rollouts').innerText.includes('paused')")
            check("as the command would", r.ask("GET", "/v1/admin/rollouts/1").json["state"] == "paused")
            check("with the reason", "by the page" in r.verb("audit"))
            b.js(press % "rollback")
            b.wait("a button rolls back", "document.getElementById('rollouts').innerText.includes('rolled back')")
            b.js("[...document.querySelectorAll('#versions button')].find(b => b.textContent === 'promote').click()")
            b.wait("a button promotes", "document.getElementById('audit').innerText.includes('cls 1.1.0')")
            models = r.ask("GET", "/v1/admin/models").json
            check("for all", any(a["alias"] == "champion" and a["version"] == "1.1.0" for a in models["aliases"]), models["aliases"])
            viewer = r.ask("POST", "/v1/admin/tokens", {"role": "viewer"}).json["token"]
            b.js(f"sessionStorage.setItem('ledge-token', '{viewer}'); location.reload()")
            b.wait("a viewer sees it too", "document.querySelectorAll('#devices tr').length === 11")
            check("and has no buttons", b.js("document.querySelectorAll('main button:not([hidden])').length") == 0)
            wide = b.js("document.documentElement.scrollWidth <= window.innerWidth")
            check("nothing sticks out", wide)
            check("no script failed", not b.faults, b.faults)
            if os.environ.get("LEDGE_SHOT"):
                shot = b.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
                with open(os.environ["LEDGE_SHOT"], "wb") as f:
                    f.write(base64.b64decode(shot))
        finally:
            b.close()
    return finish()


if not CHROMIUM:
    print("no Chromium here")
    sys.exit(77)
sys.exit(main())
