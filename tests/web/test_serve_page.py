#!/usr/bin/env python3
"""The server's page in a real browser: what it shows, a picture chosen on it, alerts, phone and dark.

Usage: test_serve_page.py LEDGE SOURCE_ROOT. Left out without chromedriver (Debian: chromium, chromium-driver).
With LEDGE_SCREENSHOTS=DIR it leaves pictures of the page there."""
import http.client
import json
import os
import struct
import sys
import tempfile
import zlib

import webdriver

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "serve"))
import serving
from serving import check

LEDGE, ROOT = sys.argv[1:3]
DATA = os.path.join(ROOT, "tests", "data", "onnx")
if not webdriver.available():
    print("chromedriver or chromium is not installed")
    sys.exit(77)

def png(path, red, green, blue, size=12):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    row = b"\0" + bytes([red, green, blue]) * size
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(row * size)) + chunk(b"IEND", b""))


def show(port, low, high):
    data = b"".join(struct.pack("<192f", *[low + (high - low) * (i % 97) / 97] * 192) for i in range(1000))
    head = json.dumps({"inputs": [{"name": "picture", "shape": [1000, 3, 8, 8], "datatype": "FP32",
                                   "parameters": {"binary_data_size": len(data)}}]}).encode()
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    c.request("POST", "/v2/models/classifier/infer", head + data, {"Inference-Header-Content-Length": str(len(head))})
    check("pictures are answered", c.getresponse().status == 200)
    c.close()


def keep(browser, name):
    folder = os.environ.get("LEDGE_SCREENSHOTS")
    if folder:
        browser.screenshot(os.path.join(folder, name + ".png"))


def desk(port, folder):
    with webdriver.Browser(1280, 1000) as b:
        b.open(f"http://127.0.0.1:{port}/")
        check("a card for each model", b.until("return document.querySelectorAll('#cards [id^=m-]').length === 2"))
        check("the server introduces itself", "version " in b.text("#about") and "workers" in b.text("#about"), b.text("#about"))
        check("the machine is shown", "memory" in b.text("#machine") and "%" in b.text("#machine"), b.text("#machine"))
        check("no alerts, no card of them", b.run("return document.getElementById('alerts').hidden"))
        check("both models take pictures", b.run("return [...document.getElementById('model').options].map(o => o.value).sort()")
              == ["classifier", "second"])
        for name, colour in ("red", (250, 10, 10)), ("blue", (5, 10, 250)):
            path = os.path.join(folder, name + ".png")
            png(path, *colour)
            b.type("#file", path)
            check(f"a {name} picture is called so",
                  b.until("return document.querySelector('#answer tr')?.innerText.includes(arguments[0])", name), b.text("#answer"))
        check("with bars", b.run("return document.querySelectorAll('#answer meter').length") == 4)
        check("and the picture", b.run("return document.querySelector('#drop img').naturalWidth") == 12)
        broken = os.path.join(folder, "broken.png")
        with open(broken, "wb") as f:
            f.write(b"no picture")
        b.type("#file", broken)
        check("what is none gets a sentence", b.until("return document.querySelectorAll('#answer meter').length === 0 && "
                                                      "document.getElementById('answer').innerText.length > 10"), b.text("#answer"))
        show(port, 0.2, 0.8)
        show(port, 0.01, 0.05)
        check("drift shows", b.until("return document.querySelector('#m-classifier-1 dd.high') !== null"), b.text("#m-classifier-1"))
        check("its measures too", b.until("return document.querySelectorAll('#m-classifier-1 td.high').length > 2"))
        check("spreads are drawn", b.until("return document.querySelectorAll('#m-classifier-1 rect.now').length >= 20 && "
                                           "[...document.querySelectorAll('#m-classifier-1 rect.now')].some(r => +r.getAttribute('height') > 50)"))
        check("alerts are listed", b.until("return document.querySelectorAll('#alerts li').length > 2"), b.text("#alerts"))
        check("with their sentences", "distributed differently in mean" in b.text("#alerts"), b.text("#alerts"))
        check("the latency chart has points", b.until("return document.querySelectorAll('#m-classifier-1 polyline')[1].points.length > 2"))
        check("nothing but this server is asked", b.run(
            "return performance.getEntriesByType('resource').every(r => new URL(r.name).host === location.host)"))
        check("no complaints but that of the broken picture", len([c for c in b.complaints() if "400" not in c and "favicon" not in c]) == 0,
              b.complaints())
        keep(b, "serve-desk")


def phone(port, _):
    with webdriver.Browser(390, 844, dark=True, touch=True) as b:
        b.open(f"http://127.0.0.1:{port}/")
        check("it loads on a phone", b.until("return document.querySelectorAll('#cards [id^=m-]').length === 2"))
        check("nothing is cut off", b.run("return document.documentElement.scrollWidth <= innerWidth"),
              b.run("return document.documentElement.scrollWidth"))
        check("it is dark in the dark", b.run("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)")
        keep(b, "serve-phone")


with tempfile.TemporaryDirectory() as folder:
    with serving.Server("--watch", "0.2", os.path.join(DATA, "classifier.onnx"),
                        "second=" + os.path.join(DATA, "classifier.onnx")) as server:
        desk(server.port, folder)
        phone(server.port, folder)
serving.finish()
