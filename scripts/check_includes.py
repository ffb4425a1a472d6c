#!/usr/bin/env python3
"""Checks the rules that keep the folders of ledge apart (docs/ARCHITECTURE.md):

 - who may include whom, from the table RIGHT below;
 - file names of C sources are unique in the repository;
 - every header compiles alone (`--headers CC`). Not meant are kernel templates (they begin with
   "Template", or their names end as in TEMPLATES), which take definitions from the file that
   includes them, and the headers of one instruction set, which compile with its flags only.

Usage: check_includes.py ROOT [--headers CC ...] | --self-test. Prints one line per breach."""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)

# Inside the engine a step includes only steps to its left.
STEPS = ["onnx", "graph", "kernels", "ops", "optimize", "plan", "session", "provider"]

# Folders of kernels that compile with flags of their own.
ISAS = {"x86", "arm", "wasm"}
TEMPLATES = ("_tile", "_set", "_body", "_map")

# area: the other areas that it may include, besides itself, base and the public headers.
RIGHT = {"engine/" + step: {"engine/" + s for s in STEPS[:i]} for i, step in enumerate(STEPS)}
RIGHT["engine/kernels"] = set()  # kernels are functions over arrays: no graphs, no files
RIGHT |= {
    "include": set(),
    "base": set(),
    "adaptive": set(),
    "image": set(),
    "report": set(),
    "trust": set(),
    "http": set(),
    "compress": {"engine/onnx", "engine/graph", "engine/optimize", "engine/kernels", "image",
                 "monitor"},
    "monitor": set(),
    "wasm": {"image", "trust"},
    "module": {"cli", "image", "serve"},
    "serve": {"http", "image", "monitor", "trust", "wasm"},
    "fleet": {"trust"},
    "fleet/registry": {"fleet", "http", "trust"},
    "fleet/agent": {"fleet", "http", "image", "monitor", "trust"},
    "cli": {"image", "report", "trust", "http", "compress", "serve", "monitor", "wasm", "fleet",
            "fleet/registry", "fleet/agent"},
}


def area(path):
    """The area that a path below the root belongs to; None for tests, models, examples."""
    parts = path.parts
    if parts[0] == "include":
        return "include"
    if parts[0] != "src":
        return None
    two = "/".join(parts[1:3])
    return two if two in RIGHT else parts[1]


def included(root, source, text):
    for name in INCLUDE.findall(text):
        for folder in (source.parent, root / "src", root / "include"):
            if (folder / name).is_file():
                yield name, (folder / name).resolve().relative_to(root)
                break
        else:
            yield name, None


def breach(source_area, target_area, target):
    if source_area is None or target_area == source_area or target_area == "include":
        return False
    if target_area is None:
        return True
    if source_area == "include":
        return True
    return target_area != "base" and target_area not in RIGHT[source_area]


def is_plain_header(path, text):
    if path.suffix != ".h":
        return False
    if path.stem.endswith(TEMPLATES) or text.startswith("/* Template"):
        return False
    return path.parts[:3] != ("src", "engine", "kernels") or path.parts[3] not in ISAS


def check(root):
    root, faults, seen = root.resolve(), [], {}
    files = [p for top in ("include", "src", "tests", "models", "examples")
             for p in sorted((root / top).rglob("*.[ch]"))]
    for path in files:
        short = path.relative_to(root)
        if path.name in seen:
            faults.append(f"{short}: the name is taken by {seen[path.name]}")
        seen[path.name] = short
        here = area(short)
        if here is not None and here not in RIGHT:
            faults.append(f"{short}: src/{here} has no row in scripts/check_includes.py")
            continue
        for name, target in included(root, path, path.read_text(errors="replace")):
            if target and breach(here, area(target), target):
                faults.append(f'{short}: may not include "{name}" ({here} -> {area(target)})')
        if short.parts[0] == "examples":
            faults += [f'{short}: examples use the public API only, not "{name}"'
                       for name, _ in included(root, path, path.read_text())
                       if not name.startswith("ledge/")]
    return faults, [f for f in files if is_plain_header(f.relative_to(root), f.read_text())]


def compiles_alone(root, header, compiler):
    command = compiler + ["-std=c11", "-D_GNU_SOURCE", "-Iinclude", "-Isrc", "-Itests/unit", "-fsyntax-only",
                          "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-x", "c", "-"]
    # Through another file, so that it may say "#pragma once" and hold unused helpers.
    done = subprocess.run(command, cwd=root, input=f'#include "{header}"\n', text=True,
                          capture_output=True)
    if done.returncode:
        return f"{header.relative_to(root)}: does not compile alone\n{done.stderr[:500].strip()}"


def self_test():
    """The rules themselves, so that a slip in the table is seen."""
    cases = [("engine/graph", "engine/onnx", False), ("engine/onnx", "engine/graph", True),
             ("engine/kernels", "engine/graph", True), ("engine/ops", "engine/kernels", False),
             ("engine/optimize", "engine/plan", True), ("cli", "engine/session", True),
             ("cli", "include", False), ("cli", "image", False), ("image", "cli", True),
             ("serve", "engine/onnx", True), ("compress", "engine/graph", False),
             ("fleet/registry", "fleet/agent", True), ("fleet/agent", "fleet", False),
             ("monitor", "serve", True), ("base", "engine/onnx", True), ("include", "base", True),
             (None, "engine/plan", False)]
    return [f"self-test: {a} -> {b} should be {'refused' if want else 'allowed'}"
            for a, b, want in cases if breach(a, b, None) != want]


def main(arguments):
    if arguments == ["--self-test"]:
        faults = self_test()
    else:
        root = pathlib.Path(arguments[0]).resolve()
        faults, headers = check(root)
        if not headers:
            faults.append(f"{root}: no headers found")
        if arguments[1:2] == ["--headers"]:
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
                done = pool.map(lambda h: compiles_alone(root, h, arguments[2:]), headers)
                faults += [fault for fault in done if fault]
    print("\n".join(faults) or "every rule holds")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
