"""Hands the runs of Agno agents over to `agno-otel run --listen 127.0.0.1:4320`, as they end.

For Agno 2 and 3; Python's standard library and nothing else. Copy this file into your application, and then either

    hand_off = HandOff("http://127.0.0.1:4320")                 # token="…" where it asks for one

    agent = Agent(…, db=hand_off.over(InMemoryDb)())            # any Db of Agno's, its arguments as ever: every run it
    agent = Agent(…, db=hand_off.over(SqliteDb)(db_file="…"))   # stores is handed over, those of teams and workflows too

or, for an agent, team or workflow without a database,

    agent = hand_off.watch(Agent(…))                            # run, arun, continue_run, acontinue_run; streams too

Use one way for one agent; both do no harm: a run counts once, however often it comes.

It never gets in the agent's way: runs are put into a bounded queue, a thread of its own hands them over and tries again
for as long as it takes, and what goes wrong is logged (`logging`, "agno_otel") and never raised.
"""

import atexit
import gzip
import inspect
import json
import logging
import os
import queue
import threading
import time
import urllib.error
import urllib.request
from functools import wraps

log = logging.getLogger("agno_otel")

QUEUED_RUNS = 1_000  # that wait while nobody takes them; later ones are left out, and that is logged
BATCH_RUNS = 50  # in one request
BATCH_BYTES = 4_000_000  # of JSON in one request; one run may be larger
TIMEOUT_SECONDS = 5.0  # of one request
LONGEST_WAIT_SECONDS = 30.0  # between two tries
END_WITHIN_SECONDS = 5.0  # when the application ends
REMEMBERED_RUNS = 10_000  # Agno 2 stores a whole session with each of its runs; what was handed over is not again

UNDER_WAY = ("PENDING", "RUNNING")
METHODS = ("run", "arun", "continue_run", "acontinue_run")


class HandOff:
    def __init__(self, url="http://127.0.0.1:4320", token=None):
        self.url = url.rstrip("/") + "/v1/runs"
        self.headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        # Straight to it: no proxy has business with what runs hold.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.begin()
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):  # servers fork their workers, and threads do not come along
            os.register_at_fork(after_in_child=self.begin)

    # What an application calls.

    def over(self, db_class):
        """This Db class, with one difference: what it stores is handed over."""
        hand_off = self

        def after(name, told):
            method = getattr(db_class, name, None)
            if method is None:
                return {}
            if inspect.iscoroutinefunction(method):

                @wraps(method)
                async def stored(self, *args, **kwargs):
                    result = await method(self, *args, **kwargs)
                    hand_off.quietly(told, method, self, args, kwargs)
                    return result

            else:

                @wraps(method)
                def stored(self, *args, **kwargs):
                    result = method(self, *args, **kwargs)
                    hand_off.quietly(told, method, self, args, kwargs)
                    return result

            return {name: stored}

        # Agno 3 stores runs one by one, Agno 2 with their session.
        changed = after("upsert_run", hand_off.told_of_run) | after("upsert_session", hand_off.told_of_session)
        return type(f"HandedOver{db_class.__name__}", (db_class,), changed)

    def watch(self, agent):
        """This agent, team or workflow, with one difference: what its runs return is handed over."""
        for name in METHODS:
            if hasattr(agent, name):
                setattr(agent, name, self.watched(getattr(agent, name)))
        return agent

    def put(self, run, **row):
        """Hands over one run: an object of Agno's or its `to_dict()`. Returns at once."""
        run = run if isinstance(run, dict) else run.to_dict()
        if not run.get("run_id") or getattr(run.get("status"), "value", run.get("status")) in UNDER_WAY:
            return
        row = {key: value for key, value in row.items() if value is not None}
        text = json.dumps({**row, "run_data": run} if row else run, default=str)
        with self.lock:
            if self.known.get(run["run_id"]) == hash(text):
                return
            self.known[run["run_id"]] = hash(text)
            while len(self.known) > REMEMBERED_RUNS:
                del self.known[next(iter(self.known))]
        self.start()
        try:
            self.queue.put_nowait(text)
        except queue.Full:
            with self.lock:
                self.known.pop(run["run_id"], None)
            log.error("a run is left out: %d wait already to be handed over to %s", QUEUED_RUNS, self.url)

    def close(self, seconds=END_WITHIN_SECONDS):
        """Waits until all was handed over, and not longer than this. Returns how many runs were not."""
        end = time.monotonic() + seconds
        while self.queue.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.02)
        left = self.queue.unfinished_tasks
        if left:
            log.error("%d runs were not handed over to %s", left, self.url)
        return left

    # What is told.

    def quietly(self, told, method, *call):
        try:
            told(method, *call)
        except Exception:
            log.exception("a run was not handed over")

    def told_of_run(self, method, db, args, kwargs):
        call = inspect.signature(method).bind(db, *args, **kwargs).arguments
        self.put(call["run"], session_id=call.get("session_id"), user_id=call.get("user_id"), run_index=call.get("run_index"))

    def told_of_session(self, method, db, args, kwargs):
        session = inspect.signature(method).bind(db, *args, **kwargs).arguments["session"]
        for index, run in enumerate(getattr(session, "runs", None) or []):
            self.put(run, session_id=session.session_id, user_id=session.user_id, run_index=index)

    def watched(self, method):
        accepts_output = "yield_run_output" in inspect.signature(method).parameters

        @wraps(method)
        def run(*args, **kwargs):
            asked = kwargs.get("yield_run_output")
            if accepts_output and kwargs.get("stream"):
                kwargs["yield_run_output"] = True
            result = method(*args, **kwargs)
            if hasattr(result, "__aiter__"):
                return self.async_stream(result, asked)
            if inspect.isawaitable(result):
                return self.awaited(result, asked)
            if inspect.isgenerator(result) or hasattr(result, "__next__"):
                return self.stream(result, asked)
            return self.returned(result)

        return run

    def returned(self, run):
        if is_run(run):
            self.quietly(lambda _, run: self.put(run), None, run)
        return run

    async def awaited(self, result, asked):
        result = await result
        return self.async_stream(result, asked) if hasattr(result, "__aiter__") else self.returned(result)

    def stream(self, events, asked):
        for event in events:
            if is_run(self.returned(event)) and not asked:
                continue
            yield event

    async def async_stream(self, events, asked):
        async for event in events:
            if is_run(self.returned(event)) and not asked:
                continue
            yield event

    # How it is handed over.

    def begin(self):
        self.lock, self.thread = threading.Lock(), None
        self.known, self.queue = {}, queue.Queue(QUEUED_RUNS)

    def start(self):
        with self.lock:
            if self.thread is None:
                self.thread = threading.Thread(target=self.work, name="agno-otel", daemon=True)
                self.thread.start()

    def work(self):
        waiting = None
        while True:
            batch = [waiting or self.queue.get()]
            waiting = None
            while len(batch) < BATCH_RUNS and not self.queue.empty():
                text = self.queue.get()
                if sum(map(len, batch)) + len(text) > BATCH_BYTES:
                    waiting = text
                    break
                batch.append(text)
            self.deliver(batch)
            for _ in batch:
                self.queue.task_done()

    def deliver(self, batch):
        """Tries until the batch was taken, or surely never will be."""
        body = gzip.compress("\n".join(batch).encode("utf-8", "backslashreplace"), 1)
        wait, failing = 0.5, False
        while True:
            try:
                request = urllib.request.Request(self.url, body, self.headers)
                with self.opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                    rejected = json.loads(answer.read()).get("rejected")
                if rejected:
                    log.error("%s took no run of these: %s", self.url, rejected)
                if failing:
                    log.warning("%s takes runs again", self.url)
                return
            except urllib.error.HTTPError as error:
                why = f"{error.code} {error.reason}"
                later = error.headers.get("Retry-After", "")
                if error.code == 413 and len(batch) > 1:
                    half = len(batch) // 2
                    self.deliver(batch[:half])
                    return self.deliver(batch[half:])
                if 400 <= error.code < 500 and error.code not in (401, 403, 408, 429):
                    return log.error("%d runs are left out: %s answered %s", len(batch), self.url, why)
                wait = max(wait, float(later)) if later.isdigit() else wait
            except Exception as error:  # whatever it is, the agent must not notice
                why = repr(getattr(error, "reason", error))
            if not failing:
                log.warning("%s takes no runs (%s); trying again", self.url, why)
            failing = True
            time.sleep(min(wait, LONGEST_WAIT_SECONDS))
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)


def is_run(thing):
    """True for what a run returns; not for the events of a stream."""
    return hasattr(thing, "run_id") and hasattr(thing, "status") and hasattr(thing, "to_dict")
