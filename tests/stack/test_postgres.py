"""Agno's Postgres databases: written by real Agno releases, read with nothing but the right to read."""

import json
import os
import re
import sqlite3
import subprocess
from collections import Counter

import psycopg
import pytest
import servers
import support
from conftest import free_ports
from psycopg import sql

AGNO = support.REPO / "tests/agno"
RUNNING = ("simple", "tools_multi", "history", "team_run", "workflow_run")


@pytest.fixture(scope="module")
def agno(postgres, tmp_path_factory):
    """Runs cases with a real Agno into a database; returns what the provider billed."""

    def run(version, database, *cases, **settings):
        out = tmp_path_factory.mktemp("calls")
        settings = json.dumps({"db_url": postgres.url(database), **settings})
        made = [support.agno_with_postgres(version), AGNO / "postgres.py", out, settings, *cases]
        subprocess.run(made, check=True, capture_output=True, text=True, env={"PATH": os.environ["PATH"], "HOME": str(out)})
        bill = Counter(dict.fromkeys(support.CLASSES, 0))
        for calls in out.glob("*.calls.json"):
            for call in json.loads(calls.read_text()):
                bill.update(support.Call(call).tokens if call.get("usage") else {})
        return bill

    return run


@pytest.fixture
def said(send, tmp_path):
    """Sends sources into a file; returns the summary and the spans, each as sorted text."""

    def run(*sources, **env):
        out = tmp_path / "out.jsonl"
        ended = send("--json", "--to", f"otlp-json:{out}", *sources, **env)
        assert ended.returncode == 0, ended.stderr
        spans = [span.json for message in support.messages(out) for span in support.spans(message)]
        return json.loads(ended.stdout), sorted(json.dumps(span, sort_keys=True) for span in spans)

    return run


@pytest.mark.parametrize(("version", "kind"), [("2.0.2", "json"), ("2.9.0", "jsonb"), ("3.1.10", "jsonb")])
def test_tokens_are_those_the_provider_billed(postgres, agno, said, version, kind):
    database = f"agno_{version.replace('.', '_')}"
    postgres.create(database)
    # The oldest release has not all that the cases of teams and workflows need.
    bill = agno(version, database, *RUNNING[: 3 if version == "2.0.2" else 5])
    table, column = ("agno_runs", "run_data") if version == "3.1.10" else ("agno_sessions", "runs")
    with postgres.connect(database) as connection:
        types = "SELECT data_type FROM information_schema.columns WHERE (table_name, column_name) = (%s, %s)"
        assert connection.execute(types, [table, column]).fetchone() == (kind,)
    summary, spans = said(postgres.reader(database, "ai", table))
    assert summary["tokens"] == bill
    assert summary["sessions"] == (3 if version == "2.0.2" else 5)
    assert len(spans) == summary["spans"] > 15
    assert summary["oddities"] == {} and summary["warnings"] == []


def test_a_database_of_2x_is_read_as_3x_goes_on_with_it_and_after_its_migration(postgres, agno, said):
    postgres.create("upgraded")
    bill = agno("2.9.0", "upgraded", "history", "team_run")
    bill.update(agno("3.1.10", "upgraded", "simple", "workflow_run"))
    before, spans = said(postgres.url("upgraded"))
    assert before["tokens"] == bill
    agno("3.1.10", "upgraded", "migrate")
    after, migrated = said(postgres.url("upgraded"))
    assert after["tokens"] == bill and after["runs"] == before["runs"]
    ids = lambda spans: sorted(json.loads(span)["spanId"] for span in spans)
    assert ids(migrated) == ids(spans)
    assert after["records"] > before["records"]  # what was migrated stands in both tables


def copy(postgres, database, case, kind):
    """Copies the tables of a fixture into a schema of their own; False if Postgres does not take what they hold."""
    schema = re.sub(r"\W", "_", case.service)
    source = sqlite3.connect(f"file:{case.db}?mode=ro", uri=True)
    source.text_factory = lambda raw: raw.decode("utf-8", "surrogatepass")
    text = lambda value: None if value is None else json.dumps(support.decode(value))
    try:
        with postgres.connect(database) as connection, connection.transaction():
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            for name, key, column in (("agno_sessions", "session_id", "runs"), ("agno_runs", "run_id", "run_data")):
                columns = [row[1] for row in source.execute(f"PRAGMA table_info({name})")]
                kinds = {column: kind, "updated_at": "bigint", "created_at": "bigint", "run_index": "bigint"}
                types = [(c, kinds.get(c, "text") + (" PRIMARY KEY" if c == key else "")) for c in columns]
                if not columns:
                    continue
                table = sql.Identifier(schema, name)
                described = sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(c), sql.SQL(t)) for c, t in types)
                connection.execute(sql.SQL("CREATE TABLE {} ({})").format(table, described))
                places = sql.SQL(", ").join([sql.Placeholder()] * len(columns))
                for row in source.execute(f"SELECT * FROM {name}"):
                    values = [text(v) if c == column else v for c, v in zip(columns, row)]
                    connection.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(table, places), values)
    except (psycopg.DataError, UnicodeEncodeError):  # NaN, \u0000 and lone surrogates
        return False
    finally:
        source.close()
    return True


@pytest.mark.parametrize(("version", "kind"), [("2.0.2", "json"), ("2.5.17", "jsonb"), ("3.1.10", "jsonb")])
def test_postgres_says_what_sqlite_says_of_the_same_rows(postgres, said, version, kind):
    database = f"copied_{version.replace('.', '_')}"
    postgres.create(database)
    cases = [case for case in support.CASES if case.version == version]
    copied = [case for case in cases if copy(postgres, database, case, kind)]
    assert len(copied) > 40 and len(cases) - len(copied) < 6
    url = postgres.url(database)
    expected, spans = said(*(case.db for case in copied))
    found, found_spans = said(url)
    essence = lambda summary: {key: summary[key] for key in ("runs", "tokens", "sessions", "traces", "spans", "series")}
    assert essence(found) == essence(expected)
    assert found_spans == spans


def test_names_of_ones_own_are_found_and_can_be_chosen(postgres, agno, said, send):
    postgres.create("named")
    with postgres.connect("named") as connection:  # Agno itself fails to, for its space
        connection.execute('CREATE SCHEMA "My Schema"')
    mine = agno("3.1.10", "named", "simple", db_schema="My Schema", session_table="talks")
    other = agno("3.1.10", "named", "tools_multi", db_schema="other")
    url = postgres.url("named")
    assert said(url)[0]["tokens"] == {name: mine[name] + other[name] for name in support.CLASSES}
    for name in ("talks_runs", "My Schema.talks_runs"):
        assert said(url, "--runs-table", name)[0]["tokens"] == mine
    assert said(url, "--runs-table", "agno_runs")[0]["tokens"] == other
    ended = send(url, "--runs-table", "public.agno_runs", "--to", "otlp-json:-")
    assert ended.returncode == 3 and "other.agno_runs" in ended.stderr
    # Who may read one of two is told what to ask for, or reads the one.
    reader = postgres.reader("named", "other", "agno_runs", role="half")
    ended = send(reader, "--to", "otlp-json:-")
    assert ended.returncode == 3 and 'GRANT SELECT ON "My Schema"."talks_runs" TO "half"' in ended.stderr
    assert said(reader, "--runs-table", "other.agno_runs")[0]["tokens"] == other
    # A view is read where it is named, or alone.
    with postgres.connect("named") as connection:
        connection.execute("CREATE VIEW public.shown AS SELECT * FROM other.agno_runs")
    assert said(url)[0]["records"] == 2
    assert said(postgres.reader("named", "public", "shown", role="half"), "--runs-table", "shown")[0]["tokens"] == other


def test_pages_are_bounded_and_nothing_is_lost_between_them(postgres, said):
    postgres.create("large")
    with postgres.connect("large") as connection:
        connection.execute("CREATE TABLE runs_of_many (run_id text PRIMARY KEY, session_id text, run_data jsonb)")
        # 2,000 small runs of one session, and 40 whose noise no compression makes smaller.
        connection.execute(
            """INSERT INTO runs_of_many SELECT 'it''s \\ ' || n, 'many', jsonb_build_object('run_id', 'it''s \\ ' || n,
               'session_id', 'many', 'agent_id', 'a', 'status', 'COMPLETED', 'metrics',
               '{"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}'::jsonb, 'content', CASE WHEN n % 50 = 0 THEN
               (SELECT string_agg(md5(n::text || m), '') FROM generate_series(1, 8000) m) ELSE '' END)
               FROM generate_series(1, 2000) n"""
        )
    reader = postgres.reader("large", "public", "runs_of_many")
    before = len(postgres.log.read_text())
    summary, _ = said(reader)
    assert summary["runs"]["agent"] == summary["records"] == 2000
    assert summary["total_tokens"] == 4000
    asked = [line for line in postgres.log.read_text()[before:].splitlines() if "BEGIN READ ONLY" in line]
    # Once to find tables; then pages of 256 rows or 1 MiB, twice: 250 kB each for forty of them.
    assert 2 * 10 < len(asked) < 2 * 30, len(asked)


def test_behind_pgbouncer_in_transaction_mode_nothing_is_left_behind(postgres, agno, said):
    postgres.create("pooled")
    bill = agno("3.1.10", "pooled", "history")
    postgres.reader("pooled", "ai", "agno_runs")
    (port,) = free_ports(1)
    bouncer = postgres.bouncer(port, "pooled", "reader", "r3ad-s3cret")
    try:
        connect = lambda: psycopg.connect(host="127.0.0.1", port=port, user="any", dbname="pooled", autocommit=True, prepare_threshold=None)

        def is_ready():
            try:
                connect().close()
            except psycopg.OperationalError:
                return False
            return True

        support.wait_until(is_ready, "PgBouncer")
        # Another client uses the same one connection to the server, between our pages and afterwards.
        with connect() as other:
            timeout = lambda: other.execute("SHOW statement_timeout").fetchone()
            assert timeout() == ("0",)
            for _ in range(2):
                assert said(f"postgres://any:x@127.0.0.1:{port}/pooled")[0]["tokens"] == bill
                assert timeout() == ("0",)
            assert other.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
    finally:
        bouncer.terminate()
        bouncer.wait(timeout=10)


def test_tls_is_checked_as_far_as_sslmode_asks(postgres, agno, said, send):
    postgres.create("secure")
    bill = agno("3.1.10", "secure", "simple")
    certificate = postgres.certificate
    for host, query in [
        ("127.0.0.1", "?sslmode=disable"),
        ("127.0.0.1", ""),
        ("127.0.0.1", "?sslmode=require&channel_binding=require"),
        ("127.0.0.1", f"?sslmode=verify-ca&sslrootcert={certificate}"),
        ("localhost", f"?sslmode=verify-full&sslrootcert={certificate}"),
    ]:
        assert said(postgres.url("secure", host=host, query=query))[0]["tokens"] == bill, query
    for host, query, words in [
        ("127.0.0.1", f"?sslmode=verify-full&sslrootcert={certificate}", "verify-ca"),
        ("localhost", "?sslrootcert=system", "sslrootcert=FILE"),
        ("localhost", "?sslmode=verify-full", "sslrootcert=FILE"),
        ("localhost", "?sslmode=disable&channel_binding=require", "channel binding"),
    ]:
        ended = send(postgres.url("secure", host=host, query=query), "--to", "otlp-json:-")
        assert ended.returncode == 3 and words in ended.stderr, (query, ended.stderr)


def test_what_is_wrong_is_named_without_the_password(postgres, agno, send, tmp_path):
    postgres.create("wrong")
    agno("3.1.10", "wrong", "simple")
    with postgres.connect("wrong") as connection:
        connection.execute("CREATE TABLE milk (litres int)")
    postgres.create("milk")
    with postgres.connect("milk") as connection:
        connection.execute("CREATE TABLE milk (litres int)")
    nobody = free_ports(1)[0]
    for url, words in [
        (postgres.url("wrong", password="wr0ng-s3cret"), ["password authentication failed", "PGPASSWORD"]),
        (postgres.url("nowhere"), ["nowhere", "does not exist"]),
        (postgres.url("milk"), ["public.milk", "a Postgres database"]),
        (f"postgres://owner:s3cret@127.0.0.1:{nobody}/wrong", ["refused", str(nobody), "listens"]),
        (postgres.url("wrong", query="?pool_size=3"), ["pool_size", "remove it"]),
        (postgres.reader("milk", "public", "milk").replace("/milk", "/wrong"), ['GRANT SELECT ON "ai"."agno_runs" TO "reader"']),
    ]:
        for command in (["--to", "otlp-json:-"], ["--dead-letters", tmp_path / "dead.jsonl"]):
            ended = send(url, *command, RUST_LOG="trace")
            assert ended.returncode == 3, ended.stderr
            assert all(word in ended.stderr for word in words), (words, ended.stderr)
            assert "s3cret" not in ended.stderr + ended.stdout


def test_a_table_that_is_locked_is_waited_for_only_briefly(postgres, agno, send):
    postgres.create("locked")
    agno("3.1.10", "locked", "simple")
    with postgres.connect("locked") as connection, connection.transaction():
        connection.execute("LOCK TABLE ai.agno_runs IN ACCESS EXCLUSIVE MODE")
        ended = send(postgres.url("locked"), "--to", "otlp-json:-")
    assert ended.returncode == 3 and "locked by another program" in ended.stderr


def test_the_password_may_stand_elsewhere(postgres, agno, said, tmp_path):
    postgres.create("elsewhere")
    bill = agno("3.1.10", "elsewhere", "simple")
    url = f"postgres://owner@127.0.0.1:{postgres.port}/elsewhere"
    assert said(url, PGPASSWORD=servers.PASSWORD)[0]["tokens"] == bill
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:{postgres.port}:elsewhere:owner:{servers.PASSWORD}\n")
    file.chmod(0o600)
    assert said(url, PGPASSFILE=str(file))[0]["tokens"] == bill
    assert said(f"{url}?passfile={file}")[0]["tokens"] == bill
    socket = f"postgres:///elsewhere?host={postgres.folder}&port={postgres.port}&user=owner"
    assert said(socket, PGPASSWORD=servers.PASSWORD)[0]["tokens"] == bill
