"""Certificates for tests, by the openssl command."""
import os
import subprocess


def certificate(folder, name, subject, issuer=None, extra=""):
    """FOLDER/NAME.key and NAME.pem: of an authority of its own, or signed by `issuer`, with the extensions `extra`."""
    key, request, pem = (os.path.join(folder, name + end) for end in (".key", ".csr", ".pem"))
    run = lambda *words: subprocess.run(["openssl", *words], check=True, capture_output=True)
    run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    if not issuer:
        run("req", "-x509", "-new", "-key", key, "-subj", subject, "-days", "2", "-out", pem,
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        return
    run("req", "-new", "-key", key, "-subj", subject, "-out", request)
    text = os.path.join(folder, name + ".ext")
    with open(text, "w") as f:
        f.write(extra or "basicConstraints=CA:FALSE\n")
    ca = os.path.join(folder, issuer)
    run("x509", "-req", "-in", request, "-CA", ca + ".pem", "-CAkey", ca + ".key", "-CAcreateserial", "-days", "2",
        "-extfile", text, "-out", pem)


def for_server(folder):
    """FOLDER/ca.pem, and server.key and server.pem for localhost, signed by that."""
    certificate(folder, "ca", "/CN=the authority")
    certificate(folder, "server", "/CN=localhost", "ca", "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
