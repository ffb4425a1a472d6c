#!/usr/bin/env python3
"""The registry over TLS with client certificates, and with an S3 that fails in every way.

Usage: test_registry_places.py LEDGE SOURCE_ROOT"""
import hashlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.path.abspath(sys.argv[2]), "tests")]
from certificates import certificate, for_server
from registry_rig import Answer, Bucket, Registry, bucket, check, finish

LEDGE, ROOT = sys.argv[1:3]
MODEL = os.path.join(ROOT, "tests", "data", "onnx", "classifier.onnx")


# ---- TLS ----

def over_tls(r, method, path, body=None, token=None, shown=None):
    context = ssl.create_default_context(cafile=r.path("ca.pem"))
    if shown:
        context.load_cert_chain(r.path(shown + ".pem"), r.path(shown + ".key"))
    c = http.client.HTTPSConnection("127.0.0.1", r.port, timeout=30, context=context)
    c.request(method, path, json.dumps(body) if body is not None else None,
              {"Authorization": f"Bearer {token}"} if token else {})
    return Answer(c.getresponse())


def tls():
    r = Registry(LEDGE)
    for_server(r.work)
    certificate(r.work, "cam-7", "/CN=cam-7", "ca")
    certificate(r.work, "bad", "/CN=..%2Fx y", "ca")
    certificate(r.work, "stranger", "/CN=cam-7")
    r.serve_options = ("--tls-cert", r.path("server.pem"), "--tls-key", r.path("server.key"), "--client-ca", r.path("ca.pem"))
    with r:
        poll = {"device_id": "cam-7"}
        check("over TLS with a token", over_tls(r, "GET", "/v1/admin/models", token=r.token).code == 200)
        check("without anything", over_tls(r, "POST", "/v1/poll", poll).code == 401)
        answer = over_tls(r, "POST", "/v1/poll", poll, shown="cam-7")
        check("a certificate is as good as a token", answer.code == 200, answer)
        answer = over_tls(r, "POST", "/v1/poll", {"device_id": "cam-8"}, shown="cam-7")
        check("for that device alone", answer.code == 403, answer)
        check("and for no more than a device", over_tls(r, "GET", "/v1/admin/models", shown="cam-7").code == 403)
        for name in ("stranger", "bad"):
            try:
                code = over_tls(r, "POST", "/v1/poll", poll, shown=name).code
            except (ssl.SSLError, OSError):
                code = 401  # refused in the handshake
            check(f"not {name}'s", code == 401, code)
        os.environ["LEDGE_REGISTRY"] = f"https://127.0.0.1:{r.port}"
        out = subprocess.run([LEDGE, "registry", "list", "--ca", r.path("ca.pem")], capture_output=True, text=True,
                             env=dict(os.environ, LEDGE_REGISTRY_TOKEN=r.token))
        check("the command line too", out.returncode == 0, out.stderr)
        out = subprocess.run([LEDGE, "registry", "list"], capture_output=True, text=True,
                             env=dict(os.environ, LEDGE_REGISTRY_TOKEN=r.token))
        check("and trusts no other authority", out.returncode == 1 and "cannot be reached" in out.stderr, out.stderr)


# ---- an S3 that fails ----

def s3():
    with bucket() as where, Registry(LEDGE, blobs=where) as r:
        def put(bytes_):
            return r.ask("PUT", "/v1/admin/blobs/" + hashlib.sha256(bytes_).hexdigest(), bytes_)
        check("a file goes up", put(b"one").code == 201)
        check("signed", Bucket.asked[-1][2] == "AWS4-HMAC-SHA256", Bucket.asked[-1])
        for faults in ([500], [503, 500], ["close"], [500, "close"]):
            Bucket.faults[:] = faults
            check(f"{faults} are tried again", put(repr(faults).encode()).code == 201)
        Bucket.faults[:] = [500, 500, 500]
        answer = put(b"never")
        check("but not for ever", answer.code == 503 and "S3 answered 500" in answer.json["error"], answer)
        check("and what failed is not there", r.ask("GET", "/v1/admin/blobs/" + hashlib.sha256(b"never").hexdigest()).code == 404)
        Bucket.faults[:] = [403]
        n = len(Bucket.asked)
        answer = put(b"forbidden")
        check("403 says what to look at", answer.code == 503 and "keys" in answer.json["error"], answer)
        check("and is asked once", len(Bucket.asked) == n + 1)
        Bucket.faults[:], Bucket.why = [400], b"InvalidBucketName"
        check("any other is told by its name", "S3 answered 400: InvalidBucketName" in put(b"a name").json["error"])
        Bucket.why = b""
        Bucket.faults[:] = [404]
        check("no bucket", put(b"x").code == 503)
        Bucket.faults.clear()
        push = ("push", MODEL, "--name", "cls", "--key", r.path("targets.key"), "--force", "--reason", "x", "--no-compile",
                "--no-golden", "--version")
        r.verb(*push, "1.0.0")
        # The last request of a push is for release.json, which the registry reads back.
        seen = len(Bucket.asked)
        r.verb(*push, "1.0.1")
        Bucket.faults[:] = [None] * (len(Bucket.asked) - seen - 1) + ["lie"]
        out = r.verb(*push, "1.0.2", code=1)
        check("wrong bytes are seen", "other bytes" in out, out)
        check("and the version is not there", "1.0.2" not in r.verb("list"))
        Bucket.faults.clear()
        r.verb(*push, "1.0.2")
        shown = json.loads(r.verb("show", "cls", "1.0.2", "--json"))
        address = r.ask("GET", "/v1/blobs/" + shown["files"][0]["sha256"]).headers["location"]
        check("devices get an address that ends", "X-Amz-Expires=900" in address and "X-Amz-Signature=" in address, address)
        strays(r, put)


def strays(r, put):
    """What a registry that was killed left in the bucket goes, however long the list; what comes in stays."""
    ours = set(Bucket.objects)
    left = {"/bucket/models/" + hashlib.sha256(b"%d" % i).hexdigest(): b"%d" % i for i in range(7)}
    others = {"/bucket/models/a&b<c": b"", "/bucket/models/" + "f" * 300: b"", "/bucket/models/README": b"", "/bucket/ab": b""}
    Bucket.objects.update(left)
    Bucket.objects.update(others)
    gone = lambda: sorted(x["sha256"] for x in json.loads(r.verb("gc", "--json"))["removed"])
    part = "models/" + hashlib.sha256(b"in parts").hexdigest()
    Bucket.uploads.update({"a+b/c": part, "d": part, "e": "theirs/" + part})
    Bucket.age = 80000
    check("what is young may be an upload's", gone() == [] and len(Bucket.uploads) == 3)
    Bucket.age, Bucket.lists = 90000, 0
    check("strays go", gone() == sorted(k[-64:] for k in left))
    check("and parts of uploads that were cut", Bucket.uploads == {"e": "theirs/" + part}, Bucket.uploads)
    check("page by page", Bucket.lists > 3, Bucket.lists)
    check("and nothing else does", set(Bucket.objects) == ours | set(others), set(Bucket.objects) ^ (ours | set(others)))
    Bucket.faults[:] = [403]
    check("a list that is refused says why", "403" in r.verb("gc", code=1))
    # Uploads and gc at the same time; the bucket says that all is old.
    stop = threading.Event()
    def clean():
        while not stop.is_set():
            r.ask("POST", "/v1/admin/gc", {"reason": "test"})
    thread = threading.Thread(target=clean)
    thread.start()
    for i in range(60):
        bytes_ = b"new %d" % i
        Bucket.objects["/bucket/models/" + hashlib.sha256(bytes_).hexdigest()] = bytes_  # an earlier try's
        answer = put(bytes_)
        check("an upload beside gc", answer.code == 201, answer)
    stop.set()
    thread.join()
    for i in range(60):
        sha = hashlib.sha256(b"new %d" % i).hexdigest()
        check("what was taken in is there", "/bucket/models/" + sha in Bucket.objects)


if shutil.which("openssl"):
    tls()
s3()
sys.exit(finish())
