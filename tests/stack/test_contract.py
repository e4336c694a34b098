"""One contract for every source that `run` follows: whatever happens to it, each run is counted once."""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import time
from contextlib import contextmanager

import pytest
import servers
from following import run, settles, text

SEED = int(os.environ.get("AGNO_OTEL_SEED", "1"))
SESSIONS = "CREATE TABLE agno_sessions (session_id text PRIMARY KEY, session_type text, runs {json}, updated_at bigint)"
RUNS = "CREATE TABLE agno_runs (run_id text PRIMARY KEY, session_id text, run_data {json}, updated_at bigint)"


def session_of(run):
    return run["session_id"]


class Sqlite:
    """As Agno 2 writes it, and Agno 3."""

    kind, mark = "text", "?"

    def __init__(self, folder, mode):
        self.folder, self.path, self.mode = folder, folder / "agno.db", mode
        self.create(RUNS)

    def __str__(self):
        return str(self.path)

    @contextmanager
    def connect(self):
        connection = sqlite3.connect(self.path, timeout=20, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()

    def create(self, *tables):
        with self.connect() as connection:
            connection.execute(f"PRAGMA journal_mode = {self.mode}")
            for table in tables:
                connection.execute(table.format(json=self.kind))

    def execute(self, sql, *values):
        with self.connect() as connection:
            connection.execute(sql.replace("?", self.mark), values)

    def add(self, run):
        self.execute("INSERT INTO agno_runs VALUES (?, ?, ?, 1700000000)", run["run_id"], session_of(run), text(run))

    def rewrite(self, run):
        self.execute("UPDATE agno_runs SET run_data = ? WHERE run_id = ?", text(run), run["run_id"])

    def delete(self, run):
        self.execute("DELETE FROM agno_runs WHERE run_id = ?", run["run_id"])

    def clear(self):
        for end in ("", "-wal", "-shm"):
            self.path.with_name(f"agno.db{end}").unlink(missing_ok=True)
        self.create(RUNS)

    def save(self):
        with self.connect() as connection, sqlite3.connect(self.folder / "saved") as saved:
            connection.backup(saved)
        saved.close()

    def restore(self):
        self.clear()
        with self.connect() as connection, sqlite3.connect(self.folder / "saved") as saved:
            saved.backup(connection)
        saved.close()

    def away(self):
        with self.connect() as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.rename(self.path, self.folder / "away.db")

    def back(self):
        os.rename(self.folder / "away.db", self.path)

    @contextmanager
    def locked(self):
        with self.connect() as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield lambda run: connection.execute(
                "INSERT INTO agno_runs VALUES (?, ?, ?, 1700000000)", (run["run_id"], session_of(run), text(run))
            )
            connection.execute("COMMIT")

    def as_agno_2(self):
        self.execute("DROP TABLE agno_runs")
        self.create(SESSIONS)

    def store_session(self, runs):
        # 2.x encodes its JSON columns twice in SQLite.
        value = json.dumps(json.dumps(runs)) if self.kind == "text" else json.dumps(runs)
        self.execute("DELETE FROM agno_sessions WHERE session_id = ?", session_of(runs[0]))
        self.execute("INSERT INTO agno_sessions VALUES (?, 'agent', ?, 1700000000)", session_of(runs[0]), value)

    def migrate(self, runs):
        with self.connect() as connection:
            connection.execute("BEGIN")
            connection.execute(RUNS.format(json=self.kind))
            for one in runs:
                sql = "INSERT INTO agno_runs VALUES (?, ?, ?, 1800000000)".replace("?", self.mark)
                connection.execute(sql, (one["run_id"], session_of(one), text(one)))
            connection.execute("UPDATE agno_sessions SET updated_at = 1800000000")
            connection.execute("COMMIT")


class Postgres(Sqlite):
    kind, mark = "jsonb", "%s"

    def __init__(self, folder, server):
        self.folder, self.server, self.name = folder, server, f"c_{time.time_ns()}"
        server.create(self.name)
        self.create(RUNS)

    def __str__(self):
        return self.server.url(self.name)

    @contextmanager
    def connect(self):
        connection = self.server.connect(self.name)
        try:
            yield connection
        finally:
            connection.close()

    def create(self, *tables):
        with self.connect() as connection:
            for table in tables:
                connection.execute(table.format(json=self.kind))

    def admin(self, sql):
        with self.server.connect() as connection:
            connection.execute(sql)

    def renew(self):
        self.admin(f"DROP DATABASE {self.name} WITH (FORCE)")
        self.server.create(self.name)

    def clear(self):
        self.renew()
        self.create(RUNS)

    def tool(self, name, *arguments):
        env = {"PATH": os.environ["PATH"], "PGPASSWORD": servers.PASSWORD}
        where = ["-h", "127.0.0.1", "-p", str(self.server.port), "-U", "owner", "-d", self.name]
        subprocess.run([servers.postgres_program(name), *where, *map(str, arguments)], check=True, env=env)

    def save(self):
        self.tool("pg_dump", "-Fc", "-f", self.folder / "saved")

    def restore(self):
        self.renew()
        self.tool("pg_restore", self.folder / "saved")

    def away(self):
        self.admin(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS false")
        self.admin(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.name}'")

    def back(self):
        self.admin(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS true")

    @contextmanager
    def locked(self):
        with self.connect() as connection, connection.transaction():
            connection.execute("LOCK TABLE agno_runs IN ACCESS EXCLUSIVE MODE")
            yield lambda run: connection.execute(
                "INSERT INTO agno_runs VALUES (%s, %s, %s, 1700000000)", (run["run_id"], session_of(run), text(run))
            )


class Lines:
    """A file of lines that grows."""

    def __init__(self, folder):
        self.folder, self.path, self.runs = folder, folder / "runs.jsonl", {}
        self.path.write_text("")

    def __str__(self):
        return str(self.path)

    def add(self, run):
        self.runs[run["run_id"]] = run
        with self.path.open("a") as file:
            file.write(text(run) + "\n")

    def write(self):
        beside = self.folder / "beside"
        beside.write_text("".join(text(run) + "\n" for run in self.runs.values()))
        beside.rename(self.path)

    def rewrite(self, run):
        self.runs[run["run_id"]] = run
        self.write()

    def delete(self, run):
        del self.runs[run["run_id"]]
        self.write()

    def clear(self):
        self.runs = {}
        self.write()

    def save(self):
        self.saved = dict(self.runs)

    def restore(self):
        self.runs = dict(self.saved)
        self.write()

    def away(self):
        self.path.rename(self.folder / "away")

    def back(self):
        (self.folder / "away").rename(self.path)


class Folder(Lines):
    """A folder with a file for each run."""

    def __init__(self, folder):
        self.folder, self.path, self.runs = folder, folder / "runs", {}
        self.path.mkdir()

    def add(self, run):
        self.runs[run["run_id"]] = run
        beside = self.folder / "beside"
        beside.write_text(text(run))
        beside.rename(self.path / f"{run['run_id']}.json")

    rewrite = add

    def delete(self, run):
        del self.runs[run["run_id"]]
        (self.path / f"{run['run_id']}.json").unlink()

    def write(self):
        shutil.rmtree(self.path)
        self.path.mkdir()
        for one in list(self.runs.values()):
            self.add(one)


MAKE = {
    "sqlite-delete": lambda folder, _: Sqlite(folder, "DELETE"),
    "sqlite-wal": lambda folder, _: Sqlite(folder, "WAL"),
    "postgres": lambda folder, request: Postgres(folder, request.getfixturevalue("postgres")),
    "lines": lambda folder, _: Lines(folder),
    "folder": lambda folder, _: Folder(folder),
}
DATABASES = ("sqlite-delete", "sqlite-wal", "postgres")
databases = pytest.mark.parametrize("source", DATABASES, indirect=True)
everything = pytest.mark.parametrize("source", MAKE, indirect=True)


@pytest.fixture
def source(request, tmp_path):
    return MAKE[request.param](tmp_path, request)


@pytest.fixture
def follower(source, follow):
    """Follows the source, which holds one run that was there before."""
    source.add(run(5_000_000, session="before"))
    made = follow(source).start()
    made.wait_for("what was there before is not counted")
    return made


@everything
def test_kills_leave_no_gap_and_repeat_nothing(source, follower, receiver):
    numbers, total = random.Random(SEED), 0
    for number in range(8):
        source.add(run(10 + number, session=f"s{number % 3}"))
        time.sleep(numbers.uniform(0, 1.2))
        follower.kill()
        source.add(run(1_000, session=f"s{number % 3}"))
        follower.start()
        total += 1_010 + number
    settles(receiver, total)
    follower.stop()


@everything
def test_a_run_that_is_rewritten_counts_as_what_it_is_now(source, follower, receiver):
    one = run(100, status="RUNNING")
    source.add(one)
    settles(receiver, 100)
    source.rewrite(run(150, run_id=one["run_id"], status="RUNNING"))
    settles(receiver, 150)
    source.rewrite(run(2_000, run_id=one["run_id"]))
    settles(receiver, 2_000)
    source.delete(one)
    source.add(run(7))
    settles(receiver, 2_007)
    assert one["run_id"].replace("-", "") in receiver.traces()
    follower.stop()


@everything
def test_what_is_written_within_one_second_is_all_counted(source, follower, receiver):
    for _ in range(30):
        source.add(run(3))
        time.sleep(0.05)
    settles(receiver, 90)
    follower.stop()


@everything
def test_another_source_in_its_place_is_read_anew_and_what_is_known_counts_once(source, follower, receiver):
    known = [run(100), run(200, session="t")]
    for one in known:
        source.add(one)
    settles(receiver, 300)
    source.clear()
    for one in [run(1_000), *known, run(2_000, session="t")]:
        source.add(one)
    settles(receiver, 3_300)
    follower.stop()


@everything
def test_a_backup_takes_nothing_back_and_repeats_nothing(source, follower, receiver):
    source.add(run(100))
    settles(receiver, 100)
    source.save()
    source.add(run(200))
    settles(receiver, 300)
    source.restore()
    source.add(run(400))
    settles(receiver, 700)
    follower.kill()
    source.restore()
    source.add(run(800))
    follower.start()
    settles(receiver, 1_500)
    follower.stop()


@everything
def test_a_source_that_is_away_is_read_when_it_is_back(source, follower, receiver):
    source.add(run(100))
    settles(receiver, 100)
    source.away()
    follower.wait_for("trying again")
    source.back()
    follower.wait_for("can be read again")
    source.add(run(200))
    settles(receiver, 300)
    follower.stop()


@databases
def test_a_lock_is_waited_for(source, follower, receiver):
    with source.locked() as add:
        add(run(100))
        time.sleep(2)
    settles(receiver, 100)
    follower.stop()


@databases
def test_a_migration_from_2_to_3_while_it_is_followed_counts_nothing_twice(source, follow, receiver):
    source.as_agno_2()
    runs = [run(100), run(200)]
    source.store_session(runs[:1])
    follower = follow(source, history="count").start()
    settles(receiver, 100)
    source.store_session(runs)
    settles(receiver, 300)
    source.migrate(runs)
    source.add(run(1_000))
    settles(receiver, 1_300)
    source.add(run(2_000, session="t"))
    settles(receiver, 3_300)
    follower.stop()
