#!/usr/bin/env python3
"""A made-up fleet and a bad version: few devices see it, all go back by themselves, every record counts once.

Usage: test_registry_simulate.py LEDGE SOURCE_ROOT [DEVICES]"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from registry_rig import Registry, check, finish

LEDGE, ROOT = sys.argv[1:3]
DEVICES = int(sys.argv[3]) if len(sys.argv) > 3 else 300
MODEL = os.path.join(ROOT, "tests", "data", "onnx", "classifier.onnx")


def main():
    with Registry(LEDGE, "--interval", "1", "--polls", "0") as r:
        for version in ("1.0.0", "2.0.0"):
            r.verb("push", MODEL, "--name", "cls", "--version", version, "--key", r.path("targets.key"), "--force",
                   "--reason", "test", "--no-compile", "--no-golden")
        r.verb("promote", "cls", "1.0.0")
        enroll = r.path("enroll")
        with open(enroll, "w") as f:
            f.write(json.loads(r.verb("token", "new", "--role", "device", "--json"))["token"])

        def simulate(seconds, *more):
            return json.loads(r.verb("simulate", "--json", "--devices", DEVICES, "--interval", 2, "--seconds", seconds,
                                     "--token-file", enroll, "--skew", 2000000000, *more))
        before = 0  # records of tries in which a slow machine did not come to every device
        for seconds in (4, 12, 36):
            first = simulate(seconds, "--loss", 0)
            if first["versions"] == {"1.0.0": DEVICES}:
                break
            before += first["records"]
        check("every device polled and runs the champion", first["versions"] == {"1.0.0": DEVICES}, first)
        plan = r.path("plan.json")
        with open(plan, "w") as f:
            json.dump({"steps": [{"percent": 1}, {"percent": 100}],
                       "gates": {"min_samples": 20, "soak_s": 600}, "silent_s": 600}, f)
        r.verb("rollout", "start", "cls", "2.0.0", "--plan", plan, "--reason", "test")
        second = simulate(3 * seconds, "--bad", "2.0.0", "--loss", 20, "--restarts", 5)
        check("no more than one in a hundred ever saw it", 1 <= second["saw_bad"] <= max(1, DEVICES // 100), second)
        check("it was rolled back by itself", r.ask("GET", "/v1/admin/rollouts/1").json["state"] == "rolled_back",
              r.ask("GET", "/v1/admin/rollouts/1").json)
        check("because of its errors", "error_rate" in r.ask("GET", "/v1/admin/rollouts/1").json["reason"])
        check("and all run the old one again", set(second["versions"]) <= {"1.0.0", "none"}, second)
        check("much was lost on the way", second["lost"] > 20 and second["resent"] > 5, second)
        check("some had arrived all the same", second["duplicates"] > 0, second)
        check("in the end all was answered", second["waiting"] == 0, second)
        counted = r.ask("GET", "/v1/admin/overview").json["counts"]["records"]
        check("every record is counted once", counted == before + first["records"] + second["records"], (counted, first, second))
        figures = sum(x["records"] for x in r.ask("GET", "/v1/admin/rollups").json["rollups"])
        check("in the figures too", figures == counted, (figures, counted))
    return finish()


sys.exit(main())
