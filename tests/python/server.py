"""A running `hookmill serve`, for the checks beside this file."""

import json
import os
import subprocess
import urllib.request

PATIENCE = 30


class Server:
    """A server on a temporary directory and a port of its own choice."""

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

    def call(self, method, path, body=None, token=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        request.add_header("authorization", f"Bearer {token or self.token}")
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.log.close()
