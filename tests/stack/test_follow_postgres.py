"""`run` follows Postgres: what only a server can do to it, and real Agno of two releases at once."""

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter

import following
import pytest
import support
from conftest import free_ports
from following import run, settles, text
from test_run import WRITER

LIVE_SECONDS = 25
KILLS = 10
SEED = int(os.environ.get("AGNO_OTEL_SEED", "1"))
LEADS = 0x61676E6F
TABLE = "CREATE TABLE agno_runs (run_id text PRIMARY KEY, session_id text, run_data jsonb, updated_at bigint)"


@pytest.fixture
def database(postgres, request):
    """A database of its own with Agno 3's table, read by a role that can only read."""
    name = f"f_{abs(hash(request.node.name)):x}"
    postgres.create(name)
    with postgres.connect(name) as connection:
        connection.execute(TABLE)
    connection = postgres.connect(name)
    connection.name, connection.reader = name, postgres.reader(name, "public", "agno_runs")
    yield connection
    connection.close()


def add(connection, *runs, at=1_700_000_000):
    for one in runs:
        connection.execute("INSERT INTO agno_runs VALUES (%s, %s, %s, %s)", [one["run_id"], one["session_id"], text(one), at])
    return sum(one["metrics"]["total_tokens"] for one in runs)


def test_two_releases_of_agno_write_at_once_and_kills_cost_no_token(postgres, receiver, follow, tmp_path):
    print(f"seed {SEED}")
    numbers = random.Random(SEED)
    postgres.create("live")
    with postgres.connect("live") as connection:
        for schema in ("two", "three"):
            connection.execute(f"CREATE SCHEMA {schema}")
    reader = postgres.reader("live", "two")
    postgres.reader("live", "three")
    with postgres.connect("live") as connection:
        for schema in ("two", "three"):
            connection.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO reader")
    writers, runs, calls = [], {}, []
    for release, schema in (("2.9.0", "two"), ("3.1.10", "three")):
        base = tmp_path / f"{schema}.db"
        command = [support.agno_with_postgres(release), WRITER, base, str(LIVE_SECONDS), postgres.url("live"), schema]
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        log = (tmp_path / f"{schema}.log").open("wb")
        writers.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, text=True))
        calls.append(base.with_suffix(".calls.json"))

    def read(writer):
        for line in writer.stdout:
            said = json.loads(line)
            runs[said["run_id"]] = said

    readers = [threading.Thread(target=read, args=(writer,)) for writer in writers]
    for reading in readers:
        reading.start()
    lags = {}

    def measure():
        while any(reading.is_alive() for reading in readers) or len(lags) < len(runs):
            seen = receiver.traces()
            for run_id, said in list(runs.items()):
                if run_id.replace("-", "") in seen:
                    lags.setdefault(run_id, time.time() - said["at"])
            time.sleep(0.05)
            if time.monotonic() > deadline:
                return

    deadline = time.monotonic() + LIVE_SECONDS + following.PATIENCE_SECONDS
    measuring = threading.Thread(target=measure)
    measuring.start()
    follower = follow(reader, history="count").start()
    for _ in range(KILLS):
        time.sleep(numbers.uniform(0.3, 2 * LIVE_SECONDS / KILLS))
        follower.kill()
        time.sleep(numbers.choice((0, 0.5, 1)))
        follower.start()
    for reading, writer in zip(readers, writers):
        reading.join()
        assert writer.wait() == 0, tmp_path
    bill = Counter()
    for file in calls:
        for call in json.loads(file.read_text()):
            bill.update({name: count for name, count in support.Call(call).tokens.items() if count})
    settles(receiver, sum(bill.values()))
    assert receiver.usage() == bill
    wanted = {run_id.replace("-", "") for run_id in runs}
    support.wait_until(lambda: wanted <= receiver.traces(), "all runs", following.PATIENCE_SECONDS)
    measuring.join()
    follower.stop()
    measured = sorted(lags.values())
    print(f"{len(runs)} runs, {KILLS} kills, sent after {measured[len(measured) // 2]:.2f} s (median), {measured[-1]:.2f} s (longest)")
    assert "s3cret" not in follower.said() and b"s3cret" not in follower.state.read_bytes()


def test_what_is_committed_is_sent_within_two_seconds(database, receiver, follow):
    follower = follow(database.reader).start().wait_for_contact()
    lags = []
    for number in range(15):
        one = run(10, session=f"s{number}")
        add(database, one)
        committed, trace = time.monotonic(), one["run_id"].replace("-", "")
        support.wait_until(lambda: trace in receiver.traces(), "its trace", following.PATIENCE_SECONDS)
        lags.append(time.monotonic() - committed)
    print(f"sent after {sorted(lags)[7]:.2f} s (median), {max(lags):.2f} s (longest)")
    assert sorted(lags)[7] < 2
    follower.stop()


def test_what_is_committed_late_is_counted_whatever_its_number_and_time(postgres, database, receiver, follow):
    follower = follow(database.reader).start().wait_for_contact()
    total = add(database, run(10))
    settles(receiver, total)
    with postgres.connect(database.name) as late, late.transaction():
        # It begins, and writes from within as well, before another comes and is seen.
        total += add(late, run(100), at=1)
        with late.transaction():
            total += add(late, run(1_000), at=1)
        before = add(database, run(20), run(30, session="t"))
        settles(receiver, before + 10)
        add(database, run(1))
        settles(receiver, before + 11)
    settles(receiver, before + 1 + total)
    follower.stop()


def test_rows_are_told_apart_whatever_happens_to_them(database, receiver, follow):
    follower = follow(database.reader).start().wait_for_contact()
    one, other = run(11), run(22, session="t")
    total = add(database, one, other)
    settles(receiver, total)
    # Rewritten with the same length and time, again and again, with and without a vacuum in between.
    for tokens in range(12, 32):
        database.execute("UPDATE agno_runs SET run_data = %s WHERE run_id = %s", [text(run(tokens, run_id=one["run_id"])), one["run_id"]])
        if tokens % 5 == 0:
            database.execute("VACUUM agno_runs")
            settles(receiver, tokens + 22)
    settles(receiver, 31 + 22)
    # All in one second, in one transaction and in many.
    total = 31 + 22 + sum(add(database, run(5)) for _ in range(20))
    with database.transaction():
        total += sum(add(database, run(7)) for _ in range(20))
    settles(receiver, total)
    # Deleted rows stay counted, and others take their places.
    database.execute("DELETE FROM agno_runs WHERE run_id = %s", [other["run_id"]])
    database.execute("VACUUM agno_runs")
    total += add(database, run(400, session="t"))
    settles(receiver, total)
    # A row that comes back to its place while nobody looks.
    place = lambda: database.execute("SELECT ctid FROM agno_runs WHERE run_id = %s", [one["run_id"]]).fetchone()
    follower.kill()
    before, tokens = place(), 31
    while tokens == 31 or place() != before:
        tokens += 1
        assert tokens < 99
        database.execute("UPDATE agno_runs SET run_data = %s WHERE run_id = %s", [text(run(tokens, run_id=one["run_id"])), one["run_id"]])
        database.execute("VACUUM agno_runs")
    follower.start()
    total += tokens - 31
    settles(receiver, total)
    # All rows move.
    database.execute("VACUUM FULL agno_runs")
    total += add(database, run(500))
    settles(receiver, total)
    follower.stop()


def test_a_server_that_stops_is_said_once_and_its_return_too(postgres, database, receiver, follow):
    name = database.name
    follower = follow(database.reader).start().wait_for_contact()
    total = add(database, run(10))
    settles(receiver, total)
    for how in (signal.SIGINT, signal.SIGQUIT):
        before = len(follower.said())
        postgres.halt(how)
        follower.wait_for("refused", before)
        postgres.resume()
        follower.wait_for("can be read again", before)
        with postgres.connect(name) as connection:
            total += add(connection, run(10))
        settles(receiver, total)
        assert follower.said()[before:].count("refused") == 1
    follower.stop()


def test_one_leads_and_the_other_stands_by_until_it_is_killed(database, receiver, follow):
    total = add(database, run(1_000))
    first = follow(database.reader, name="first", history="count").start()
    settles(receiver, total)
    second = follow(database.reader, name="second", history="count").start("standing by")
    total += add(database, run(10))
    settles(receiver, total)
    before = len(second.said())
    first.kill()
    second.wait_for("leads now", before)
    total += add(database, run(100))
    settles(receiver, total)
    # It comes back while the other leads, and once more when nobody does: what the other counted is not its own.
    first.start("standing by")
    total += add(database, run(200))
    settles(receiver, total)
    assert second.said().count("standing by") == 1
    before = len(first.said())
    second.stop()
    first.wait_for("leads now", before)
    total += add(database, run(300))
    settles(receiver, total)
    first.kill()
    second.start("may have counted")
    total += add(database, run(400))
    settles(receiver, total)
    second.stop()


def test_a_connection_that_is_cut_gives_the_lead_away_and_nothing_is_counted_twice(postgres, database, receiver, follow):
    first = follow(database.reader, name="first").start().wait_for_contact()
    total = add(database, run(1_000))
    settles(receiver, total)
    second = follow(database.reader, name="second").start("standing by")
    cut = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND granted"
    for _ in range(6):
        database.execute(cut, [LEADS])
        time.sleep(1.5)
        total += add(database, run(10), run(10))
        settles(receiver, total)
    for follower in (first, second):
        follower.stop()


def test_send_does_not_count_what_another_follows(database, receiver, follow, send, tmp_path):
    add(database, run(10))
    counting = ("--state", tmp_path / "send.state", "--endpoint", receiver.url, database.reader)
    assert send(*counting).returncode == 0
    assert receiver.tokens() == 10
    add(database, run(20))
    assert send(*counting).returncode == 0
    assert receiver.tokens() == 30
    follower = follow(database.reader).start().wait_for_contact()
    ended = send(*counting)
    assert ended.returncode == 3 and "followed by another agno-otel" in ended.stderr
    follower.stop()
    add(database, run(40))
    assert send(*counting).returncode == 0
    assert receiver.tokens() == 70


def test_sources_that_share_a_database_do_not_stand_in_each_others_way(postgres, database, receiver, follow):
    database.execute(TABLE.replace("agno_runs", "other_runs"))
    postgres.reader(database.name, "public", "other_runs")
    followers = [
        follow(database.reader, "--runs-table", table, name=table).start().wait_for_contact()
        for table in ("agno_runs", "other_runs")
    ]
    total = add(database, run(10))
    database.execute("INSERT INTO other_runs SELECT 'other', 't', %s, 1", [text(run(20, run_id="other"))])
    settles(receiver, total + 20)
    for follower in followers:
        assert "standing by" not in follower.said()
        follower.stop()


def test_partitions_are_followed_and_views_are_not(postgres, database, receiver, follow, send, tmp_path):
    database.execute("DROP TABLE agno_runs")
    database.execute(TABLE.replace(" PRIMARY KEY", "") + " PARTITION BY LIST (session_id)")
    postgres.reader(database.name, "public", "agno_runs")
    follower = follow(postgres.url(database.name)).start().wait_for_contact()
    total = 0
    for session in ("a", "b"):
        database.execute(f"CREATE TABLE runs_of_{session} PARTITION OF agno_runs FOR VALUES IN ('{session}')")
        total += add(database, run(10, session=session))
    settles(receiver, total)
    follower.stop()
    database.execute("CREATE VIEW shown AS SELECT * FROM agno_runs")
    counting = ("--state", tmp_path / "view.state", "--endpoint", receiver.url, postgres.url(database.name))
    ended = send(*counting, "--runs-table", "shown")
    assert ended.returncode == 3 and "public.shown" in ended.stderr and "view" in ended.stderr, ended.stderr


def test_behind_pgbouncer_it_says_that_it_cannot_stand_by(postgres, database, receiver, follow):
    (port,) = free_ports(1)
    bouncer = postgres.bouncer(port, database.name, "reader", "r3ad-s3cret")
    try:
        follower = follow(f"postgres://any:x@127.0.0.1:{port}/{database.name}").start().wait_for_contact()
        total = add(database, run(10))
        settles(receiver, total)
        assert follower.said().count("behind a pooler") == 1, follower.said()
        # It left no lock with a connection that others get.
        assert database.execute("SELECT count(*) FROM pg_locks WHERE classid = %s", [LEADS]).fetchone() == (0,)
        follower.stop()
    finally:
        bouncer.terminate()
        bouncer.wait(timeout=10)
