"""Databases of many copies of one run, and a server that takes everything: for memory.sh."""

import http.server
import json
import pathlib
import re
import shutil
import sqlite3
import sys
import uuid

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
RUNS_A_SESSION = 5


def with_own_ids(text):
    ids = {}
    return ID.sub(lambda found: ids.setdefault(found[0], str(uuid.uuid4())), text)


def runs(source, target, count):
    """A 3.x database: a row for each run, a few runs to a session."""
    shutil.copy(source, target)
    database = sqlite3.connect(target)
    database.row_factory = sqlite3.Row
    row = dict(database.execute("SELECT * FROM agno_runs LIMIT 1").fetchone())
    names, holes = ", ".join(row), ", ".join("?" * len(row))
    for number in range(int(count)):
        session = f"session-{number // RUNS_A_SESSION}"
        data = with_own_ids(row["run_data"].replace(row["session_id"], session))
        own = {**row, "run_data": data, "run_id": json.loads(data)["run_id"], "session_id": session}
        database.execute(f"INSERT INTO agno_runs ({names}) VALUES ({holes})", list(own.values()))
    database.commit()


def session(source, target, count):
    """A 2.x database: all runs in one row, as JSON within a JSON string."""
    shutil.copy(source, target)
    database = sqlite3.connect(target)
    (stored,) = database.execute("SELECT runs FROM agno_sessions LIMIT 1").fetchone()
    one = json.dumps(json.loads(json.loads(stored))[0])
    many = "[" + ", ".join(with_own_ids(one) for _ in range(int(count))) + "]"
    database.execute("UPDATE agno_sessions SET runs = ?", [json.dumps(many)])
    database.commit()


class Taking(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def serve(port_file):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    pathlib.Path(port_file).write_text(str(server.server_port))
    server.serve_forever()


if __name__ == "__main__":
    {"runs": runs, "session": session, "serve": serve}[sys.argv[1]](*sys.argv[2:])
