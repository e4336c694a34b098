"""Makes what the fuzz targets begin with, from tests/fixtures: python3 fuzz/make_seeds.py

records.json is what `mutated` changes: real records with long texts cut, so that the fuzzer's time goes into shapes
and figures. seeds/ has a few inputs for each target. The same fixtures give the same bytes.
"""

import json
import pathlib
import shutil
import sqlite3

HERE = pathlib.Path(__file__).parent
FIXTURES = HERE.parent / "tests" / "fixtures"

# One of each kind of run, provider and layout; small ones, for a mutation of a large run is seldom read.
RUNS = """
agno/2.0.2/anthropic agno/2.0.2/gemini agno/2.0.2/paused_continued agno/2.0.2/reasoning_cot agno/2.0.2/rich_input
agno/2.0.2/stream_tools agno/2.0.2/team_default agno/2.0.2/workflow_run
agno/2.5.17/cost agno/2.5.17/error_after_tools agno/2.5.17/history agno/2.5.17/team_member_error
agno/2.5.17/tools_multi agno/2.5.17/workflow_paused
agno/3.1.10/audio agno/3.1.10/cancelled_tools agno/3.1.10/checkpoint agno/3.1.10/fork_session
agno/3.1.10/memory_summary agno/3.1.10/openai_responses agno/3.1.10/parser_output_model
agno/3.1.10/paused_continued_stream agno/3.1.10/reasoning_model agno/3.1.10/regenerate agno/3.1.10/team_run
agno/3.1.10/tool_error agno/3.1.10/workflow_run
generated/2.4.8/store_executor_outputs_false generated/2.4.8/reused_run_ids generated/3.1.10/fork_copy_auxiliary
""".split()
# Rows as they stand in databases: a session with its runs as JSON in a string, and rows of single runs.
DATABASES = """
agno/2.0.2/simple agno/3.1.10/compaction agno/3.1.10/team_run generated/3.1.10/traceparent
generated/3.1.10/nested_team_in_workflow generated/3.1.10/fork_continue_regenerate generated/3.1.10/workflow_agent
""".split()
# Not read by us, and large.
DROPPED = {"session_state", "citations", "run_response", "events", "additional_input", "member_session_states"}
TEXT_BYTES = 40
RECORD_BYTES = 6_500
# Runs of a list that are kept.
LIST_RUNS = 2


def smaller(value, field=""):
    if isinstance(value, dict):
        return {key: smaller(inner, key) for key, inner in value.items() if key not in DROPPED}
    if isinstance(value, list):
        return [smaller(inner, field) for inner in value]
    if isinstance(value, str) and len(value) > TEXT_BYTES and not field.endswith(("id", "traceparent")):
        if value.startswith(("{", "[")):
            return value if len(value) < 4 * TEXT_BYTES else "{}"
        return value[:TEXT_BYTES]
    return value


def from_files(name):
    for end in ("run.json", "runs.json"):
        path = FIXTURES / f"{name}.{end}"
        if path.exists():
            record = json.loads(path.read_text())
            return smaller(record[:LIST_RUNS] if isinstance(record, list) else record)
    raise SystemExit(f"no fixture {name}")


def from_database(name):
    database = sqlite3.connect(f"file:{FIXTURES / name}.db?mode=ro&immutable=1", uri=True)
    database.row_factory = sqlite3.Row
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    if "agno_runs" in tables:
        rows = database.execute("SELECT * FROM agno_runs ORDER BY run_index LIMIT ?", (LIST_RUNS,))
        names = ("session_id", "user_id", "run_index", "updated_at")
        return [{key: row[key] for key in names} | {"run_data": smaller(json.loads(row["run_data"]))} for row in rows]
    row = database.execute("SELECT * FROM agno_sessions").fetchone()
    runs = json.loads(row["runs"])
    runs = smaller(json.loads(runs) if isinstance(runs, str) else runs)
    return {"session_id": row["session_id"], "session_type": row["session_type"], "runs": json.dumps(runs)}


def compact(value):
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


# What JSON should not hold, and Python writes all the same.
HOSTILE = {
    "nan": '{"run_id":"r","agent_id":"a","created_at":NaN,"metrics":{"input_tokens":7,"duration":Infinity}}',
    "big": '{"run_id":"r","agent_id":"a","created_at":-1e999,"metrics":{"input_tokens":1180591620717411303424}}',
    "surrogate": '{"run_id":"r","agent_id":"a\\ud83d","content":"\\ude00 \\u0000","metrics":{"input_tokens":7}}',
    "repeated": '{"run_id":"r","agent_id":"a","run_id":"s","metrics":{"input_tokens":7,"input_tokens":8}}',
    "deep": "[" * 200 + "]" * 200,
    "members": '{"run_id":"r","agent_id":"a","member_responses":[' * 20 + "]}" * 20,
    "list_of_strings": '["{\\"run_id\\":\\"r\\",\\"agent_id\\":\\"a\\"}","null","[]"]',
    "v1": '{"run_id":"r","agent_id":"a","metrics":{"input_tokens":[1,2]}}',
}


def write(target, name, data):
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def main():
    records = [from_files(name) for name in RUNS] + [from_database(name) for name in DATABASES]
    names = [name.replace("/", "_") for name in RUNS] + [name.replace("/", "_") + "_db" for name in DATABASES]
    kept = [(name, record) for name, record in zip(names, records) if len(compact(record)) <= RECORD_BYTES]
    (HERE / "records.json").write_text("[\n" + ",\n".join(compact(record) for _, record in kept) + "\n]\n")
    shutil.rmtree(HERE / "seeds", ignore_errors=True)
    for at, (name, record) in enumerate(kept):
        write("decode", name, compact(record).encode())
        # A record unchanged, and changed a few times: its number, then four bytes for each change.
        write("mutated", name, bytes([at]))
        beside = 128 + (at - 128) % len(kept)
        write("mutated", f"{name}_changed", bytes([beside]) + bytes((at * 7 + step * 37) % 256 for step in range(40)))
    for name, text in HOSTILE.items():
        write("decode", name, text.encode())
        write("json", name, text.encode())
        # Two records, one of them fine.
        write("decode", f"{name}_beside", text.encode() + b"\xff" + compact(kept[0][1]).encode())
    # A text that ended within a number was once called no JSON.
    values = ["3333333333333.33", '"text \\u00e9 \\ud83d\\ude00 \\n"', "[1,-2.5e3,0,1e-9,true,null]", '{"a":{"b":[{}]},"c":"\\"\\\\\\/"}']
    for at, text in enumerate(values):
        write("json", f"value_{at}", text.encode())


main()
