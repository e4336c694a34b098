"""Settings for services that are not ours to ask: what `run` sends by them, and where, taken by a server of our own."""

import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import support
from support import REPO, Case

CASE = Case("3.1.10", "tools_multi")
WAYS = {
    "grafana-cloud": ("GRAFANA_CLOUD", {"/otlp/v1/traces", "/otlp/v1/metrics"}, {}),
    "langfuse": ("LANGFUSE", {"/api/public/otel/v1/traces"}, {"x-langfuse-ingestion-version": "4"}),
}


@pytest.fixture
def asked():
    """A server that takes everything: its address, and path and headers of each request."""
    found = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            found.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", found
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", WAYS)
def test_what_is_sent_goes_to_the_paths_it_takes_with_what_it_wants_to_see(name, asked, tmp_path):
    (url, found), (variable, paths, headers) = asked, WAYS[name]
    text = (REPO / f"collector-config/{name}.toml").read_text()
    (tmp_path / "here.toml").write_text(re.sub(r"https://[^/\"]+", url, text))
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), variable: "Basic c2VjcmV0"}
    command = [support.BINARY, "run", CASE.db, "--history", "count", "--config", "here.toml", "--metrics-every", "1"]
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=log, stderr=log)
    try:
        asked_all = lambda: {path for path, _ in found} >= paths
        support.wait_until(lambda: asked_all() or run.poll() is not None, "a request on every path")
    finally:
        run.terminate()
        assert run.wait(timeout=30) == 143, (tmp_path / "log").read_text()
    assert {path for path, _ in found} == paths
    for _, sent in found:
        assert sent["authorization"] == "Basic c2VjcmV0" and sent["content-type"] == "application/x-protobuf"
        assert headers.items() <= sent.items()
    assert "c2VjcmV0" not in (tmp_path / "log").read_text()
