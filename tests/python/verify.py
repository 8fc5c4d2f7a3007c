"""Verifies real deliveries with other people's code: PyPI `standardwebhooks` for v1, PyNaCl for v1a.

    python3 -m venv VENV && VENV/bin/pip install -r tests/python/requirements.txt
    cargo build && VENV/bin/python tests/python/verify.py target/debug/hookmill

Starts the server on a temporary directory, receives what it sends, and exits with 0 only if every delivery verifies and
every forged one does not.
"""

import base64
import http.server
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import urllib.request

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

PATIENCE = 30
BROUGHT = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps every request."""

    def __init__(self):
        self.received = queue.Queue()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.put((headers, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class Server:
    """A running `hookmill serve`."""

    def __init__(self, binary, directory):
        data = os.path.join(directory, "data")
        self.log = open(os.path.join(directory, "server.log"), "wb")
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", data, "--allow-loopback"]
        environment = {**os.environ, "HOOKMILL_DISK_RESERVE": "0"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment)
        line = self.process.stdout.readline()
        self.url = line.strip().removeprefix("Hookmill listens on ")
        token = self.process.stdout.readline().split(": ", 1)[1].strip()
        with open(token) as file:
            self.token = file.read().strip()

    def call(self, method, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), method=method)
        request.add_header("authorization", f"Bearer {self.token}")
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.log.close()


def verifies(secret, headers, body):
    """By the reference implementation, which knows the usual names alone."""
    usual = {f"webhook-{name}": headers.get(f"webhook-{name}") or headers[f"svix-{name}"] for name in NAMES}
    try:
        Webhook(secret).verify(body, usual)
    except WebhookVerificationError:
        return False
    return True


def verifies_asymmetric(public, headers, body):
    prefix = "webhook" if "webhook-id" in headers else "svix"
    of = lambda name: headers[f"{prefix}-{name}"]
    message = f"{of('id')}.{of('timestamp')}.".encode() + body
    key = VerifyKey(base64.b64decode(public.removeprefix("whpk_")))
    for signature in of("signature").split(" "):
        scheme, _, encoded = signature.partition(",")
        if scheme == "v1a":
            try:
                key.verify(message, base64.b64decode(encoded))
                return True
            except BadSignatureError:
                pass
    return False


NAMES = ["id", "timestamp", "signature"]
failures = 0


def check(what, holds):
    global failures
    failures += not holds
    print(f"{'ok    ' if holds else 'FAILED'} {what}")


def main(binary):
    with tempfile.TemporaryDirectory() as directory:
        receiver, server = Receiver(), Server(binary, directory)
        try:
            story(server, receiver)
        finally:
            server.stop()
            receiver.shutdown()
    print(f"{failures} failed" if failures else "all verified")
    return 1 if failures else 0


def story(server, receiver):
    def endpoint(name, **settings):
        return server.call("POST", "/v1/endpoints", {"id": name, "url": receiver.url, "topics": [name], **settings})

    def delivered(name):
        server.call("POST", "/v1/events", {"topic": name, "data": {"test": 2432232314, "text": "é"}})
        return receiver.received.get(timeout=PATIENCE)

    made = endpoint("generated")["secret"]
    headers, body = delivered("generated")
    check("v1, generated secret: standardwebhooks", verifies(made, headers, body))
    check("v1, a changed body is noticed", not verifies(made, headers, body + b" "))
    check("v1, another secret is noticed", not verifies(BROUGHT, headers, body))

    endpoint("brought", secret=BROUGHT)
    headers, body = delivered("brought")
    check("v1, a secret of our own: standardwebhooks", verifies(BROUGHT, headers, body))

    endpoint("svix", secret=BROUGHT, signing={"type": "standard", "header_prefix": "svix"})
    headers, body = delivered("svix")
    check("svix names and no others", "svix-id" in headers and "webhook-id" not in headers)
    check("v1 under the svix names: standardwebhooks", verifies(BROUGHT, headers, body))

    public = endpoint("pair", signing={"type": "standard", "scheme": "v1a"})["signing"]["public_keys"][0]
    headers, body = delivered("pair")
    check("v1a: PyNaCl", verifies_asymmetric(public, headers, body))
    check("v1a, a changed body is noticed", not verifies_asymmetric(public, headers, body + b" "))

    rotated = server.call("POST", "/v1/endpoints/pair/rotate-secret", {})["signing"]["public_keys"]
    headers, body = delivered("pair")
    check("v1a, both keys during a rotation: PyNaCl", len(rotated) == 2 and all(verifies_asymmetric(key, headers, body) for key in rotated))

    mixed = server.call("POST", "/v1/endpoints/pair/rotate-secret", {"secret": BROUGHT})
    headers, body = delivered("pair")
    check("from v1a to v1, standardwebhooks", verifies(BROUGHT, headers, body))
    check("from v1a to v1, PyNaCl", all(verifies_asymmetric(key, headers, body) for key in mixed["signing"]["public_keys"]))

    new = server.call("POST", "/v1/endpoints/generated/rotate-secret", {"overlap": "1h"})["secret"]
    headers, body = delivered("generated")
    check("v1, both secrets during a rotation", verifies(made, headers, body) and verifies(new, headers, body))
    last = server.call("POST", "/v1/endpoints/generated/rotate-secret", {"overlap": "0s"})["secret"]
    headers, body = delivered("generated")
    check("v1, one secret after it", verifies(last, headers, body) and not any(verifies(old, headers, body) for old in (made, new)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
