#!/usr/bin/env python3
"""Counts meson's results over the build folders named, as one line.

A folder without results (its build failed, or no test ran) counts as one failure, so that
silence is never success. Needs only Python's standard library, which meson needs too."""
import json
import pathlib
import sys


def results(folder):
    log = pathlib.Path(folder, "meson-logs", "testlog.json")
    if not log.is_file():
        return []
    return [json.loads(line)["result"] for line in log.read_text().splitlines() if line]


passed = failed = skipped = 0
for folder in sys.argv[1:]:
    found = results(folder)
    if not found:
        print(f"{folder}: no test results: the build failed or no test ran", file=sys.stderr)
        failed += 1
    ok = sum(r in ("OK", "EXPECTEDFAIL") for r in found)
    skip = found.count("SKIP")
    passed, skipped, failed = passed + ok, skipped + skip, failed + len(found) - ok - skip
sys.stderr.flush()
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(0 if passed and not failed else 1)
