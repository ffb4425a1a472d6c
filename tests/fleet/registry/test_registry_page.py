#!/usr/bin/env python3
"""The fleet page in a real Chromium, driven over its debugging protocol; skipped (77) where there is none.

Usage: test_registry_page.py LEDGE SOURCE_ROOT"""
import os
import sys

from registry_rig import Registry, check, finish, record, running

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "web"))
import chromium

LEDGE, ROOT = sys.argv[1:3]
MODEL = os.path.join(ROOT, "tests", "data", "onnx", "classifier.onnx")


class Page(chromium.Browser):
    def wait(self, what, text):
        return check(what, self.until("return " + text, seconds=30), self.js("document.body.innerText"))


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
        with Page() as b:
            b.open(f"http://127.0.0.1:{r.port}/")
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
                b.screenshot(os.environ["LEDGE_SHOT"])
    return finish()


if not chromium.PROGRAM:
    print("no Chromium here")
    sys.exit(77)
sys.exit(main())
