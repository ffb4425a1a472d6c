#!/usr/bin/env python3
"""docs/openapi.yaml and the registry's tables name the same routes, methods and roles.

Usage: test_openapi.py LEDGE SOURCE_ROOT. The tables are those of registry_routes.c and admin.c,
read as text; no YAML reader is needed for the few shapes that the description uses."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[2])
METHOD = re.compile(r'(?:^    |[{,] ?)(get|head|put|post|delete): *(\{?)')
ADMIN = "/v1/admin/"


def documented(text):
    """{(METHOD, path with * for each {name}): role or None}"""
    found, path = {}, None
    block = text.split("\npaths:\n")[1].split("\ncomponents:\n")[0]
    for line in block.splitlines():
        at = re.match(r"  (/[^:\s]*):", line)
        if at:
            path, line = re.sub(r"\{\w+\}", "*", at[1]), line[at.end():]
        last = None
        for m in METHOD.finditer(line):
            last = (m[1].upper(), path)
            found[last] = None
        if last:
            current = last
        summary = re.search(r'summary: ("[^"]*"|[^,}]*)', line)
        role = summary and re.search(r"\((viewer|publisher|operator|admin|device)\b", summary[1])
        if role:
            found[current] = role[1]
    return found


def built():
    """The same from the tables in C."""
    found, source = {}, ROOT / "src/fleet/registry"
    row = re.compile(r'^    \{"([A-Z]+)", "([^"]+)", LEDGE_ROLE_(\w+)', re.M)
    plain = row.findall((source / "registry_routes.c").read_text())
    admin = row.findall((source / "admin.c").read_text())
    assert len(plain) > 10 and len(admin) > 20, "the tables look different; mend this test"
    for method, path, role in plain:
        if path == ADMIN:
            continue
        name = path + "*" if len(path) > 1 and path.endswith("/") else path
        found[method, name] = None if role == "NONE" else role.lower()
    for method, path, role in admin:
        found[method, ADMIN + path] = role.lower()
    return found


def main():
    told, real = documented((ROOT / "docs/openapi.yaml").read_text()), built()
    # One row in C, which takes the time by a nonce apart from the rest.
    assert told.pop(("GET", "/v1/tuf/time/*.json"), 0) is None, "the signed time is not described"
    # One row stands for all words below it.
    told = {(m, "/v1/samples/*" if p == "/v1/samples/*/*" else p): role for (m, p), role in told.items()}
    faults = [f"{m} {p} is described, but the registry has none" for m, p in told.keys() - real.keys()]
    faults += [f"{m} {p} is not in docs/openapi.yaml" for m, p in real.keys() - told.keys()]
    faults += [f"{m} {p}: described for {told[m, p]}, but it asks for {real[m, p]}"
               for m, p in told.keys() & real.keys() if told[m, p] and told[m, p] != real[m, p]]
    faults += [f"{m} {p}: the summary does not say for which role" for m, p in told.keys() & real.keys()
               if p.startswith(ADMIN) and not told[m, p]]
    print("\n".join(faults) or f"{len(real)} routes, all described")
    return bool(faults)


sys.exit(main())
