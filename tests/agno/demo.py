"""Records a made-up day of a small bookshop's agents: examples/demo.db, and what the provider billed for it.

    target/agno-venvs/3.1.10/bin/python tests/agno/demo.py examples/demo.db tests/fixtures/demo.calls.json

Real Agno runs real agents, a team and a workflow, and its SqliteDb writes what it writes; no row is touched afterwards.
Made up are the models (a provider on loopback answers by the script below, under real models' names), how many tokens it
bills, how long it and the tools take, and the clock, which runs ahead where somebody sleeps. Texts are short and tokens
are many: a page that a tool reads is a line here, and billed as the page it stands for.
"""

import json
import os
import random
import sys
import threading
import uuid
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path

import clock  # before Agno: it takes the clock's functions by name

IDS = random.Random(2711)
uuid.uuid4 = lambda: uuid.UUID(int=IDS.getrandbits(128), version=4)  # before Agno too: ids stay when recorded anew

os.environ["AGNO_TELEMETRY"] = "false"

import agno.run.requirement  # noqa: E402
import agno.workflow.workflow  # noqa: E402
from agno.agent import Agent  # noqa: E402
from agno.db.sqlite import SqliteDb  # noqa: E402
from agno.memory import MemoryManager  # noqa: E402
from agno.models.anthropic import Claude  # noqa: E402
from agno.models.google import Gemini  # noqa: E402
from agno.models.openai import OpenAIChat  # noqa: E402
from agno.session import SessionSummaryManager  # noqa: E402
from agno.team import Team  # noqa: E402
from agno.tools import tool  # noqa: E402
from agno.workflow import Loop, Parallel, Step, Workflow  # noqa: E402
from agno.workflow.types import StepOutput  # noqa: E402

from make import confirm, settle, write_json  # noqa: E402
from provider import Provider, Reply, usage_of  # noqa: E402

clock.also_in(agno.run.requirement, agno.workflow.workflow)

DAY = 1_795_737_600  # 2026-11-27, midnight UTC
# Tokens a second that a model writes, as it seems to those who wait for it.
SPEEDS = {
    "gpt-5": 80,
    "gpt-5-mini": 120,
    "gpt-5-nano": 180,
    "claude-sonnet-4-5": 70,
    "gemini-2.5-flash": 190,
    "shop-tagger-8b": 45,
}
READS_PER_SECOND = 50_000
CACHE_SECONDS = 600
LEAST_CACHED = 1024
CACHED_STEP = 128


# The provider -----------------------------------------------------------------------------------


@dataclass
class Turn:
    """One answer of a model: tools it calls or what it says, and how many tokens each part is."""

    calls: tuple = ()
    text: str = ""
    read: int = 0  # new in the prompt since the answer before: a question, tools' results
    out: int = 0
    think: int = 0
    status: int = 200


def use(*calls, read=0, out=0, think=0):
    return Turn(calls, "", read, out or 45 * len(calls), think)


def say(text, read=0, out=0, think=0):
    return Turn((), text, read, out or 20 + len(text) // 3, think)


def overloaded(read=0):
    return Turn(read=read, status=529)


@dataclass
class Talk:
    """What a model has before it, and when it last had."""

    base: int
    caches: str | None
    prompt: int = 0
    last: float = 0.0
    usual: Turn | None = None


class Scripted(Provider):
    """Answers by a script, agent by agent; who asks, the path says."""

    def __init__(self):
        super().__init__()
        self.turns = defaultdict(deque)
        self.talks = {}
        self.random = random.Random(1127)

    def opens(self, who, base, caches=None, usual=None):
        """An agent's prompt before anything is said is so long. `caches`: None, "reads", or "writes" where writing bills."""
        self.talks[who] = Talk(base, caches, usual=usual)

    def forgets(self, who):
        """A new conversation."""
        self.talks[who].prompt = 0

    def expects(self, who, *turns):
        self.turns[who].extend(turns)

    def reply(self, call, body):
        who = call["path"].split("/")[1]
        with self.lock:
            turn = self.turns[who].popleft() if self.turns[who] else self.talks[who].usual
            tokens = self.tokens(self.talks[who], turn)
            pace = self.random.uniform(0.8, 1.3)
        details = tokens["prompt_tokens_details"]
        fresh = tokens["prompt_tokens"] - details["cached_tokens"]
        speed = SPEEDS[body["model"]]
        first = pace * (0.35 + fresh / READS_PER_SECOND + turn.think / speed)
        rest = pace * turn.out / speed
        if turn.status != 200:
            clock.sleep(first)
            return Reply(status=turn.status, error="the made-up provider is overloaded")
        message = {"role": "assistant", "content": turn.text or None}
        if turn.calls:
            message["tool_calls"] = [
                {"id": f"call_{call['n']:03}_{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
                for i, (name, args) in enumerate(turn.calls)
            ]
        if not call["stream"]:
            clock.sleep(first + rest)
            return Reply(message, tokens)
        clock.sleep(first)
        pieces = 3 + len(turn.text) // 24 + 3 * len(turn.calls)
        return Reply(message, tokens, chunk_seconds=rest / pieces)

    def tokens(self, talk, turn):
        before = talk.prompt or talk.base
        prompt, now = before + turn.read, clock.now()
        is_known = now - talk.last < CACHE_SECONDS and talk.last > 0
        cached = before // CACHED_STEP * CACHED_STEP if talk.caches and is_known and before >= LEAST_CACHED else 0
        details = {"cached_tokens": cached, "audio_tokens": 0}
        if talk.caches == "writes" and prompt - cached >= LEAST_CACHED // 2:
            details["cache_write_tokens"] = prompt - cached - turn.read // 10
        talk.last = now
        if turn.status == 200:
            talk.prompt = prompt + turn.out
        return usage_of(prompt, turn.out + turn.think, turn.think, details)


# The agents -------------------------------------------------------------------------------------


def lookup_order(order: str) -> str:
    """Finds an order by its number."""
    clock.sleep(0.21)
    return f"Order {order}: two books, paid, handed to the carrier."


def track_parcel(order: str) -> str:
    """Asks the carrier where a parcel is."""
    clock.sleep(0.84)
    if order == "20717":
        clock.sleep(9.2)
        raise TimeoutError("the carrier did not answer within 10 s")
    return f"Parcel of {order}: in the depot nearby, arrives tomorrow."


def search_catalogue(words: str) -> str:
    """Finds books in the catalogue."""
    clock.sleep(0.36)
    return f"14 books for: {words}"


@tool(requires_confirmation=True)
def refund_order(order: str, euros: float) -> str:
    """Pays an order back. A colleague has to agree."""
    clock.sleep(0.5)
    return f"{euros} euros of order {order} are on their way back."


def search_news(words: str) -> str:
    """Searches the news of publishers."""
    clock.sleep(0.62)
    return f"Eight announcements for: {words}"


def read_page(address: str) -> str:
    """Reads a page."""
    clock.sleep(1.1)
    return f"The page {address}, as text."


def query_sales(days: int) -> str:
    """Sales of the last days, by title."""
    clock.sleep(1.4)
    return f"Sales of {days} days: 212 rows."


def query_stock(below: int) -> str:
    """Titles with fewer copies than this."""
    clock.sleep(0.9)
    return f"37 titles with fewer than {below} copies."


def past_reports(days: int) -> str:
    """Reports of the last days."""
    clock.sleep(0.4)
    return f"{days} reports."


def count_words(of: str) -> str:
    """Words of a text."""
    clock.sleep(0.02)
    return "Of the report: 412 words."


def publisher_catalogue(publisher: str) -> str:
    """A publisher's list of coming books."""
    clock.sleep(2.3)
    return f"The list of {publisher}: 96 titles."


def compare_prices(isbn: str) -> str:
    """Prices of a book at other shops."""
    clock.sleep(1.7)
    STOP.look(isbn)
    return f"{isbn}: six offers. Some changed since they were read."


class Stop:
    """Somebody who sees an agent go round in circles, and stops it at last."""

    def __init__(self):
        self.run_id, self.left = None, 0

    def look(self, isbn):
        if self.run_id:
            self.left -= 1
            if self.left == 0:
                stopping = threading.Thread(target=Agent.cancel_run, args=(self.run_id,))
                stopping.start()
                stopping.join()


STOP = Stop()


class Shop:
    """The agents, as a program that serves a bookshop would have made them."""

    def __init__(self, provider, db_file):
        self.provider = provider
        self.db = SqliteDb(db_file=str(db_file))
        self.support = self.agent(
            "Support",
            self.claude("support", cache_system_prompt=True),
            base=3_900,
            caches="writes",
            instructions="You answer customers of a small bookshop.",
            tools=[lookup_order, track_parcel, search_catalogue, refund_order],
            add_history_to_context=True,
            num_history_runs=10,
            enable_session_summaries=True,
            session_summary_manager=SessionSummaryManager(model=self.gpt("summary", "gpt-5-nano")),
        )
        summary = json.dumps({"summary": "A customer asked about an order.", "topics": ["order"]})
        provider.opens("summary", 780, usual=say(summary, read=160, out=88))
        provider.opens("memory", 1_150, "reads", usual=say("Nothing to remember.", read=70, out=12))
        self.tagger = self.agent(
            "Tagger",
            self.gpt("tagger", "shop-tagger-8b", provider="In-house"),
            base=620,
            instructions="You give a new book three tags.",
        )
        self.buyer = self.agent(
            "Buyer",
            self.gpt("buyer", "gpt-5"),
            base=2_600,
            caches="reads",
            instructions="You say what to order, and how much of it.",
            tools=[query_sales, query_stock, publisher_catalogue],
            add_history_to_context=True,
            update_memory_on_run=True,
            memory_manager=MemoryManager(model=self.gpt("memory", "gpt-5-nano"), db=self.db),
        )
        self.watch = self.agent(
            "Price watch",
            self.claude("price-watch"),
            base=3_400,
            instructions="You compare our prices with others'.",
            tools=[compare_prices],
        )
        self.newsletter = self.team()
        self.report = self.workflow()

    def gpt(self, who, id, **settings):
        return OpenAIChat(id=id, base_url=f"{self.provider.root_url}/{who}/v1", api_key="mock", max_retries=0, **settings)

    def claude(self, who, **settings):
        client = {"base_url": f"{self.provider.root_url}/{who}", "max_retries": 0}
        return Claude(id="claude-sonnet-4-5", api_key="mock", client_params=client, **settings)

    def gemini(self, who):
        client = {"http_options": {"base_url": f"{self.provider.root_url}/{who}"}}
        return Gemini(id="gemini-2.5-flash", api_key="mock", client_params=client)

    def agent(self, name, model, base, caches=None, **settings):
        settings.setdefault("db", self.db)
        who = name.lower().replace(" ", "-")
        self.provider.opens(who, base, caches)
        return Agent(id=who, name=name, model=model, telemetry=False, **settings)

    def member(self, name, model, base, caches=None, **settings):
        return self.agent(name, model, base, caches, db=None, **settings)

    def team(self):
        self.provider.opens("newsletter", 2_900, "reads")
        members = [
            self.member("Scout", self.gemini("scout"), 1_300, "reads", role="Finds news", tools=[search_news, read_page]),
            self.member("Copywriter", self.claude("copywriter"), 2_100, role="Writes"),
        ]
        return Team(
            id="newsletter",
            name="Newsletter",
            model=self.gpt("newsletter", "gpt-5"),
            members=members,
            db=self.db,
            add_history_to_context=True,
            telemetry=False,
        )

    def workflow(self):
        sales = self.member("Sales analyst", self.gemini("sales-analyst"), 1_900, "reads", tools=[query_sales])
        stock = self.member("Stock analyst", self.gpt("stock-analyst", "gpt-5-mini"), 1_700, "reads", tools=[query_stock])
        editor = self.member("Editor", self.gpt("editor", "gpt-5-mini"), 1_500, "reads", tools=[past_reports])
        critic = self.member("Critic", self.claude("critic"), 1_200, tools=[count_words])
        steps = [
            Parallel(Step(name="sales", agent=sales), Step(name="stock", agent=stock), name="figures"),
            Loop(
                name="until it reads well",
                steps=[Step(name="write", agent=editor), Step(name="review", agent=critic)],
                max_iterations=3,
                end_condition=lambda outputs: "good" in str(outputs[-1].content),
            ),
            Step(name="publish", executor=publish),
        ]
        return Workflow(id="morning-report", name="Morning report", db=self.db, steps=steps, telemetry=False)

    # What people do with them

    def chat(self, session, customer, *asked):
        """A customer's session: when something is asked, what, and what the model does then."""
        self.begins_anew()
        for at, question, *turns in asked:
            self.begin(at, "support", *turns)
            consume(self.support.run(question, session_id=session, user_id=customer, stream=True, stream_events=True))

    def begins_anew(self):
        self.provider.forgets("support")
        self.provider.forgets("summary")

    def begin(self, at, who, *turns):
        hour, minute = at.split(":")
        clock.jump_to(DAY + int(hour) * 3600 + int(minute) * 60 + self.provider.random.uniform(1, 50))
        self.provider.expects(who, *turns)

    def refund(self, session):
        """A colleague agrees to what waits for it."""
        paused = self.support.get_session(session_id=session).runs[-1]
        confirm(paused)
        return {"run_id": paused.run_id, "session_id": session, "requirements": paused.requirements}


def publish(step_input):
    clock.sleep(0.7)
    return StepOutput(content="The report is on the shop's board.")


def consume(events):
    for _ in events:
        pass


def order(number):
    return "lookup_order", {"order": number}


def parcel(number):
    return "track_parcel", {"order": number}


def books(words):
    return "search_catalogue", {"words": words}


# The day ----------------------------------------------------------------------------------------


def morning_report(shop):
    expects = shop.provider.expects
    expects("sales-analyst", use(("query_sales", {"days": 7}), read=340), say("Crime is up a fifth.", read=9_800, out=410, think=512))
    expects("stock-analyst", use(("query_stock", {"below": 3}), read=310), say("37 titles run out.", read=4_200, out=380, think=256))
    past, words = use(("past_reports", {"days": 3}), read=1_100), use(("count_words", {"of": "report"}), read=900)
    first, then = say("Yesterday in figures …", read=2_700, out=620, think=320), say("Shorter now.", read=700, out=390, think=192)
    expects("editor", past, first, past, then)
    expects("critic", words, say("Too long; begin with what runs out.", read=60, out=160), words, say("It is good.", read=50, out=24))
    shop.begin("06:30", "report")
    shop.report.run("What happened in the shop yesterday?", session_id="morning-report", user_id="shop")


def tags(shop):
    for at, title in [
        ("07:10", "A novel of three ferries"),
        ("07:11", "Bread, slowly"),
        ("07:13", "The lighthouse keeper's arithmetic"),
        ("07:14", "Moss: a field guide"),
        ("07:16", "Letters from a night train"),
        ("07:17", "The clockmaker's cat"),
    ]:
        shop.provider.forgets("tagger")
        shop.begin(at, "tagger", say("fiction, sea, family", read=240, out=16))
        shop.tagger.run(f"Tags for: {title}", session_id="new-books", user_id="shop")


def where_is_my_order(shop):
    """A conversation whose history grows, and is read from the cache."""
    both = use(order("20655"), parcel("20655"), read=60)
    shop.chat(
        "chat-3107",
        "customer-218",
        ("08:41", "Where is my order 20655?", both, say("In the depot near you; it comes tomorrow.", read=780, out=140)),
        ("08:43", "Can it still go to my neighbour?", say("Yes: tell the carrier by eight this evening.", read=70, out=120)),
        ("08:45", "And its second book?", use(order("20655"), read=55), say("It is in the same parcel.", read=640, out=90)),
        ("08:46", "Thank you!", say("With pleasure.", read=40, out=24)),
    )


def newsletter(shop):
    """A team: its leader delegates twice, then once more when asked again."""

    def delegate(member, task):
        return "delegate_task_to_member", {"member_id": member, "task": task}

    expects = shop.provider.expects
    expects(
        "scout",
        use(("search_news", {"words": "autumn fiction"}), read=420, think=180),
        use(
            ("read_page", {"address": "https://publisher.example/autumn"}),
            ("read_page", {"address": "https://press.example/ferries"}),
            read=2_700, think=96,
        ),
        say("Four books worth a line each.", read=21_400, out=760, think=640),
    )  # fmt: skip
    expects("copywriter", say("Four books for long evenings …", read=1_900, out=980))
    shop.begin(
        "09:30", "newsletter",
        use(delegate("scout", "Find this autumn's fiction"), read=380, out=120, think=448),
        use(delegate("copywriter", "Write the letter: four books"), read=900, out=210, think=320),
        say("The letter is ready.", read=1_150, out=1_060, think=704),
    )  # fmt: skip
    shop.newsletter.run("Write Friday's newsletter", session_id="newsletter-48", user_id="shop")
    shop.provider.forgets("copywriter")
    expects("copywriter", say("Three books for long evenings …", read=2_300, out=720))
    shop.begin(
        "09:38", "newsletter",
        use(delegate("copywriter", "Three books, and shorter"), read=120, out=150, think=256),
        say("It is shorter now.", read=860, out=810, think=192),
    )  # fmt: skip
    shop.newsletter.run("Shorter, please", session_id="newsletter-48", user_id="shop")


def a_present(shop):
    twice = use(books("trains novel"), books("railway history"), read=70)
    short, stock = use(books("trains short stories"), read=50), use(books("Letters from a night train"), read=40)
    shop.chat(
        "chat-3112",
        "customer-044",
        ("10:52", "A present for somebody who likes trains?", twice, say("Three ideas: …", read=4_600, out=320)),
        ("10:54", "Something shorter?", short, say("Letters from a night train, 140 pages.", read=2_900, out=180)),
        ("10:57", "Is it in stock?", stock, say("Five copies.", read=900, out=60)),
        ("10:58", "Can you wrap it?", say("Yes, for two euros.", read=40, out=48)),
    )


def buying(shop):
    """Much to read and much to think of."""
    sales = ("query_sales", {"days": 90})
    shop.begin(
        "11:20", "buyer",
        use(sales, ("query_stock", {"below": 5}), read=260, think=640),
        say("Reorder 22 titles; the list is below.", read=18_600, out=1_450, think=2_304),
    )  # fmt: skip
    shop.buyer.run("What do we order for December?", session_id="december", user_id="shop")
    shop.begin(
        "11:27", "buyer",
        use(("publisher_catalogue", {"publisher": "Harbour Press"}), read=90, think=192),
        use(("publisher_catalogue", {"publisher": "Field & Lane"}), read=14_900, think=128),
        say("Nine new titles, 64 copies in all.", read=12_700, out=980, think=3_072),
    )  # fmt: skip
    shop.buyer.run("And of what is new?", session_id="december", user_id="shop")
    shop.begin("11:34", "buyer", say("Then 48 copies; I leave out the two atlases.", read=60, out=620, think=1_088))
    shop.buyer.run("At most 900 euros", session_id="december", user_id="shop")


def a_carrier_that_does_not_answer(shop):
    both = use(order("20717"), parcel("20717"), read=60)
    shop.chat(
        "chat-3120",
        "customer-391",
        ("12:15", "My parcel of order 20717 does not come", both, say("The carrier does not answer.", read=620, out=130)),
        ("12:18", "And now?", say("I try again within the hour.", read=40, out=40)),
    )


def prices(shop):
    shop.begin(
        "13:00", "price-watch",
        use(("compare_prices", {"isbn": "978-0-00-000101-3"}), ("compare_prices", {"isbn": "978-0-00-000102-0"}), read=310),
        say("Ours are lower, by a euro each.", read=4_800, out=210),
    )  # fmt: skip
    shop.watch.run("Compare the two bestsellers", session_id="prices-noon", user_id="shop")


def a_provider_that_fails(shop):
    moss, question = use(books("moss guide"), read=60), "Do you have Moss: a field guide?"
    shop.chat(
        "chat-3131",
        "customer-107",
        ("14:36", question, moss, overloaded(1_700)),
        ("14:38", question, moss, say("Yes, two copies.", read=1_700, out=70)),
    )


def a_refund(shop):
    """A colleague has to agree, and does after some minutes."""
    session, customer = "chat-3138", "customer-260"
    shop.begins_anew()
    shop.begin("16:05", "support", use(order("20680"), read=80), use(("refund_order", {"order": "20680", "euros": 18.5}), read=420))
    shop.support.run("One book of order 20680 came torn, I want my money back", session_id=session, user_id=customer)
    shop.begin("16:12", "support", say("18.50 euros are on their way.", read=150, out=70))
    shop.support.continue_run(user_id=customer, **shop.refund(session))


def evening_chats(shop):
    for session, customer, at, question, tools, answer in [
        ("chat-3144", "customer-031", "18:20", "Which day do you open late?", [], "Thursdays, until eight."),
        ("chat-3147", "customer-322", "19:47", "Has order 20731 left?", [order("20731")], "Yes, this noon."),
        ("chat-3150", "customer-044", "20:33", "Anything like the night train?", [books("letters journey")], "Two: …"),
        ("chat-3155", "customer-175", "22:01", "Is order 20744 here?", [order("20744"), parcel("20744")], "Tomorrow."),
    ]:
        asked = [use(*tools, read=60)] if tools else []
        shop.chat(session, customer, (at, question, *asked, say(answer, read=900 if tools else 60, out=110)))


def runaway(shop):
    """The same tool again and again, each time with all that went before; nothing is cached."""
    isbn, times = "978-0-00-000117-4", 48
    STOP.run_id, STOP.left = str(uuid.uuid4()), times
    turns = [use(("compare_prices", {"isbn": isbn}), read=2_450, out=62) for _ in range(times)]
    shop.provider.forgets("price-watch")
    shop.begin("22:14", "price-watch", *turns)
    prompt = "Watch this book's price until it is settled"
    how = {"session_id": "prices-night", "user_id": "shop", "run_id": STOP.run_id, "stream": True, "stream_events": True}
    consume(shop.watch.run(prompt, **how))


def a_refund_that_waits(shop):
    shop.begins_anew()
    turns = use(order("20749"), read=80), use(("refund_order", {"order": "20749", "euros": 240.0}), read=430)
    shop.begin("22:40", "support", *turns)
    shop.support.run("Please refund order 20749, all of it", session_id="chat-3158", user_id="customer-412")


def last_chat(shop):
    both = use(order("20655"), parcel("20655"), read=70)
    shop.chat(
        "chat-3159",
        "customer-218",
        ("22:44", "My parcel came, but one book is missing", both, say("It comes on Monday.", read=820, out=120)),
        ("22:47", "All right then", say("Good night!", read=40, out=20)),
    )


def main():
    db_file, calls_file = map(Path, sys.argv[1:])
    db_file.unlink(missing_ok=True)
    provider = Scripted()
    clock.begin_at(DAY)
    shop = Shop(provider, db_file)
    for part in (
        morning_report, tags, where_is_my_order, newsletter, a_present, buying, a_carrier_that_does_not_answer, prices,
        a_provider_that_fails, a_refund, evening_chats, runaway, a_refund_that_waits, last_chat,
    ):  # fmt: skip
        part(shop)
        print(part.__name__)
        left = {who: len(turns) for who, turns in provider.turns.items() if turns}
        assert not left, f"nobody asked for what the script has left: {left}"
    shop.db.db_engine.dispose()
    settle(db_file)
    calls = provider.take_calls()
    for call in calls:
        del call["roles"]  # of every message, at every call: they are long, and nobody asks
    write_json(calls_file, calls)
    provider.close()


main()
