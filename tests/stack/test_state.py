"""The state file on a file system that is really full, where we may mount one."""

import os
import shutil
import signal
import sqlite3
import subprocess

import pytest
import support

CASE = support.Case("3.1.10", "team_run")
COPIES = 150


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_ends_run_and_costs_no_token(stack, disk, tmp_path):
    database, service = tmp_path / "agno.db", "full-disk"
    shutil.copy(CASE.db, database)
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT run_id, run_data FROM agno_runs").fetchall()
        columns = [row[1] for row in connection.execute("PRAGMA table_info(agno_runs)")]
        others = ", ".join(c for c in columns if c not in ("run_id", "run_data"))
        for copy in range(COPIES):
            for run_id, data in rows:
                other = run_id
                for known, _ in rows:
                    data = data.replace(known, f"{copy:08x}{known[8:]}")
                    other = other.replace(known, f"{copy:08x}{known[8:]}")
                connection.execute(
                    f"INSERT INTO agno_runs (run_id, run_data, {others}) SELECT ?, ?, {others} FROM agno_runs WHERE run_id = ?",
                    [other, data, run_id],
                )
    connection.close()

    def run(**settings):
        return subprocess.Popen(
            [support.BINARY, "run", database, "--history", "count", "--metrics-every", "1", "--endpoint", stack.otlp]
            + ["--state", disk / "state.db"],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OTEL_SERVICE_NAME": service},
            stderr=subprocess.PIPE,
            text=True,
            **settings,
        )

    full = run()
    _, said = full.communicate(timeout=60)
    assert full.returncode == 1 and "state.db" in said and "start again" in said, said
    subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
    child = run()
    try:
        # What the messages of copies say is theirs by the runs they are in, so the bill is that of one, so many times.
        send = subprocess.run(
            [support.BINARY, "send", "--json", "--to", f"otlp-json:{tmp_path / 'out.jsonl'}", database],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        truth = {name: count for name, count in support.json.loads(send.stdout)["tokens"].items() if count}
        spend = lambda: stack.prometheus.spend("agno_token_usage_total", service, by="agno_token_class")
        support.wait_until(lambda: {n: c for n, c in spend().items() if c} == truth, "the spend", seconds=60)
    finally:
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=30)
