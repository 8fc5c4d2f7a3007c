"""Holds the running server to its OpenAPI document with other people's code: PyPI `schemathesis`, all of its checks.

    python3 -m venv VENV && VENV/bin/pip install -r tests/python/requirements.txt
    cargo build && VENV/bin/python tests/python/conformance.py target/debug/hookmill [EXAMPLES]

Starts the server on a temporary directory with something of everything in it, and calls each operation with what the
document allows and with what it does not: with the admin token, with a tenant's, with none, and with a wrong one. What the
document cannot say, such as which cursor is one, comes from `conformance_hooks.py` and `grammar.py`. Exits with 0 only if every
answer is as the document says, and every operation was answered with what it is for. EXAMPLES bounds the calls of an operation
in each phase (20 unless given); no run takes much longer than LONGEST.
"""

import collections
import http.server
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error

from server import PATIENCE, Server

HERE = os.path.dirname(os.path.abspath(__file__))
SPARE = 40
# Dead letters: more than are replayed by the one job that goes on meanwhile.
LETTERS = 20
# Seconds for fuzzing and for sequences of calls, of one run.
LONGEST = 90


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes what comes to /good, and nothing that comes to /bad."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"] or 0))
        self.send_response(400 if self.path == "/bad" else 200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_PUT = do_PATCH = do_POST

    def log_message(self, *_):
        pass


class Receivers(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """Deliveries that are cancelled hang up."""


def furnish(server, receiver, token=None):
    """Makes something of everything that the token allows, and answers what it is called."""

    def call(method, path, body=None):
        return server.call(method, path, body, token)

    def endpoint(path):
        own = {} if token else {"id": path}
        settings = {"url": f"{receiver}/{'bad' if path == 'bad' else 'good'}", "topics": ["a.*"], "retry": {"delays": []}}
        return call("POST", "/v1/endpoints", {**own, **settings})["id"]

    there = {"endpoints": [endpoint("good")], "failing endpoints": [endpoint("bad")]}
    there["events"] = [call("POST", "/v1/events", {"topic": "a.b", "data": {"n": n}, "id": f"e{n}"})["id"] for n in range(LETTERS)]
    deadline = time.monotonic() + PATIENCE
    while len(letters := call("GET", "/v1/dead-letters")["items"]) < LETTERS:
        if time.monotonic() > deadline:
            raise TimeoutError("no dead letters")
        time.sleep(0.05)
    there["dead-letters"] = [letter["id"] for letter in letters]
    there["jobs"] = [call("POST", "/v1/dead-letters/replay", {"filter": {"topic": "a.b"}, "rate": 0.1})["job"]]
    # What is deleted is not what others are about.
    there["steady endpoints"] = [endpoint("steady")]
    there["spare endpoints"] = [endpoint(f"spare-{n}") for n in range(SPARE)]
    there["cursors"] = cursors(call, there)
    if token:
        return there
    rule, chain = {"topics": ["b.c"], "window": "1s"}, [{"name": "x", "url": f"{receiver}/good", "final_response": True}]
    names = ["calm", *(f"spare-{n}" for n in range(SPARE))]
    for name in names:
        call("PUT", f"/v1/debounce-rules/{name}", rule)
        call("PUT", f"/v1/chains/{name}", chain)
    there["debounce-rules"], there["chains"] = names[:1], names[:1]
    there["spare debounce-rules"], there["spare chains"] = names[1:], names[1:]
    tokens = [call("POST", "/v1/tokens", {"scopes": ["read"]})["id"] for _ in range(SPARE)]
    there = {**there, "tokens": tokens, "spare tokens": tokens}
    return {**there, "cursors": cursors(call, there)}


def cursors(call, there):
    """Where pages of each list begin, as the lists told it."""
    found = {}
    for path, item in call("GET", "/v1/openapi.json")["paths"].items():
        if not any(one["name"] == "cursor" for one in item.get("get", {}).get("parameters", [])):
            continue
        of, found[path] = path.replace("{id}", there.get(path.split("/")[2], [""])[0]), []
        cursor = ""
        while cursor is not None and len(found[path]) < 4:
            try:
                cursor = call("GET", f"{of}?limit=1{cursor and '&cursor='}{cursor}")["next"]
            except urllib.error.HTTPError as error:
                # Some are no tenant's.
                assert error.code == 403, error
                cursor = None
            found[path] += [cursor] if cursor else []
    return found


class Run:
    """Runs of schemathesis against one server."""

    def __init__(self, server, receiver, directory, examples):
        self.server, self.receiver, self.directory, self.examples = server, receiver, directory, examples
        self.failed = []
        self.seed = str(random.SystemRandom().randrange(1 << 32))
        # Too many events in one request are 413, which schemathesis does not take for a refusal by itself.
        refusals = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429]
        with open(os.path.join(directory, "schemathesis.toml"), "w") as file:
            file.write(f"[checks]\nnegative_data_rejection.expected-statuses = {refusals}\n")
        print(f"seed {self.seed}")

    def __call__(self, name, there, token, *options):
        print(f"== {name}", flush=True)
        counts = os.path.join(self.directory, "counts.json")
        told = {"counts": counts, "seed": self.seed, "there": there, "url": f"{self.receiver}/good", "bad url": f"{self.receiver}/bad", "token": bool(token), "valid": "positive" in options, "whole": token == self.server.token}
        environment = {
            **os.environ, "SCHEMATHESIS_HOOKS": "conformance_hooks", "PYTHONPATH": HERE, "HOOKMILL_TOLD": json.dumps(told),
        }
        schemathesis = os.path.join(os.path.dirname(sys.executable), "schemathesis")
        command = [schemathesis, "run", f"{self.server.url}/v1/openapi.json", "--checks", "all", "--no-color"]
        command += ["--max-examples", self.examples, "--generation-database", "none", "--continue-on-failure", *options]
        command += ["--max-time", str(LONGEST), "--seed", self.seed]
        if token:
            command += ["--header", f"Authorization: Bearer {token}"]
            # It tries a wrong token with each operation, and knows no answer to the 21st of a minute but 401. What it asks is
            # asked of every call in the runs without a right token. And `DELETE /v1/jobs/{id}` ends a job and shows it: it is
            # there afterwards, as it ought to be, which "use after free" takes for a mistake.
            others = ["ignored_auth", "use_after_free"]
            # What is allowed here too is told more narrowly in the other run.
            if "negative" in options:
                others.append("positive_data_acceptance")
            command += ["--exclude-checks", ",".join(others)]
        if subprocess.run(command, cwd=self.directory, env=environment).returncode:
            self.failed.append(name)
        with open(counts) as file:
            self.count(name, json.load(file), token == self.server.token and "positive" in options)

    def count(self, name, counts, everything):
        """Tells the statuses of a run. One that may everything must have been answered well by every operation."""
        total = collections.Counter()
        for statuses in counts.values():
            total.update(statuses)
        print(f"{name}: {sum(total.values())} calls, {dict(sorted(total.items()))}")
        if everything:
            idle = [operation for operation, statuses in counts.items() if not any(status < "3" for status in statuses)]
            if idle:
                self.failed.append(f"{name}: never answered well: {', '.join(idle)}")


def main(binary, examples="20"):
    receiver = Receivers(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    failed = []
    # Each on a server of its own: what the admin's calls have configured would decide what becomes of a tenant's events.
    for runs in admin, tenant, strangers:
        with tempfile.TemporaryDirectory() as directory:
            server = Server(os.path.abspath(binary), directory)
            try:
                run = Run(server, f"http://127.0.0.1:{receiver.server_port}", directory, examples)
                runs(run, server, furnish(server, run.receiver))
                failed += run.failed
            finally:
                server.stop()
    receiver.shutdown()
    print("failed: " + "; ".join(failed) if failed else "all as documented")
    return 1 if failed else 0


def both(run, who, there, token):
    run(f"{who}, what is allowed", there, token, "--mode", "positive")
    run(f"{who}, what is not", there, token, "--mode", "negative")


def admin(run, server, there):
    both(run, "the admin token", there, server.token)


def tenant(run, server, there):
    scopes = ["publish", "read", "replay", "admin"]
    token = server.call("POST", "/v1/tokens", {"scopes": scopes, "tenant": "acme"})["token"]
    both(run, "a tenant's token", {**there, **furnish(server, run.receiver, token)}, token)


def strangers(run, _server, there):
    run("no token", there, None)
    run("a wrong token", there, None, "--header", "Authorization: Bearer hmk_0_wrong", "--phases", "coverage")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
