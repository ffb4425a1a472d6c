"""A browser for tests: a headless Chromium with one page, by its debugging protocol over a WebSocket (RFC 6455),
with Python's standard library."""
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

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from children import stop

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """Ends with the block."""

    def __init__(self, width=1280, height=900, dark=False, touch=False):
        self.profile = tempfile.mkdtemp(prefix="ledge-chromium-")
        self.process = subprocess.Popen(
            [PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--remote-debugging-port=0", f"--user-data-dir={self.profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.id, self.faults, self.errors = 0, [], []
        try:
            self.attach()
            for domain in ("Log", "Page", "Runtime"):
                self.call(domain + ".enable")
            self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1 + touch, mobile=touch)
            self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        except Exception:
            self.end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.end()

    def end(self):
        stop(self.process)
        shutil.rmtree(self.profile, ignore_errors=True)

    # ---- the protocol ----

    def attach(self):
        until, path = time.monotonic() + 60, os.path.join(self.profile, "DevToolsActivePort")
        while time.monotonic() < until and not (os.path.exists(path) and "\n" in open(path).read()):
            time.sleep(0.1)
        port = int(open(path).read().split("\n")[0])
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        c.request("GET", "/json/list")
        page = next(p for p in json.loads(c.getresponse().read()) if p["type"] == "page")
        c.close()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET {page['webSocketDebuggerUrl'].split(str(port))[1]} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                            "Sec-WebSocket-Version: 13\r\n\r\n".encode())
        self.file = self.socket.makefile("rb")
        while self.file.readline().strip():
            pass

    def read(self):
        text = b""
        while True:
            first, second = self.file.read(2)
            n = second & 127
            n = struct.unpack(">H", self.file.read(2))[0] if n == 126 else struct.unpack(">Q", self.file.read(8))[0] if n == 127 else n
            text += self.file.read(n)
            if first & 128:
                return json.loads(text)

    def keep(self, event, said):
        """Of events, those that tell of trouble."""
        if event == "Runtime.exceptionThrown":
            details = said["exceptionDetails"]
            self.faults.append(details.get("exception", {}).get("description", details["text"]))
        elif event == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.errors.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
        elif event == "Runtime.consoleAPICalled" and said["type"] == "error":
            self.errors.append(str([a.get("value", a.get("description")) for a in said["args"]]))

    def call(self, method, **params):
        self.id += 1
        data = json.dumps({"id": self.id, "method": method, "params": params}).encode()
        mask = os.urandom(4)
        head = bytes([129]) + (bytes([128 | len(data)]) if len(data) < 126 else bytes([254]) + struct.pack(">H", len(data))
                               if len(data) < 65536 else bytes([255]) + struct.pack(">Q", len(data)))
        self.socket.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))
        while True:
            said = self.read()
            if "method" in said:
                self.keep(said["method"], said["params"])
            if said.get("id") == self.id:
                return said.get("result", {})

    # ---- what tests do ----

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.until("return document.readyState === 'complete' && location.href !== 'about:blank'")

    def js(self, text):
        """The value; None also while a page is on its way, when there is none that could answer."""
        said = self.call("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        return said.get("result", {}).get("value")

    def run(self, body, *arguments):
        """The value of a JavaScript function's body."""
        return self.js(f"(function () {{ {body} }})(...{json.dumps(arguments)})")

    def until(self, body, *arguments, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.run(body, *arguments):
                return True
            time.sleep(0.1)
        return False

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def choose(self, selector, path):
        """A file, in an input for files."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self.call("DOM.setFileInputFiles", files=[path], objectId=found["result"]["objectId"])

    def complaints(self):
        """Exceptions that nobody caught, and what was logged as errors."""
        self.js("0")  # what happened before it has come by then
        return self.faults + self.errors

    def screenshot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))
