"""An application that uses real Agno: it runs agents, teams and workflows for some seconds, stored by Agno's SqliteDb.

    PYTHON_WITH_AGNO writer.py DATABASE SECONDS [URL SCHEMA]

With a URL it is stored there, by Agno's PostgresDb.

Says each run on a line, as JSON, when Agno has stored it; at the end writes DATABASE's provider's record beside it, as
`<name>.calls.json`. Whatever Agno complains of is on its standard error.
"""

import json
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "agno"))
from make import Env, confirm, dangerous, get_weather, slow_lookup, team_pair, workflow_steps  # noqa: E402
from provider import Provider  # noqa: E402

THREADS = 2
PAUSE_SECONDS = 0.4
RUNS_PER_SESSION = 4
RUNS_PER_MODEL = 6


def agent(env, model, session):
    made = env.agent(f"Agent {model}", model, tools=[get_weather, slow_lookup], add_history_to_context=True)
    yield made.run("[[tools=get_weather*2]] [[tools2=slow_lookup]] [[reason=7]] weather?", session_id=session)


def team(env, model, session):
    made = env.team("My Team", model, team_pair(env), store_member_responses=True)
    yield made.run("[[delegate=asker,teller]] [[pass=get_weather]] Write a report", session_id=session)


def workflow(env, model, session):
    yield env.workflow("My Workflow", workflow_steps(env)).run("[[tools=get_weather]] Do it", session_id=session)


def paused(env, model, session):
    made = env.agent("Careful Agent", model, tools=[get_weather, dangerous])
    run = made.run("[[tools=get_weather,dangerous]] do it", session_id=session)
    time.sleep(1)
    yield made.continue_run(run_id=run.run_id, session_id=session, requirements=confirm(run))


def streamed(env, model, session):
    made = env.agent(f"Agent {model}", model, tools=[get_weather])
    how = {"stream": True, "stream_events": True, "yield_run_output": True}
    for event in made.run("[[tools=get_weather]] [[long=20]] go", session_id=session, **how):
        if hasattr(event, "messages") and hasattr(event, "to_dict"):
            yield event


KINDS = (agent, team, streamed, workflow, paused)


def work(env, thread, until):
    number = 0
    while time.monotonic() < until:
        # New models keep coming, so that series are born all the time.
        model = f"gpt-mock-{thread}-{number // RUNS_PER_MODEL}"
        kind = KINDS[number % len(KINDS)]
        session = f"s-{thread}-{kind.__name__}-{number // RUNS_PER_SESSION}"
        for run in kind(env, model, session):
            line = {"run_id": run.run_id, "at": time.time(), "status": run.status.value, "kind": kind.__name__}
            print(json.dumps(line), flush=True)
        number += 1
        time.sleep(PAUSE_SECONDS)


def main():
    database, seconds = Path(sys.argv[1]), float(sys.argv[2])
    provider = Provider()
    # One SqliteDb a thread, as if they were processes.
    environments = [Env(provider, database) for _ in range(THREADS)]
    for env in environments if sys.argv[3:] else ():
        from agno.db.postgres import PostgresDb

        env.db.db_engine.dispose()
        env.db = PostgresDb(db_url=sys.argv[3], db_schema=sys.argv[4])
    # Tables are made by whoever comes first, and Agno does not expect two to be that.
    for run in agent(environments[0], "gpt-mock-first", "s-first"):
        line = {"run_id": run.run_id, "at": time.time(), "status": run.status.value, "kind": "first"}
        print(json.dumps(line), flush=True)
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=work, args=(env, at, until)) for at, env in enumerate(environments)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.with_suffix(".calls.json").write_text(json.dumps(provider.take_calls()))


main()
