"""Stands in for an application that uses Agno: writes a database as Agno 3 does, a conversation every few seconds.

    application.py DATABASE RECORDED [SECONDS]

Each conversation is one of those in RECORDED (examples/demo.db, a made-up day of a small bookshop), with new ids, as if it
ended now, a little faster or slower: first the day as it was, then any of it again and again, the longer the rarer. For
`compose.yaml`: what it writes is made up.
"""

import json
import random
import re
import signal
import sqlite3
import sys
import threading
import time
import uuid

SECONDS_BETWEEN = 10
# What is older is deleted. agno-otel has counted it, and deleting changes no total.
KEPT_SECONDS = 3600
TIMES_SLOWER = (0.8, 1.5)

ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIMES = {"created_at", "updated_at", "start_time", "end_time"}
LENGTHS = {"duration", "time_to_first_token"}


class Copy:
    """One conversation, said anew: the same id becomes the same new one wherever it stands."""

    def __init__(self, session, end, now):
        self.end, self.now = end, now
        self.slower = random.uniform(*TIMES_SLOWER)
        self.ids = {session: f"{session}-{uuid.uuid4().hex[:8]}"}

    def of(self, value, key=""):
        match value:
            case dict():
                return {name: self.of(inner, name) for name, inner in value.items()}
            case list():
                return [self.of(inner, key) for inner in value]
            case str() if value in self.ids or ID.fullmatch(value):
                return self.ids.setdefault(value, str(uuid.uuid4()))
            case bool():
                return value
            case int() | float() if key in TIMES:
                return type(value)(self.now - (self.end - value) * self.slower)
            case float() if key in LENGTHS:
                return value * self.slower
            case _:
                return value


def recorded(path):
    """The conversations: rows by table, each with its JSON read."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    database.row_factory = sqlite3.Row
    tables = {}
    for name in ("agno_sessions", "agno_runs"):
        rows = [dict(row) for row in database.execute(f"SELECT * FROM {name} ORDER BY created_at, rowid")]
        tables[name] = [{column: json_in(column, value) for column, value in row.items()} for row in rows]
    schema = [
        sql
        for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE tbl_name IN ('agno_sessions', 'agno_runs') AND sql <> ''")
    ]
    sessions = {row["session_id"]: [("agno_sessions", row)] for row in tables["agno_sessions"]}
    for row in tables["agno_runs"]:
        sessions[row["session_id"]].append(("agno_runs", row))
    return schema, list(sessions.values())


def json_in(column, value):
    is_json = column.endswith("_data") or column in ("metadata", "summary")
    return json.loads(value) if is_json and value is not None else value


def last_moment(value, key=""):
    match value:
        case dict():
            return max((last_moment(inner, name) for name, inner in value.items()), default=0)
        case list():
            return max((last_moment(inner, key) for inner in value), default=0)
        case int() | float() if key in TIMES:
            return value
        case _:
            return 0


def write(database, conversation):
    now = time.time()
    copy = Copy(conversation[0][1]["session_id"], max(last_moment(row) for _, row in conversation), now)
    with database:
        for table, row in conversation:
            row = {
                column: json.dumps(value) if isinstance(value, dict | list) else value
                for column, value in copy.of(row).items()
            }
            marks = ", ".join("?" * len(row))
            database.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))
        for table in ("agno_runs", "agno_sessions"):
            database.execute(f"DELETE FROM {table} WHERE created_at < ?", [int(now) - KEPT_SECONDS])


def day_after_day(conversations):
    yield from conversations
    rarity = [len(json.dumps(conversation)) for conversation in conversations]
    while True:
        yield from random.choices(conversations, [1 / length for length in rarity])


def main():
    path, source, *seconds = sys.argv[1:]
    between = float(seconds[0]) if seconds else SECONDS_BETWEEN
    stopped = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stopped.set())
    schema, conversations = recorded(source)
    database = sqlite3.connect(path, timeout=10)
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'agno_runs'").fetchone():
        with database:
            for statement in schema:
                database.execute(statement)
    for conversation in day_after_day(conversations):
        write(database, conversation)
        if stopped.wait(between):
            return


main()
