"""Makes fixtures: real Agno runs, kept in the database Agno wrote, beside the provider's own record.

    python make.py OUTDIR [CASE...]

runs every case this Agno release has the features for (or the named ones) and writes, per case,

    <case>.db          what Agno's SqliteDb wrote, in one self-contained file
    <case>.calls.json  what the provider saw and billed: the ground truth
    <case>.runs.json   the runs as returned to the caller, where small or where there is no database
    <case>.meta.json   which Agno, what the case is, and what Agno failed to record

The README beside this file says how to read `unrecorded` in meta.json.
"""

import asyncio
import json
import os
import sqlite3
import sys
import threading
import time
import warnings
from importlib.metadata import version
from pathlib import Path

os.environ["AGNO_TELEMETRY"] = "false"
os.environ["OPENAI_API_KEY"] = "mock"
warnings.simplefilter("ignore")

from pydantic import BaseModel  # noqa: E402

from agno.agent import Agent  # noqa: E402
from agno.db.sqlite import SqliteDb  # noqa: E402
from agno.models.openai import OpenAIChat  # noqa: E402
from agno.team import Team  # noqa: E402
from agno.tools import tool  # noqa: E402
from agno.workflow import Condition, Loop, Parallel, Router, Step, Workflow  # noqa: E402
from agno.workflow.types import StepOutput  # noqa: E402

from provider import Provider  # noqa: E402

AGNO = version("agno")
RELEASE = tuple(int(part) for part in AGNO.split(".")[:3])
DETAILS = RELEASE >= (2, 5, 4)  # runs carry their usage per model
ROWS = RELEASE >= (3, 0, 0)  # one row per run, instead of a list in the session's row
OPENAI_CACHE_WRITES = RELEASE >= (3, 1, 0)  # what OpenAI says of the cache written is kept; not yet by 3.0.0
RUNS_JSON_LIMIT_BYTES = 8_000
USER = "user-1"
STREAM = {"stream": True, "stream_events": True}
UPGRADED = {"since": (3, 1, 10), "begun_by": "2.4.8"}

CASES = {}


def case(description, since=(2, 0, 0), begun_by=None):
    """A case of the releases `since` one on; `begun_by` an earlier release, whose database they go on with."""

    def register(function):
        CASES[function.__name__] = (function, description, since, begun_by)
        return function

    return register


class Env:
    """What a case works with: a provider, a database, and what it leaves for the fixture."""

    def __init__(self, provider, db_file):
        self.provider = provider
        self.db_file = db_file
        self.db = SqliteDb(db_file=str(db_file))
        self.snapshots = []
        self.runs = []
        self.notes = []
        self.why = None
        self.missing = lambda call: False
        self.twice = lambda call: False

    def model(self, id="gpt-mock"):
        return OpenAIChat(id=id, base_url=self.provider.base_url, api_key="mock", max_retries=0)

    def agent(self, name="Basic Agent", model="gpt-mock", **settings):
        settings.setdefault("db", self.db)
        model = self.model(model) if isinstance(model, str) else model
        return Agent(id=slug(name), name=name, model=model, telemetry=False, **settings)

    def member(self, name, model, **settings):
        return self.agent(name, model, db=None, **settings)

    def team(self, name, model, members, **settings):
        settings.setdefault("db", self.db)
        return Team(id=slug(name), name=name, model=self.model(model), members=members, telemetry=False, **settings)

    def workflow(self, name, steps, **settings):
        return Workflow(id=slug(name), name=name, db=self.db, steps=steps, telemetry=False, **settings)

    def keep(self, run):
        self.runs.append(run.to_dict())
        return run

    def consume(self, events):
        """Reads a stream to its end, keeping the run it yields."""
        for event in events:
            if hasattr(event, "messages") and hasattr(event, "to_dict"):
                self.keep(event)

    def snapshot(self):
        """Keeps the database as it is now, as <case>.after<calls>.db: what a reader sees before it is overwritten."""
        with self.provider.lock:
            calls = len(self.provider.calls)
        file = self.db_file.with_suffix(f".after{calls}.db")
        source, target = sqlite3.connect(self.db_file), sqlite3.connect(file)
        source.backup(target)
        source.close()
        target.close()
        settle(file)
        self.snapshots.append({"file": file.name, "calls": calls})

    def unrecorded(self, why, missing=None, twice=None):
        """Says which provider calls Agno's database does not account for, or accounts for twice."""
        self.why = why
        self.missing = missing or self.missing
        self.twice = twice or self.twice


# Models of other providers ----------------------------------------------------------------------


def anthropic(env, id="anthropic-mock"):
    from agno.models.anthropic import Claude

    client = {"base_url": env.provider.root_url, "max_retries": 0}
    thinking = {"type": "enabled", "budget_tokens": 1024}
    return Claude(id=id, api_key="mock", client_params=client, thinking=thinking)


def bedrock(env):
    import boto3
    from agno.models.aws import AwsBedrock

    os.environ["AWS_ENDPOINT_URL"] = env.provider.root_url
    session = boto3.Session(aws_access_key_id="mock", aws_secret_access_key="mock", region_name="us-east-1")
    return AwsBedrock(id="bedrock-mock", session=session, aws_region="us-east-1")


def gemini(env):
    from agno.models.google import Gemini

    client = {"http_options": {"base_url": env.provider.root_url}}
    return Gemini(id="gemini-mock", api_key="mock", client_params=client)


def responses(env):
    from agno.models.openai import OpenAIResponses

    return OpenAIResponses(id="responses-mock", base_url=env.provider.base_url, api_key="mock", max_retries=0)


def xai(env):
    from agno.models.xai import xAI

    return xAI(id="xai-mock", base_url=f"{env.provider.root_url}/xai/v1", api_key="mock", max_retries=0)


def slug(name):
    return name.lower().replace(" ", "-")


# Tools ------------------------------------------------------------------------------------------


def get_weather(city: str) -> str:
    """Weather of a city."""
    time.sleep(0.02)
    return f"Weather in {city}: 21C, clear"


def slow_lookup(n: int) -> str:
    """Looks a number up, slowly."""
    time.sleep(0.12)
    return f"looked up {n}"


def broken_tool(n: int) -> str:
    """Always fails."""
    raise ValueError(f"broken on {n}")


@tool(requires_confirmation=True)
def dangerous(n: int) -> str:
    """Needs a human's consent."""
    return f"did the dangerous thing {n}"


def confirm(run):
    for requirement in run.active_requirements:
        requirement.confirm()
    return run.requirements


# Plain cases ------------------------------------------------------------------------------------


@case("One run without tools")
def simple(env):
    env.keep(env.agent().run("Hello there", session_id="s-simple", user_id=USER))


@case("Two tool calls in one turn, one more turn with a tool, then the answer")
def tools_multi(env):
    agent = env.agent(tools=[get_weather, slow_lookup])
    env.keep(agent.run("[[tools=get_weather*2]] [[tools2=slow_lookup]] weather?", session_id="s-tools", user_id=USER))


@case("Streamed run with tools, one of them failing")
def stream_tools(env):
    agent = env.agent(tools=[get_weather, broken_tool])
    prompt = "[[tools=get_weather*2,broken_tool]] go"
    env.consume(
        agent.run(prompt, session_id="s-st", user_id=USER, stream=True, stream_events=True, yield_run_output=True)
    )


@case("Three runs in one session, with history; the history is stored up to 2.4")
def history(env):
    agent = env.agent(tools=[get_weather], add_history_to_context=True)
    for prompt in ("First question [[tools=get_weather]]", "Second question", "[[reason=7]] Third question"):
        env.keep(agent.run(prompt, session_id="s-hist", user_id=USER))


@case("A tool needs confirmation: the run pauses, and is continued after 1.2 s")
def paused_continued(env):
    agent = env.agent(tools=[get_weather, dangerous])
    run = env.keep(agent.run("[[tools=get_weather,dangerous]] do it", session_id="s-pause", user_id=USER))
    env.snapshot()
    time.sleep(1.2)
    env.keep(agent.continue_run(run_id=run.run_id, session_id="s-pause", user_id=USER, requirements=confirm(run)))


@case("The provider answers 500 on the second model call, after a tool")
def error_after_tools(env):
    agent = env.agent(tools=[get_weather])
    env.keep(agent.run("[[tools=get_weather]] [[failsecond]] x", session_id="s-err", user_id=USER))
    if not DETAILS:
        env.unrecorded("an ERROR run keeps neither messages nor metrics in this release", missing=lambda call: True)


@case("cancel_run from another thread while the first tool is running")
def cancelled_tools(env):
    run_id = "5c3a4b1e-0d6f-4c55-9a49-6f1d0c9e7a01"

    def cancel_me(n: int) -> str:
        """Cancels its own run."""
        cancel = threading.Thread(target=Agent.cancel_run, args=(run_id,))
        cancel.start()
        cancel.join()
        return "cancelled"

    agent = env.agent(tools=[cancel_me])
    env.keep(agent.run("[[tools=cancel_me]] x", session_id="s-cancel", user_id=USER, run_id=run_id))
    if not DETAILS:
        env.unrecorded("a CANCELLED run keeps neither messages nor metrics in this release", missing=lambda call: True)


@case("The provider answers 429 twice, and the agent retries")
def error_429_retry(env):
    agent = env.agent(retries=3, delay_between_retries=0)
    env.keep(agent.run("[[fail429=2]] x", session_id="s-429", user_id=USER))


@case("The provider drops the connection in the middle of a stream; a second run in the session is well")
def error_stream_cut(env):
    agent = env.agent()
    prompts = ("[[long=60]] [[cut]] x", "[[long=5]] y")
    for prompt in prompts:
        env.consume(
            agent.run(prompt, session_id="s-cut", user_id=USER, stream=True, stream_events=True, yield_run_output=True)
        )
    env.unrecorded("a stream that was cut never said its usage", missing=lambda call: call.get("cut"))


@case("A streamed run cancelled by cancel_run after a few events")
def cancelled_stream(env):
    run_id = "5c3a4b1e-0d6f-4c55-9a49-6f1d0c9e7a02"
    events = env.agent().run("[[long=200]] x", session_id="s-cs", user_id=USER, run_id=run_id, stream=True)
    for seen, _ in enumerate(events):
        if seen == 3:
            Agent.cancel_run(run_id)
    env.unrecorded("a stream that was left never said its usage", missing=lambda call: True)


@case("The same as paused_continued, streamed")
def paused_continued_stream(env):
    agent = env.agent(tools=[get_weather, dangerous])
    how = {"session_id": "s-pause-stream", "user_id": USER, "stream": True, "stream_events": True}
    env.consume(agent.run("[[tools=get_weather,dangerous]] do it", yield_run_output=True, **how))
    paused = agent.get_session(session_id="s-pause-stream").runs[-1]
    env.snapshot()
    time.sleep(1.2)
    env.consume(
        agent.continue_run(run_id=paused.run_id, requirements=confirm(paused), yield_run_output=True, **how)
    )


@case("A separate, natively reasoning model thinks first")
def reasoning_model(env):
    agent = env.agent(reasoning_model=env.model("o3-mini-reason"))
    env.keep(agent.run("Solve it with another model", session_id="s-rm", user_id=USER))
    if not DETAILS:
        env.unrecorded(
            "the reasoning model leaves no usage on any message, and metrics have no details",
            missing=lambda call: call["model"] == "o3-mini-reason",
        )


class Answer(BaseModel):
    answer: str
    confidence: float


REPLACED_BY_OUTPUT_MODEL = "the output model's answer takes the place of the main model's last message"


def is_replaced_by_output_model(call):
    return call["model"] == "gpt-mock-reworded" and not call["tool_calls"]


@case("parser_model with output_schema in one session, output_model in another")
def parser_output_model(env):
    parsed = env.agent(parser_model=env.model("gpt-mock-parser"), output_schema=Answer)
    env.keep(parsed.run("Structured please", session_id="s-parse", user_id=USER))
    reworded = env.agent("Out Agent", output_model=env.model("gpt-mock-out"))
    env.keep(reworded.run("Reworded please", session_id="s-out", user_id=USER))
    if not DETAILS:
        env.unrecorded(REPLACED_BY_OUTPUT_MODEL, missing=lambda call: call["n"] == 3)


# Providers --------------------------------------------------------------------------------------


def in_every_way(env, model):
    agent = env.agent(model=model, tools=[get_weather], add_history_to_context=True)
    tools = "[[tools=get_weather*2]] [[tools2=get_weather]] [[reason=7]] [[write=16]] Weather?"
    env.keep(agent.run("[[reason=9]] Plain", session_id="s-plain", user_id=USER))
    env.keep(agent.run(tools, session_id="s-tools", user_id=USER))
    env.consume(agent.run("[[reason=5]] [[long=30]] Streamed", session_id="s-stream", user_id=USER, **STREAM))
    env.consume(agent.run(tools, session_id="s-stream-tools", user_id=USER, **STREAM))
    for at in range(2):
        env.keep(agent.run(f"[[reason=3]] [[tools=get_weather]] Q{at}", session_id="s-hist", user_id=USER))


@case("Anthropic: plain, tools, both streamed, history; with thinking, cache read and written")
def provider_anthropic(env):
    in_every_way(env, anthropic(env))


@case("Bedrock's converse: plain, tools, both streamed, history; with cache read and written")
def provider_bedrock(env):
    in_every_way(env, bedrock(env))


@case("Gemini: plain, tools, both streamed, history; with thoughts and cache")
def provider_gemini(env):
    in_every_way(env, gemini(env))


@case("OpenAI's responses: plain, tools, both streamed, history; with reasoning, cache read and written")
def provider_responses(env):
    in_every_way(env, responses(env))


@case("xAI: plain, tools, both streamed, history; its reasoning is beside its completion tokens")
def provider_xai(env):
    in_every_way(env, xai(env))


@case("A model of another provider as parser, output model, reasoning model and for followups")
def mixed_providers(env):
    prompt = "[[tools=get_weather*2]] [[write=16]] Mixed"
    parsed = env.agent(parser_model=gemini(env), output_schema=Answer, tools=[get_weather])
    env.keep(parsed.run(f"{prompt} [[reason=8]]", session_id="s-parse", user_id=USER))
    reworded = env.agent("Out Agent", "gpt-mock-reworded", output_model=anthropic(env), tools=[get_weather])
    env.keep(reworded.run(prompt, session_id="s-out", user_id=USER))
    thinker = env.agent("Thinker", reasoning_model=anthropic(env, "anthropic-mock-thinks"), tools=[get_weather])
    env.keep(thinker.run(f"{prompt} [[reason=8]]", session_id="s-think", user_id=USER))
    if RELEASE >= (2, 5, 17):
        follow = env.agent("Follow", followups=True, followup_model=xai(env))
        env.keep(follow.run("[[reason=8]] Follow", session_id="s-follow", user_id=USER))
    if not DETAILS:
        env.unrecorded(
            f"the reasoning model leaves no usage on any message, and {REPLACED_BY_OUTPUT_MODEL}",
            missing=lambda call: call["model"] == "anthropic-mock-thinks" or is_replaced_by_output_model(call),
        )


@case("Fallback models: the first model fails at once, and after a tool; the same streamed", since=(2, 5, 17))
def fallback(env):
    for other in (anthropic, gemini):
        agent = env.agent(tools=[get_weather], fallback_models=[other(env)])
        reason = "[[reason=5]]" if other is gemini else ""  # Anthropic takes no thoughts of another's before 3.1
        for fails in ("failmodel", "failmodel2"):
            prompt = f"[[tools=get_weather*2]] [[{fails}=gpt-mock]] [[write=16]] {reason} fall"
            session = f"s-{other.__name__}-{fails}"
            env.keep(agent.run(prompt, session_id=session, user_id=USER))
            env.consume(agent.run(prompt, session_id=f"{session}-stream", user_id=USER, **STREAM))


@case("Fallback from Anthropic to OpenAI after a tool; the same streamed", since=(2, 5, 17))
def fallback_from_anthropic(env):
    agent = env.agent(model=anthropic(env), tools=[get_weather], fallback_models=[env.model()])
    prompt = "[[tools=get_weather*2]] [[failmodel2=anthropic-mock]] [[write=16]] fall " + "x" * 400
    env.keep(agent.run(prompt, session_id="s-fall", user_id=USER))
    env.consume(agent.run(prompt, session_id="s-fall-stream", user_id=USER, **STREAM))


# Pauses -----------------------------------------------------------------------------------------


@case("A run paused twice, and continued each time; the same streamed")
def paused_twice(env):
    agent = env.agent(tools=[get_weather, dangerous])
    prompt = "[[tools=get_weather,dangerous]] [[tools2=dangerous]] do both"
    run = env.keep(agent.run(prompt, session_id="s-two", user_id=USER))
    for _ in range(2):
        env.snapshot()
        run = agent.continue_run(run_id=run.run_id, session_id="s-two", user_id=USER, requirements=confirm(run))
        env.keep(run)
    how = {"session_id": "s-two-stream", "user_id": USER} | STREAM
    env.consume(agent.run(prompt, **how))
    for _ in range(2):
        paused = agent.get_session(session_id="s-two-stream").runs[-1]
        env.consume(agent.continue_run(run_id=paused.run_id, requirements=confirm(paused), **how))


@case("A paused run continued by a model of another provider: OpenAI's by Anthropic's, and the reverse")
def paused_other_model(env):
    prompt = "[[tools=get_weather,dangerous]] [[write=16]] it " + "x" * 400
    turns = [(env.model(), anthropic(env))]
    if DETAILS:  # before, a run names its first model only, and Anthropic's figures mean something else
        turns.append((anthropic(env), env.model()))
    for first, then in turns:
        session = f"s-{first.id}"
        agent = env.agent(model=first, tools=[get_weather, dangerous])
        run = env.keep(agent.run(prompt, session_id=session, user_id=USER))
        agent = env.agent(model=then, tools=[get_weather, dangerous])
        env.keep(agent.continue_run(run_id=run.run_id, session_id=session, user_id=USER, requirements=confirm(run)))


def paused_and_upgraded(env):
    """First a run and one that pauses; then, by the later release, the pause's end and another run."""
    agent = env.agent(tools=[get_weather, dangerous])
    if not ROWS:
        env.keep(agent.run("[[tools=get_weather]] Before", session_id="s-up", user_id=USER))
        env.keep(agent.run("[[tools=get_weather,dangerous]] Do it", session_id="s-up", user_id=USER))
        return
    env.snapshot()
    runs = agent.get_session(session_id="s-up").runs
    paused = next(run for run in runs if run.is_paused)
    env.keep(agent.continue_run(run_id=paused.run_id, session_id="s-up", user_id=USER, requirements=confirm(paused)))
    env.keep(agent.run("[[tools=get_weather]] After", session_id="s-up", user_id=USER))


@case("A run paused by 2.4.8 and continued by this release, which opened the database as it was", **UPGRADED)
def upgrade_paused(env):
    paused_and_upgraded(env)


@case("A run paused by 2.4.8 and continued by this release, after its own migration", **UPGRADED)
def upgrade_paused_migrated(env):
    if ROWS:
        from agno.db.migrations.manager import MigrationManager

        asyncio.run(MigrationManager(env.db).up())
    paused_and_upgraded(env)


# Teams ------------------------------------------------------------------------------------------


@case("A team that delegates to two members in one turn, member responses stored")
def team_run(env):
    members = [
        env.member("Researcher", "gpt-mock-res", role="research", tools=[get_weather]),
        env.member("Writer", "gpt-mock-wri", role="write"),
    ]
    team = env.team("My Team", "gpt-mock-lead", members, store_member_responses=True)
    prompt = "[[delegate=researcher,writer]] [[pass=get_weather]] Write a report"
    env.keep(team.run(prompt, session_id="s-team", user_id=USER))


@case("A team inside a team, member responses stored by both")
def team_nested(env):
    inner = Team(
        id="inner",
        name="Inner",
        model=env.model("gpt-mock-inner"),
        members=[env.member("Leaf", "gpt-mock-leaf")],
        store_member_responses=True,
        telemetry=False,
    )
    solo = env.member("Solo", "gpt-mock-solo")
    team = env.team("Outer", "gpt-mock-lead", [inner, solo], store_member_responses=True)
    env.keep(team.run("[[delegate=inner,solo]] [[hand=leaf]] Nested work", session_id="s-nest", user_id=USER))


def team_pair(env):
    return [
        env.member("Asker", "gpt-mock-ask", tools=[get_weather]),
        env.member("Teller", "gpt-mock-tell"),
    ]


@case("delegate_to_all_members, streamed with all events and not streamed; then respond_directly (a route team)")
def team_broadcast_route(env):
    everyone = env.team("Everyone", "gpt-mock-lead", team_pair(env), delegate_to_all_members=True)
    env.keep(everyone.run("[[pass=get_weather]] Ask all", session_id="s-all", user_id=USER))
    env.consume(
        everyone.run(
            "[[pass=get_weather]] Ask all, streamed",
            session_id="s-all-stream",
            user_id=USER,
            stream=True,
            stream_events=True,
            yield_run_output=True,
        )
    )
    route = env.team("Route", "gpt-mock-lead", team_pair(env), respond_directly=True)
    env.keep(route.run("[[delegate=asker]] [[pass=get_weather]] Who knows?", session_id="s-route", user_id=USER))
    env.consume(
        route.run(
            "[[delegate=teller]] Who knows, streamed?",
            session_id="s-route-stream",
            user_id=USER,
            stream=True,
            stream_events=True,
            yield_run_output=True,
        )
    )


@case("A team one of whose members fails: the provider answers it 500")
def team_member_error(env):
    team = env.team("My Team", "gpt-mock-lead", team_pair(env), store_member_responses=True)
    env.keep(team.run("[[delegate=asker]] [[deny]] [[delegate2=teller]] go", session_id="s-tme", user_id=USER))


@case("Teams three levels deep, the middle one Anthropic's, member responses stored; the same streamed")
def team_three_levels(env):
    settings = {"store_member_responses": True, "telemetry": False}
    innermost = Team(
        id="innermost",
        name="Innermost",
        model=env.model("gpt-mock-innermost"),
        members=team_pair(env),
        delegate_to_all_members=True,
        **settings,
    )
    inner = Team(id="inner", name="Inner", model=anthropic(env), members=[innermost], **settings)
    solo = env.member("Solo", "gpt-mock-solo")
    team = env.team("Outer", "gpt-mock-lead", [inner, solo], store_member_responses=True)
    prompt = "[[delegate=inner,solo]] [[hand=innermost]] Deep"
    env.keep(team.run(prompt, session_id="s-3", user_id=USER))
    env.consume(team.run(prompt, session_id="s-3-stream", user_id=USER, **STREAM))


@case("A team whose member pauses, is continued, and is followed by another member", since=(2, 5, 17))
def team_member_paused(env):
    doer = env.member("Doer", "gpt-mock-doer", tools=[get_weather, dangerous])
    team = env.team("My Team", "gpt-mock-lead", [doer, env.member("Teller", "gpt-mock-tell")])
    prompt = "[[delegate=doer]] [[pass=get_weather,dangerous]] [[delegate2=teller]] go"
    run = env.keep(team.run(prompt, session_id="s-tmp", user_id=USER))
    env.snapshot()
    env.keep(team.continue_run(run_id=run.run_id, session_id="s-tmp", user_id=USER, requirements=confirm(run)))
    if RELEASE < (2, 9, 0):
        env.unrecorded(
            "before 2.9.0 a member that was continued stays stored as it paused",
            missing=lambda call: call["model"] == "gpt-mock-doer" and not call["tool_calls"],
        )


@case("A team with memory and summary; one with a parser; one with an output model")
def team_auxiliary(env):
    team = env.team("Memo", "gpt-mock", team_pair(env), **memory_settings(env))
    env.keep(team.run("[[delegate=asker]] [[pass=get_weather]] I like chess", session_id="s-memo", user_id=USER))
    parser = env.model("gpt-mock-parser")
    team = env.team("Parsed", "gpt-mock", team_pair(env), parser_model=parser, output_schema=Answer)
    env.keep(team.run("[[delegate=asker]] Parse", session_id="s-parse", user_id=USER))
    team = env.team("Out", "gpt-mock-reworded", team_pair(env), output_model=env.model("gpt-mock-out"))
    env.keep(team.run("[[delegate=teller]] Reword", session_id="s-out", user_id=USER))

    def is_lost(call):
        if call["model"] == "gpt-mock-out":
            return DETAILS and RELEASE < (2, 9, 0)
        if call["model"] in ("gpt-mock-mem", "gpt-mock-sum"):
            return lost_auxiliary_calls(call)
        return not DETAILS and is_replaced_by_output_model(call)

    why = LOST_AUXILIARY
    if RELEASE < (2, 9, 0):
        why += ", and " + ("before 2.9.0 a team's output model not at all" if DETAILS else REPLACED_BY_OUTPUT_MODEL)
    env.unrecorded(why, missing=is_lost)


@case("A team's session forked and continued: the members' copies keep the old parent", since=(2, 9, 0))
def fork_team(env):
    team = env.team("My Team", "gpt-mock-lead", team_pair(env), store_member_responses=True)
    prompt = "[[delegate=asker,teller]] [[pass=get_weather]] Begin"
    env.keep(team.run(prompt, session_id="s-team-orig", user_id=USER))
    fork = team.fork_session(source_session_id="s-team-orig", user_id=USER)
    env.keep(team.run("[[delegate=teller]] Go on", session_id=fork, user_id=USER))


# Forks, regenerated runs, reused ids -------------------------------------------------------------


@case("A session of two runs forked, the fork continued and regenerated, then the original too", since=(2, 9, 0))
def fork_continue_regenerate(env):
    agent = env.agent(tools=[get_weather], add_history_to_context=True)
    env.keep(agent.run("[[tools=get_weather*2]] First", session_id="s-orig", user_id=USER))
    second = env.keep(agent.run("Second", session_id="s-orig", user_id=USER))
    fork = agent.fork_session(source_session_id="s-orig", user_id=USER)
    third = env.keep(agent.run("[[tools=get_weather]] After the fork", session_id=fork, user_id=USER))
    env.keep(agent.continue_run(run_id=third.run_id, session_id=fork, user_id=USER, regenerate=True))
    env.keep(
        agent.continue_run(
            run_id=second.run_id,
            session_id="s-orig",
            user_id=USER,
            regenerate=True,
            additional_instructions="Shorter, please",
        )
    )


@case("Runs forked inside their session: explicitly, and by continuing a completed run", since=(2, 9, 0))
def fork_run_same_session(env):
    agent = env.agent(tools=[get_weather])
    first = env.keep(agent.run("[[tools=get_weather]] First", session_id="s-same", user_id=USER))
    # An explicit fork before the answer, answered again.
    env.keep(
        agent.continue_run(
            run_id=first.run_id, session_id="s-same", user_id=USER, fork=True, continue_from="last_user"
        )
    )
    # Continuing a completed run forks it without being asked to.
    env.keep(
        agent.continue_run(
            run_id=first.run_id, session_id="s-same", user_id=USER, input="[[tools=get_weather]] And then?"
        )
    )


@case("Runs copied by fork_session, continued and regenerated in the fork; then a fork of the fork", since=(2, 9, 0))
def fork_copy_continued(env):
    agent = env.agent(tools=[get_weather])
    first = agent.run("[[tools=get_weather]] First", session_id="s-root", user_id=USER)
    env.keep(first)
    fork = agent.fork_session(source_session_id="s-root", user_id=USER)
    copy = agent.get_session(session_id=fork).runs[0]
    # Both new runs inherit `forked_from_session_id` from the copy, yet spend tokens of their own.
    env.keep(agent.continue_run(run_id=copy.run_id, session_id=fork, user_id=USER, input="And then?"))
    env.keep(agent.continue_run(run_id=copy.run_id, session_id=fork, user_id=USER, regenerate=True))
    leaf = agent.fork_session(source_session_id=fork, user_id=USER)
    env.keep(agent.run("[[tools=get_weather]] In the leaf", session_id=leaf, user_id=USER))


@case("A copied run continued in the fork by an agent with followups: their model is in no message", since=(2, 9, 0))
def fork_copy_auxiliary(env):
    agent = env.agent(followups=True, followup_model=env.model("gpt-mock-follow"))
    env.keep(agent.run("First", session_id="s-root", user_id=USER))
    fork = agent.fork_session(source_session_id="s-root", user_id=USER)
    copy = agent.get_session(session_id=fork).runs[0]
    # `forked_from_session_id` says copy, `forked_from_run_id` says otherwise: the metrics are this run's own.
    env.keep(agent.continue_run(run_id=copy.run_id, session_id=fork, user_id=USER, input="And then?"))


@case("A paused run copied by fork_session; the copy is continued in place, then the original", since=(2, 9, 0))
def fork_paused(env):
    agent = env.agent(tools=[get_weather, dangerous])
    env.keep(agent.run("[[tools=get_weather,dangerous]] Do it", session_id="s-root", user_id=USER))
    fork = agent.fork_session(source_session_id="s-root", user_id=USER)
    env.snapshot()
    for session_id in (fork, "s-root"):
        run = agent.get_session(session_id=session_id).runs[0]
        env.keep(
            agent.continue_run(run_id=run.run_id, session_id=session_id, user_id=USER, requirements=confirm(run))
        )


@case("The application's own run_id, used in two sessions and twice in one session")
def reused_run_ids(env):
    agent = env.agent(tools=[get_weather])
    env.keep(agent.run("One", session_id="s-a", user_id=USER, run_id="job-1"))
    env.snapshot()
    env.keep(agent.run("[[tools=get_weather]] Two", session_id="s-b", user_id=USER, run_id="job-1"))
    env.snapshot()
    env.keep(agent.run("[[reason=5]] Three, longer than One", session_id="s-a", user_id=USER, run_id="job-1"))
    env.keep(agent.run("[[reason=9]] Four", session_id="s-a", user_id=USER, run_id="job-2"))
    if ROWS:
        env.unrecorded(
            "run_id is the primary key of agno_runs: the third run overwrote the first and the second",
            missing=lambda call: call["n"] in (1, 2, 3),
        )
    else:
        env.unrecorded(
            "a run replaces the run with its id in the session's list: in s-a the third overwrote the first",
            missing=lambda call: call["n"] == 1,
        )


# Workflows --------------------------------------------------------------------------------------


def shout(step_input):
    return StepOutput(content=f"func got {str(step_input.previous_step_content)[:20]}")


def once(outputs):
    return len(outputs) > 0 and "never" in str(outputs[-1].content)


def workflow_steps(env):
    return [
        Step(name="gather", agent=env.member("Wf A1", "gpt-mock-a1", tools=[get_weather])),
        Step(name="func", executor=shout),
        Parallel(
            Step(name="p1", agent=env.member("Wf A2", "gpt-mock-a2")),
            Step(name="p2", agent=env.member("Wf A3", "gpt-mock-a3")),
            name="par",
        ),
    ]


@case("Workflow: an agent step with a tool, a function step, two agents in parallel")
def workflow_run(env):
    workflow = env.workflow("My Workflow", workflow_steps(env))
    env.keep(workflow.run("[[tools=get_weather]] Do the workflow", session_id="s-wf", user_id=USER))


def steps_of_every_kind(env, store_member_responses=False):
    team = Team(
        id="wf-team",
        name="Wf Team",
        model=env.model("gpt-mock-lead"),
        members=team_pair(env),
        delegate_to_all_members=True,
        store_member_responses=store_member_responses,
        telemetry=False,
    )
    looped = Step(name="again", agent=env.member("Wf Loop", "gpt-mock-loop"))
    return workflow_steps(env) + [
        Loop(name="loop", steps=[looped], max_iterations=2, end_condition=once),
        Step(name="team", team=team),
    ]


@case("A workflow whose last step fails: the provider answers it 500")
def workflow_error(env):
    steps = [
        Step(name="well", agent=env.member("Wf Well", "gpt-mock-well", tools=[get_weather])),
        Step(name="fix", executor=lambda step_input: StepOutput(content="[[fail500]] on")),
        Step(name="ill", agent=env.member("Wf Ill", "gpt-mock-ill")),
    ]
    workflow = env.workflow("Fails", steps)
    env.keep(workflow.run("[[tools=get_weather]] Fail", session_id="s-wfe", user_id=USER))


@case("Workflow(store_executor_outputs=False): agent with tool, function, parallel, loop, team, nested workflow")
def store_executor_outputs_false(env):
    steps = steps_of_every_kind(env)
    if RELEASE >= (2, 5, 17):
        inner = [Step(name="inner", agent=env.member("Wf Inner", "gpt-mock-inner"))]
        nested = Workflow(id="inner-wf", name="Inner Wf", steps=inner, telemetry=False)
        steps.append(Step(name="nested", workflow=nested))
    workflow = env.workflow("Frugal", steps, store_executor_outputs=False)
    env.keep(workflow.run("[[tools=get_weather]] Spend", session_id="s-frugal", user_id=USER))
    members = ("gpt-mock-ask", "gpt-mock-tell")
    env.unrecorded(
        "only the steps' own metrics are stored, and a team's step has its leader's alone",
        missing=lambda call: call["model"] in members,
    )


@case("A team step in a workflow, member responses stored; the members are listed twice")
def nested_team_in_workflow(env):
    workflow = env.workflow("With Team", steps_of_every_kind(env, store_member_responses=True))
    env.keep(workflow.run("[[tools=get_weather]] Go 0", session_id="s-wf-team", user_id=USER))
    env.keep(workflow.run("Go 1", session_id="s-wf-team", user_id=USER))


@case("Workflow(agent=WorkflowAgent): one turn runs the workflow, one answers from history; then both streamed")
def workflow_agent(env):
    from agno.workflow import WorkflowAgent

    workflow = env.workflow(
        "Asked Workflow", workflow_steps(env), agent=WorkflowAgent(model=env.model("gpt-mock-chief"))
    )
    asked = "[[tools=run_workflow]] [[pass=get_weather]] Look into it"
    env.keep(workflow.run(asked, session_id="s-wa", user_id=USER))
    env.keep(workflow.run("[[reason=6]] What did you find?", session_id="s-wa", user_id=USER))
    for prompt in (asked, "What did you find?"):
        env.consume(workflow.run(prompt, session_id="s-wa-stream", user_id=USER, stream=True, stream_events=True))


@case("Streamed workflow: condition taken, condition not taken, router, loop, a nested workflow; events stored")
def workflow_conditions(env):
    def agent_step(name, model):
        return Step(name=name, agent=env.member(name, model, tools=[get_weather]))

    yes, no = agent_step("Yes", "gpt-mock-yes"), agent_step("No", "gpt-mock-no")
    left, right = agent_step("Left", "gpt-mock-left"), agent_step("Right", "gpt-mock-right")
    steps = [
        Condition(name="taken", evaluator=lambda step_input: True, steps=[yes]),
        Condition(name="not taken", evaluator=lambda step_input: False, steps=[no]),
        Router(name="router", selector=lambda step_input: [right], choices=[left, right]),
    ]
    inner = [agent_step("Inner", "gpt-mock-inner")]
    if RELEASE >= (2, 5, 17):
        nested = Workflow(id="inner-wf", name="Inner Wf", steps=inner, telemetry=False)
        inner = [Step(name="nested", workflow=nested)]
    steps.append(Loop(name="loop", steps=inner, max_iterations=2, end_condition=once))
    workflow = env.workflow("Choices", steps, store_events=True)
    prompt = "[[tools=get_weather]] Choose"
    env.consume(workflow.run(prompt, session_id="s-choose", user_id=USER, stream=True, stream_events=True))
    env.keep(workflow.run("Choose again", session_id="s-choose", user_id=USER))


@case("Workflow: a step that fails is skipped, a loop of a team, a parallel of two teams; the same streamed")
def workflow_hard(env):
    def team(name):
        members = [env.member("Asker", "gpt-mock-ask")]
        model = env.model(f"gpt-mock-{name}")
        return Team(id=name, name=name, model=model, members=members, delegate_to_all_members=True, telemetry=False)

    fails = "[[tools=get_weather]] [[failmodel2=gpt-mock-ill]] on"
    ill = env.member("Wf Ill", "gpt-mock-ill", tools=[get_weather])
    steps = [
        Step(name="fix", executor=lambda step_input: StepOutput(content=fails)),
        Step(name="ill", agent=ill, max_retries=1, skip_on_failure=True),
        Loop(name="loop", steps=[Step(name="again", team=team("ta"))], max_iterations=2, end_condition=once),
        Parallel(Step(name="pa", team=team("tb")), Step(name="pb", team=team("tc")), name="par"),
    ]
    workflow = env.workflow("Hard", steps)
    env.keep(workflow.run("Go", session_id="s-hard", user_id=USER))
    env.consume(workflow.run("Go", session_id="s-hard-stream", user_id=USER, **STREAM))
    env.unrecorded(
        "nothing is kept of a step that failed" + (" while streamed" if DETAILS else ""),
        missing=lambda call: call["model"] == "gpt-mock-ill" and (call["stream"] or not DETAILS),
    )


# What is stored, and what is not -----------------------------------------------------------------


@case("Agent(store_tool_messages=False): several tool turns; two pauses and their continuations; a streamed run")
def store_tool_messages_false(env):
    agent = env.agent(tools=[get_weather, slow_lookup, dangerous], store_tool_messages=False)
    env.keep(agent.run("[[tools=get_weather*2]] [[tools2=slow_lookup]] Weather?", session_id="s-lean", user_id=USER))
    env.keep(agent.run("No tools", session_id="s-lean", user_id=USER))
    # Beside get_weather's result its assistant message is scrubbed, and dangerous with it: continued, the model is
    # asked again from the start, and the run pauses again.
    run = env.keep(agent.run("[[tools=get_weather,dangerous]] mixed", session_id="s-lean-mixed", user_id=USER))
    time.sleep(1.2)
    env.keep(agent.continue_run(run_id=run.run_id, session_id="s-lean-mixed", user_id=USER, requirements=confirm(run)))
    # Alone it is kept while paused, continued, and scrubbed at the end.
    run = env.keep(agent.run("[[tools=dangerous]] alone", session_id="s-lean-pause", user_id=USER))
    env.snapshot()
    time.sleep(1.2)
    env.keep(agent.continue_run(run_id=run.run_id, session_id="s-lean-pause", user_id=USER, requirements=confirm(run)))
    env.consume(
        agent.run(
            "[[tools=get_weather]] streamed",
            session_id="s-lean-stream",
            user_id=USER,
            stream=True,
            stream_events=True,
            yield_run_output=True,
        )
    )
    if not DETAILS:
        env.unrecorded(
            "metrics count a paused run's calls again when it continues, and the messages that would tell are gone",
            twice=lambda call: call.get("tool_calls") == ["dangerous"],
        )


@case("Four concurrent arun in one session")
def concurrent_runs(env):
    agent = env.agent(tools=[get_weather])

    async def race():
        prompts = [f"[[tools=get_weather]] [[reason={i + 1}]] [[slow=0.{i}]] Question {i}" for i in range(4)]
        return await asyncio.gather(*(agent.arun(p, session_id="s-race", user_id=USER) for p in prompts))

    for run in asyncio.run(race()):
        env.keep(run)
    if not ROWS:
        env.unrecorded(
            "each run rewrites the session's list as it was when that run began: only the last to end is left",
            missing=lambda call: call["usage"]["completion_tokens_details"]["reasoning_tokens"] != 4,
        )


@case("The caller's W3C traceparent in the run's metadata: agent, team and workflow")
def traceparent(env):
    metadata = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    agent = env.agent(tools=[get_weather])
    env.keep(agent.run("[[tools=get_weather]] Traced", session_id="s-tp", user_id=USER, metadata=metadata))
    team = env.team("My Team", "gpt-mock-lead", team_pair(env))
    env.keep(team.run("[[delegate=teller]] Traced", session_id="s-tp-team", user_id=USER, metadata=metadata))
    workflow = env.workflow("My Workflow", workflow_steps(env), metadata=metadata)
    env.keep(workflow.run("[[tools=get_weather]] Traced", session_id="s-tp-wf", user_id=USER))
    if RELEASE >= (2, 9, 0):
        workflow = env.workflow("My Workflow", workflow_steps(env))
        env.keep(workflow.run("Traced by the run", session_id="s-tp-wf-run", user_id=USER, metadata=metadata))


def memory_settings(env):
    from agno.memory import MemoryManager
    from agno.session import SessionSummaryManager

    return {
        "update_memory_on_run" if RELEASE >= (2, 5, 0) else "enable_user_memories": True,
        "memory_manager": MemoryManager(model=env.model("gpt-mock-mem"), db=env.db),
        "enable_session_summaries": True,
        "session_summary_manager": SessionSummaryManager(model=env.model("gpt-mock-sum")),
    }


def lost_auxiliary_calls(call):
    """Before 2.5.4 all but the agent's own model; from then on all but the last call of each manager."""
    if not DETAILS:
        return call["model"] != "gpt-mock"
    if call["model"] == "gpt-mock-learn" and RELEASE >= (2, 9, 0):
        return call["tool_calls"] == ["add_memory"]  # save_session_context ends its run, and so is the last
    return call["model"] in ("gpt-mock-mem", "gpt-mock-learn") and bool(call["tool_calls"])


LOST_AUXILIARY = (
    "of the calls of a memory manager or a learning store only the last is counted"
    if DETAILS
    else "before 2.5.4 the usage of memory, summary, learning and compression models is stored nowhere"
)


@case("User memories and session summaries, two runs")
def memory_summary(env):
    agent = env.agent(**memory_settings(env))
    for i in range(2):
        env.keep(agent.run(f"I like chess {i}", session_id="s-mem", user_id=USER))
    env.unrecorded(LOST_AUXILIARY, missing=lost_auxiliary_calls)


@case("Memories, summaries, followups, compression of tool results and a learning machine, each with its own model")
def memory_learning(env):
    from agno.compression.manager import CompressionManager
    from agno.learn import LearningMachine

    settings = memory_settings(env)
    settings["learning"] = LearningMachine(
        db=env.db, model=env.model("gpt-mock-learn"), user_memory=True, session_context=True
    )
    settings["compress_tool_results"] = True
    settings["compression_manager"] = CompressionManager(
        model=env.model("gpt-mock-compress"), compress_tool_results_limit=1
    )
    if RELEASE >= (2, 5, 17):
        settings |= {"followups": True, "followup_model": env.model("gpt-mock-follow")}
    agent = env.agent(tools=[get_weather], **settings)
    env.keep(agent.run("[[tools=get_weather*2]] I like chess", session_id="s-learn", user_id=USER))
    env.keep(agent.run("[[reason=11]] And go", session_id="s-learn", user_id=USER))
    env.unrecorded(LOST_AUXILIARY, missing=lost_auxiliary_calls)


@case("No database at all: the runs only exist as returned")
def no_db(env):
    agent = env.agent("No Db", db=None, tools=[get_weather])
    env.keep(agent.run("[[tools=get_weather]] x", session_id="s-nodb", user_id=USER))


# Writing ----------------------------------------------------------------------------------------


def classes(calls):
    """What this release keeps of calls, as disjoint classes."""
    total = dict.fromkeys(("input", "cache_read", "cache_write", "output", "reasoning"), 0)
    for call in calls:
        if "usage" in call:
            tokens, _ = kept(call)
            total = {name: sum(both) for name, both in zip(total, zip(total.values(), tokens))}
    return total


def billed(usage):
    """The tokens of a usage in disjoint classes, by the meaning its provider gives its own words."""
    if "promptTokenCount" in usage:  # Gemini: cache is part of the prompt, thoughts are beside the candidates
        cached, thoughts = usage.get("cachedContentTokenCount", 0), usage.get("thoughtsTokenCount", 0)
        return usage["promptTokenCount"] - cached, cached, 0, usage["candidatesTokenCount"], thoughts
    if "inputTokens" in usage:  # Bedrock: cache is beside the input
        cache = usage["cacheReadInputTokens"], usage["cacheWriteInputTokens"]
        return usage["inputTokens"], *cache, usage["outputTokens"], 0
    if "cache_read_input_tokens" in usage:  # Anthropic: cache is beside the input, thinking part of the output
        cache = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
        return usage["input_tokens"], *cache, usage["output_tokens"], 0
    # OpenAI: cache is part of the prompt, reasoning of the completion. xAI: reasoning is in the total alone.
    asked, said = ("prompt", "completion") if "prompt_tokens" in usage else ("input", "output")
    prompt, details = usage[f"{asked}_tokens"], usage[f"{asked}_tokens_details"]
    cached, written = details["cached_tokens"], details.get("cache_write_tokens", 0)
    reasoning = usage[f"{said}_tokens_details"]["reasoning_tokens"]
    return prompt - cached - written, cached, written, usage["total_tokens"] - prompt - reasoning, reasoning


def kept(call):
    """What this release keeps of a call's tokens, in disjoint classes, and why that is not what was billed."""
    usage, why = call["usage"], []
    fresh, read, write, output, reasoning = billed(usage)
    if not DETAILS and "stream_usages" in call:
        why.append("before 2.5.4 the usages that a stream says one after another are added up")
        fresh, read, write, output, reasoning = map(sum, zip(*map(billed, call["stream_usages"])))
    if not DETAILS and "promptTokenCount" in usage and reasoning:
        why.append("before 2.5.4 Gemini's thoughts are kept as output")
        output, reasoning = output + reasoning, 0
    if not DETAILS and "inputTokens" in usage and read + write:
        why.append("before 2.5.4 nothing is kept of Bedrock's cache")
        read, write = 0, 0
    if not OPENAI_CACHE_WRITES and write and usage.keys() & {"prompt_tokens_details", "input_tokens_details"}:
        why.append("before 3.1 what OpenAI wrote to the cache is kept as plain input")
        fresh, write = fresh + write, 0
    return (fresh, read, write, output, reasoning), why


def unrecorded(env, calls):
    """What Agno's database does not say, or says otherwise than the provider; nothing where it says it all."""
    missing = [call for call in calls if env.missing(call)]
    twice = [call for call in calls if env.twice(call)]
    counted = [call for call in calls if call not in missing]
    misstated = {call["n"]: kept(call)[1] for call in counted if "usage" in call and kept(call)[1]}
    if not env.why and not misstated:
        return None
    reasons = dict.fromkeys(([env.why] if env.why else []) + sum(misstated.values(), []))
    said = {"why": "; ".join(reasons), "missing_calls": [call["n"] for call in missing]}
    if misstated:
        said["misstated_calls"] = list(misstated)
    said["stored"] = classes(counted + twice)
    if twice:
        said["counted_twice"] = [call["n"] for call in twice]
    return said


def settle(path):
    """Folds the WAL in, goes back to journal_mode=DELETE and packs the pages, so that one small file is left."""
    if not path.exists():
        return False
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("PRAGMA page_size=1024")
    connection.execute("VACUUM")
    connection.close()
    return True


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def make(provider, out, name):
    function, description, _, begun_by = CASES[name]
    begun = begun_by and begun_by != AGNO
    provider.take_calls()
    if begun:
        provider.calls = json.loads((out / f"{name}.calls.json").read_text())
    else:
        for old in out.glob(f"{name}.*"):
            old.unlink()
    db_file = out / f"{name}.db"
    env = Env(provider, db_file)
    exception, t_start = None, time.time()
    try:
        function(env)
    except Exception as error:
        exception = f"{type(error).__name__}: {error}"
        print(f"{name}: {exception}", file=sys.stderr)
    t_end = time.time()
    calls = provider.take_calls()
    env.db.db_engine.dispose()

    stored = settle(db_file)
    write_json(out / f"{name}.calls.json", calls)
    meta = {
        "case": name,
        "description": description,
        "agno": AGNO,
        "t_start": t_start,
        "t_end": t_end,
        "notes": env.notes,
        "exception": exception,
        "event_recv_times": None,
    }
    if env.snapshots:
        meta["snapshots"] = env.snapshots
    if lost := unrecorded(env, calls):
        meta["unrecorded"] = lost
    write_json(out / f"{name}.meta.json", meta)
    runs = json.dumps(env.runs, indent=1)
    if env.runs and (not stored or len(runs) <= RUNS_JSON_LIMIT_BYTES):
        (out / f"{name}.runs.json").write_text(runs + "\n")


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    provider = Provider()
    for name in sys.argv[2:] or CASES:
        _, _, since, begun_by = CASES[name]
        begins = begun_by == AGNO and name in sys.argv[2:]
        if RELEASE < since and not begins:
            continue
        make(provider, out, name)
        print(f"{AGNO} {name}")
    provider.close()


if __name__ == "__main__":
    main()
