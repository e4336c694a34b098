"""What following costs, for the table in docs/performance.md: `run` beside `send`, idle, with a long history, with a
session that grows. Needs nothing but Python; the databases are copies of one run of the fixtures.

cargo build --release && python3 benches/following.py [history|idle|durable|session|million]..."""

import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

import memory

BINARY = pathlib.Path(__file__).parent.parent / "target/release/agno-otel"
FIXTURES = pathlib.Path(__file__).parent.parent / "tests/fixtures/agno"
ROWS, SESSION = FIXTURES / "3.1.10/tools_multi.db", FIXTURES / "2.5.17/tools_multi.db"
TICKS = os.sysconf("SC_CLK_TCK")
ENVIRONMENT = {"PATH": os.environ["PATH"]}


class Run:
    """An `agno-otel run`, and what the system says of it."""

    def __init__(self, endpoint, state, database, *arguments):
        command = [BINARY, "run", "--endpoint", endpoint, "--state", state, database, *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
        self.state = state

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak_mb(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def holds(self, what, count):
        """Waits until the state file holds so many rows of a table."""
        while True:
            time.sleep(0.2)
            try:
                with sqlite3.connect(f"file:{self.state}?mode=ro", uri=True) as state:
                    if state.execute(f"SELECT count(*) FROM {what}").fetchone()[0] >= count:
                        return
            except sqlite3.Error:
                pass

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def cpu_of(*command):
    before = os.times()
    subprocess.run([BINARY, *command], check=True, capture_output=True, env=ENVIRONMENT)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def add_runs(path, count, first):
    """More runs for a 3.x database, each in a session of its own."""
    with sqlite3.connect(path) as database:
        database.row_factory = sqlite3.Row
        row = dict(database.execute("SELECT * FROM agno_runs LIMIT 1").fetchone())
        names, holes = ", ".join(row), ", ".join("?" * len(row))
        for number in range(first, first + count):
            data = memory.with_own_ids(row["run_data"].replace(row["session_id"], f"grown-{number}"))
            own = {**row, "run_data": data, "run_id": json.loads(data)["run_id"], "session_id": f"grown-{number}"}
            database.execute(f"INSERT INTO agno_runs ({names}) VALUES ({holes})", list(own.values()))


def grow_session(path):
    """One more run for the session of a 2.x database."""
    with sqlite3.connect(path) as database:
        (stored,) = database.execute("SELECT runs FROM agno_sessions LIMIT 1").fetchone()
        runs = json.loads(json.loads(stored))
        runs.append(json.loads(memory.with_own_ids(json.dumps(runs[0]))))
        database.execute("UPDATE agno_sessions SET runs = ?", [json.dumps(json.dumps(runs))])


def durable(endpoint, folder):
    database = folder / "durable.db"
    memory.runs(ROWS, database, 8_911)
    for turn in range(3):
        plain = cpu_of("send", "--endpoint", endpoint, database)
        kept = cpu_of("send", "--endpoint", endpoint, "--state", folder / f"durable-{turn}", database)
        print(f"durable: send {plain:.2f} s, send --state {kept:.2f} s of CPU: {kept / plain:.2f} x", flush=True)


def idle(endpoint, folder):
    database = folder / "idle.db"
    memory.runs(ROWS, database, 1_000)
    run = Run(endpoint, folder / "idle", database)
    time.sleep(5)
    before = run.cpu_s()
    time.sleep(60)
    print(f"idle: {run.cpu_s() - before:.2f} s of CPU a minute, {run.peak_mb():.0f} MB at most", flush=True)
    run.stop()


def history(endpoint, folder):
    database = folder / "history.db"
    memory.runs(ROWS, database, 100_000)
    run = Run(endpoint, folder / "history", database)
    run.holds("meta WHERE name LIKE 'read %'", 1)
    print(f"history: 100,000 runs noted with {run.cpu_s():.1f} s of CPU, {run.peak_mb():.0f} MB at most", flush=True)
    run.holds("runs", 100_000)
    print(f"history: and put together with {run.cpu_s():.1f} s, {run.peak_mb():.0f} MB", flush=True)
    before = run.cpu_s()
    for number in range(20):
        add_runs(database, 1, number)
        time.sleep(1)
    print(f"history: one more run costs {(run.cpu_s() - before) / 20 * 1000:.0f} ms of CPU", flush=True)
    run.stop()


def session(endpoint, folder):
    for count in (10, 100, 1_000):
        database = folder / f"session-{count}.db"
        memory.session(SESSION, database, count)
        run = Run(endpoint, folder / f"session-{count}", database)
        run.holds("runs", count)
        time.sleep(1)
        before = run.cpu_s()
        for number in range(5):
            grow_session(database)
            run.holds("runs", count + number + 1)
        grown = (run.cpu_s() - before) / 5 * 1000
        print(f"session: of {count} runs, one more costs {grown:.0f} ms of CPU, {run.peak_mb():.0f} MB", flush=True)
        run.stop()


def million(endpoint, folder):
    """Ten times a hundred thousand runs, which come while they are followed."""
    database = folder / "million.db"
    memory.runs(ROWS, database, 1)
    run = Run(endpoint, folder / "million", database, "--history", "count")
    for part in range(10):
        add_runs(database, 100_000, part * 100_000)
        run.holds("runs", (part + 1) * 100_000)
        size = (folder / "million").stat().st_size / 1e6
        print(f"million: {part + 1}00,000 runs: {run.cpu_s():.0f} s of CPU, {run.peak_mb():.0f} MB, "
              f"state file {size:.0f} MB", flush=True)
    run.stop()


def main(*parts):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        port = folder / "port"
        threading.Thread(target=memory.serve, args=[port], daemon=True).start()
        while not port.exists() or not port.read_text():
            time.sleep(0.1)
        for part in parts or ("durable", "idle", "history", "session", "million"):
            globals()[part](f"http://127.0.0.1:{port.read_text()}", folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
