#!/usr/bin/env python3
"""Real clients, unchanged: tritonclient's HTTP client and KServe's Python SDK, each where this Python has it, and curl.

Usage: test_clients.py LEDGE SOURCE_ROOT. Says which were left out; with none of them it counts as skipped."""
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile

import serving
from serving import check

LEDGE, ROOT = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
DATA = os.path.join(ROOT, "tests", "data", "onnx")
PAIR, CLASSIFIER = os.path.join(DATA, "pair.onnx"), os.path.join(DATA, "classifier.onnx")

def fixed(shape):
    return [1 if d < 0 else d for d in shape]


def triton(port):
    import numpy as np
    import tritonclient.http as http
    from tritonclient.utils import InferenceServerException
    with http.InferenceServerClient(f"127.0.0.1:{port}", concurrency=4) as c:
        check("triton: live and ready", c.is_server_live() and c.is_server_ready() and c.is_model_ready("pair") and c.is_model_ready("pair", "1"))
        check("triton: no such model is not ready", not c.is_model_ready("none"))
        check("triton: server metadata", "binary_tensor_data" in c.get_server_metadata()["extensions"])
        m = c.get_model_metadata("pair")
        index = c.get_model_repository_index()
        check("triton: index", {i["name"] for i in index} == {"pair", "cls"} and all(i["state"] == "READY" for i in index), index)
        rng = np.random.default_rng(1)
        arrays = {i["name"]: rng.random(fixed(i["shape"]), dtype=np.float32) for i in m["inputs"]}
        output = m["outputs"][0]["name"]
        answers = []
        for binary_in in (True, False):
            for binary_out in (True, False):
                inputs = []
                for name, a in arrays.items():
                    t = http.InferInput(name, list(a.shape), "FP32")
                    t.set_data_from_numpy(a, binary_data=binary_in)
                    inputs.append(t)
                r = c.infer("pair", inputs, outputs=[http.InferRequestedOutput(output, binary_data=binary_out)], request_id="7", timeout=5000000)
                check("triton: id and version", r.get_response()["id"] == "7" and r.get_response()["model_version"] == "1")
                answers.append(r.as_numpy(output))
        check("triton: JSON and binary agree", all(np.array_equal(answers[0], a) for a in answers[1:]) and answers[0].dtype == np.float32)
        r = c.infer("pair", inputs, model_version="1")
        check("triton: all outputs", r.as_numpy(output) is not None)
        jobs = [c.async_infer("pair", inputs) for _ in range(20)]
        check("triton: many at once", all(np.array_equal(j.get_result().as_numpy(output), answers[0]) for j in jobs))
        for what, wrong in [("no such model", lambda: c.infer("none", inputs)), ("no such version", lambda: c.infer("pair", inputs, model_version="9")),
                            ("one input", lambda: c.infer("pair", inputs[:1])), ("no such output", lambda: c.infer("pair", inputs, outputs=[http.InferRequestedOutput("zz")]))]:
            try:
                wrong()
                check(f"triton: {what}", False)
            except InferenceServerException as e:
                check(f"triton: {what}", len(e.message()) > 5, e)
        c.unload_model("cls")
        check("triton: unload", not c.is_model_ready("cls"))
        c.load_model("cls")
        check("triton: load", c.is_model_ready("cls"))


def triton_shared(port):
    """Its own module of shared memory: inputs and an output in regions, in one request with others."""
    import numpy as np
    import tritonclient.http as http
    import tritonclient.utils.shared_memory as shm
    from tritonclient.utils import InferenceServerException
    with http.InferenceServerClient(f"127.0.0.1:{port}") as c:
        m = c.get_model_metadata("pair")
        rng = np.random.default_rng(3)
        arrays = {i["name"]: rng.random([4, 2], dtype=np.float32) for i in m["inputs"]}
        inputs = [http.InferInput(name, [4, 2], "FP32") for name in arrays]
        for t in inputs:
            t.set_data_from_numpy(arrays[t.name()], binary_data=True)
        want = c.infer("pair", inputs)
        size, output = 32, m["outputs"][0]["name"]
        c.unregister_system_shared_memory()
        region = shm.create_shared_memory_region("in", f"/ledge-triton-{os.getpid()}", 2 * size)
        result = shm.create_shared_memory_region("out", f"/ledge-triton-{os.getpid()}-out", size)
        try:
            shm.set_shared_memory_region(region, list(arrays.values()))
            c.register_system_shared_memory("in", f"/ledge-triton-{os.getpid()}", 2 * size)
            c.register_system_shared_memory("out", f"/ledge-triton-{os.getpid()}-out", size)
            status = c.get_system_shared_memory_status()
            check("triton: regions", {r["name"]: r["byte_size"] for r in status} == {"in": 2 * size, "out": size}, status)
            wanted = http.InferRequestedOutput(output)
            wanted.set_shared_memory("out", size)
            for both in (True, False):
                inputs[0].set_shared_memory("in", size)
                if both:
                    inputs[1].set_shared_memory("in", size, offset=size)
                else:
                    inputs[1].set_data_from_numpy(arrays[inputs[1].name()], binary_data=True)
                shm.set_shared_memory_region(result, [np.zeros([4, 2], np.float32)])
                r = c.infer("pair", inputs, outputs=[wanted])
                got = shm.get_contents_as_numpy(result, np.float32, r.get_output(output)["shape"])
                check("triton: an output in shared memory", np.array_equal(got, want.as_numpy(output)), got)
                others = c.infer("pair", inputs, outputs=[wanted] + [http.InferRequestedOutput(o["name"], binary_data=False) for o in m["outputs"][1:]])
                check("triton: beside others", np.array_equal(others.as_numpy(m["outputs"][1]["name"]), want.as_numpy(m["outputs"][1]["name"])))
            c.unregister_system_shared_memory("in")
            check("triton: one region is left", [r["name"] for r in c.get_system_shared_memory_status()] == ["out"])
            try:
                c.infer("pair", inputs, outputs=[wanted])
                check("triton: a region that is gone", False)
            except InferenceServerException as e:
                check("triton: a region that is gone", "registered" in e.message(), e)
            c.unregister_system_shared_memory()
        finally:
            shm.destroy_shared_memory_region(region)
            shm.destroy_shared_memory_region(result)


def kserve(port):
    import numpy as np
    from kserve import InferInput, InferRequest, InferenceRESTClient, RESTConfig

    async def talk():
        c = InferenceRESTClient(RESTConfig(protocol="v2", retries=1, timeout=20))
        base = f"http://127.0.0.1:{port}"
        check("kserve: live and ready", await c.is_server_live(base) and await c.is_server_ready(base) and await c.is_model_ready(base, "pair"))
        import urllib.request
        m = json.load(urllib.request.urlopen(f"{base}/v2/models/pair"))
        rng = np.random.default_rng(2)
        arrays = {i["name"]: rng.random(fixed(i["shape"]), dtype=np.float32) for i in m["inputs"]}
        seen = []
        for binary in (False, True):
            inputs = []
            for name, a in arrays.items():
                t = InferInput(name=name, shape=list(a.shape), datatype="FP32")
                t.set_data_from_numpy(a, binary_data=binary)
                inputs.append(t)
            r = await c.infer(base, InferRequest(model_name="pair", infer_inputs=inputs, request_id="k1", parameters={"binary_data_output": binary}), model_name="pair")
            check("kserve: id", r.id == "k1" and r.model_name == "pair", r)
            seen.append(r.outputs[0].as_numpy())
        check("kserve: JSON and binary agree", np.allclose(seen[0], seen[1], rtol=0, atol=0), seen)
        try:
            await c.infer(base, InferRequest(model_name="none", infer_inputs=inputs), model_name="none")
            check("kserve: no such model", False)
        except Exception as e:  # whatever of httpx' it is in this version
            check("kserve: no such model", "404" in str(e), e)
        await c.close()
    asyncio.run(talk())


def curl(port, picture):
    """What docs/protocol.md shows, typed by hand."""
    base = f"http://127.0.0.1:{port}"

    def run(*arguments):
        p = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", *arguments], capture_output=True, text=True, timeout=30)
        body, code = p.stdout.rsplit("\n", 1)
        return int(code), json.loads(body) if body else None
    check("curl: ready", run(base + "/v2/health/ready") == (200, {"ready": True}))
    code, o = run("--data-binary", "@" + picture, base + "/v1/classify/cls?top=1")
    check("curl: a picture", code == 200 and len(o["predictions"]) == 1, o)
    inputs = run(base + "/v2/models/pair")[1]["inputs"]
    shape, n = fixed(inputs[0]["shape"]), 1
    for d in shape:
        n *= d
    body = json.dumps({"inputs": [{"name": i["name"], "shape": shape, "datatype": "FP32", "data": [1] * n} for i in inputs]})
    code, o = run("-H", "Content-Type: application/json", "-d", body, base + "/v2/models/pair/infer")
    check("curl: tensors", code == 200 and len(o["outputs"][0]["data"]) > 0, o)
    with open("chunked.json", "w") as f:
        f.write(body)
    code, o = run("-T", "chunked.json", "-X", "POST", "-H", "Transfer-Encoding: chunked", base + "/v2/models/pair/infer")
    check("curl: chunked", code == 200, o)
    code, o = run("--http1.0", "-d", body, base + "/v2/models/pair/infer")
    check("curl: HTTP/1.0", code == 200, o)
    code, o = run("-H", "Expect: 100-continue", "-d", body, base + "/v2/models/pair/infer")
    check("curl: 100-continue", code == 200, o)
    code, o = run("-d", "{", base + "/v2/models/pair/infer")
    check("curl: an error in words", code == 400 and len(o["error"]) > 5, o)
    code, o = run("-X", "POST", base + "/v2/repository/index")
    check("curl: index", code == 200 and len(o) == 2, o)


def has(module):
    try:
        __import__(module)
        return True
    except ImportError:
        print(f"left out: this Python has no {module}")
        return False


with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    ran = 0
    subprocess.run([sys.executable, os.path.join(ROOT, "tests", "cli", "make_inputs.py"), work], check=True)
    with serving.Server(f"pair={PAIR}", f"cls={CLASSIFIER}", "--shared-memory", "ledge-triton-") as server:
        if shutil.which("curl"):
            curl(server.port, os.path.join(work, "pictures", "red.png"))
            ran += 1
        else:
            print("left out: no curl")
        if has("tritonclient.http"):
            triton(server.port)
            ran += 1
            if has("tritonclient.utils.shared_memory"):
                triton_shared(server.port)
        if has("kserve"):
            kserve(server.port)
            ran += 1
if not ran:
    sys.exit(77)
serving.finish()
