"""`agno-otel run --listen`, for tests that hand runs over to it."""

import os
import subprocess
import time
import urllib.error
import urllib.request

import support

TOKEN = "t-1"


class Bridge:
    def __init__(self, folder, service, otlp, *more, listen="127.0.0.1:0"):
        self.folder, self.service, self.log = folder, service, folder / f"{service}.log"
        self.command = [support.BINARY, "run", "--listen", listen, "--metrics-every", "1", "--endpoint", otlp]
        self.command += ["--state", folder / f"{service}.state", *more]

    def start(self):
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        env |= {"OTEL_SERVICE_NAME": self.service, "AGNO_OTEL_LISTEN_TOKEN": TOKEN}
        before = len(self.said())
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=env, stdout=log, stderr=log)
        support.wait_until(lambda: 'listening url="' in self.said()[before:] or self.process.poll() is not None, self.log)
        assert self.process.poll() is None, self.said()
        self.url = self.said()[before:].partition('listening url="')[2].partition('"')[0]
        return self

    def said(self):
        return self.log.read_text() if self.log.exists() else ""

    def ask(self, path, body=None):
        request = urllib.request.Request(self.url + path, body, {"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.headers, answer.read()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        assert self.process.poll() is None, self.said()
        self.process.terminate()
        assert self.process.wait(timeout=30) == 143, self.said()
        assert "panicked" not in self.said()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
