"""An application that uses real Agno without a database of its own, and hands its runs over: examples/hand_off.py.

    PYTHON_WITH_AGNO application.py URL OUT

Writes what it saw to OUT as JSON: the provider's record, the ids of its runs, and what the example prints.
"""

import asyncio
import json
import logging
import sys
from pathlib import Path
from pprint import pprint

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / "examples"), str(REPO / "tests/agno")]
from make import Agent, Env, confirm, dangerous, get_weather, slow_lookup, team_pair, workflow_steps  # noqa: E402
from provider import Provider  # noqa: E402

from agno.db.in_memory import InMemoryDb  # noqa: E402
from agno.db.sqlite import SqliteDb  # noqa: E402

from hand_off import HandOff  # noqa: E402

SEEN = {"runs": [], "printed": []}


def note(run):
    SEEN["runs"].append(run.run_id)
    return run


def with_a_db(env):
    """Agents, a team and a workflow, whose Db hands over what it stores."""
    agent = env.agent("Stored Agent", tools=[get_weather, slow_lookup], add_history_to_context=True)
    for _ in range(3):
        note(agent.run("[[tools=get_weather*2]] [[tools2=slow_lookup]] [[reason=7]] weather?", session_id="stored"))
    list(agent.run("[[tools=get_weather]] [[long=20]] go", session_id="stored", stream=True))
    note(env.team("My Team", "gpt-mock", team_pair(env)).run("[[delegate=asker,teller]] [[pass=get_weather]] Write", session_id="team"))
    note(env.workflow("My Workflow", workflow_steps(env)).run("[[tools=get_weather]] Do it", session_id="flow"))
    careful = env.agent("Careful Agent", tools=[get_weather, dangerous])
    run = careful.run("[[tools=get_weather,dangerous]] do it", session_id="careful")
    note(careful.continue_run(run_id=run.run_id, session_id="careful", requirements=confirm(run)))
    note(env.agent("Failing Agent").run("[[fail500]] no", session_id="failing"))


def without_one(env, hand_off):
    """Agents and a team without any, whose runs are handed over as they return."""

    def agent(name, **settings):
        return hand_off.watch(env.agent(name, db=None, **settings))

    note(agent("Lone Agent", tools=[get_weather]).run("[[tools=get_weather]] hi", session_id="lone"))
    events = list(agent("Streaming Agent", tools=[get_weather]).run("[[tools=get_weather]] hi", session_id="stream", stream=True))
    assert events and not any(hasattr(event, "to_dict") and hasattr(event, "messages") for event in events)

    async def waiting():
        note(await agent("Waiting Agent").arun("hi", session_id="waiting"))
        async for _ in agent("Async Streaming Agent").arun("hi", session_id="waiting", stream=True):
            pass

    asyncio.run(waiting())
    team = env.team("Lone Team", "gpt-mock", team_pair(env), db=None, store_member_responses=True)
    note(hand_off.watch(team).run("[[delegate=asker,teller]] Write", session_id="lone team"))


def example(env):
    """Agno's own example of metrics: what it prints is what the spans say."""
    agent = env.agent("Example Agent", tools=[get_weather])
    run_response = note(agent.run("[[tools=get_weather]] What is the weather?", session_id="example"))
    if run_response.messages:
        for message in run_response.messages:
            if message.role == "assistant":
                print("Message:", message.content or message.tool_calls)
                print("---" * 5, "Metrics", "---" * 5)
                pprint(message.metrics.to_dict())
                SEEN["printed"].append({"agno.message.id": message.id, "metrics": message.metrics.to_dict()})
    print("---" * 5, "Collected Metrics", "---" * 5)
    pprint(run_response.metrics.to_dict())
    SEEN["printed"].append({"agno.run.id": run_response.run_id, "metrics": run_response.metrics.to_dict()})


def main():
    logging.basicConfig(level=logging.WARNING)
    url, out = sys.argv[1], Path(sys.argv[2])
    provider = Provider()
    hand_off = HandOff(url, token="t-1")
    env = Env(provider, out.with_suffix(".db"))
    for db in (hand_off.over(InMemoryDb)(), hand_off.over(SqliteDb)(db_file=str(out.with_suffix(".db")))):
        env.db = db
        with_a_db(env)
    example(env)
    without_one(env, hand_off)
    SEEN["left"] = hand_off.close(30)
    SEEN["calls"] = provider.take_calls()
    out.write_text(json.dumps(SEEN))


main()
