"""`agno-otel run` as a process of a test, and runs made by hand whose tokens are known."""

import json
import os
import signal
import sqlite3
import subprocess
import uuid

import support

PATIENCE_SECONDS = 60


class Follower:
    """`agno-otel run` with a state file of its own, to be killed and started again."""

    def __init__(self, folder, receiver, *sources, name="run", history="skip"):
        self.receiver, self.log = receiver, folder / f"{name}.log"
        self.state = folder / f"{name}.state"
        self.command = [support.BINARY, "run", "--metrics-every", "1", "--endpoint", receiver.url, "--history", history]
        self.command += ["--state", self.state, *sources]
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        self.process = None

    def start(self, *said):
        """Starts it, and waits until it has said this, or until it has looked at its source."""
        before = len(self.said())
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([str(word) for word in self.command], env=self.env, stdout=log, stderr=log)
        for words in said:
            self.wait_for(words, before)
        return self

    def said(self):
        return self.log.read_text() if self.log.exists() else ""

    def wait_for(self, words, before=0):
        support.wait_until(lambda: words in self.said()[before:], f"{words!r} in {self.log}", PATIENCE_SECONDS)

    def wait_for_contact(self):
        """Until its source was looked at once: what is written then is not history."""

        def had_contact():
            state = sqlite3.connect(f"file:{self.state}?mode=ro", uri=True)
            try:
                return state.execute("SELECT count(*) FROM meta WHERE name LIKE 'read %'").fetchone()[0] > 0
            except sqlite3.OperationalError:  # it is being made
                return False
            finally:
                state.close()

        support.wait_until(lambda: self.state.exists() and had_contact(), "a first look", PATIENCE_SECONDS)
        return self

    def kill(self):
        assert self.process.poll() is None, self.said()
        self.process.kill()
        self.process.wait()

    def stop(self):
        assert self.process.poll() is None, self.said()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=30) == 143, self.said()
        assert "panicked" not in self.said(), self.said()

    def abort(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def run(tokens, session="s", status="COMPLETED", run_id=None, at=1_700_000_000):
    """A run of an agent that spent this much input, and one token of output."""
    run_id = run_id or str(uuid.uuid4())
    message = {"id": f"m-{run_id}", "role": "assistant", "content": "x", "created_at": at}
    message["metrics"] = {"input_tokens": tokens - 1, "output_tokens": 1, "total_tokens": tokens}
    return {
        "run_id": run_id,
        "session_id": session,
        "agent_id": "a",
        "agent_name": "A",
        "status": status,
        "model": "gpt-5",
        "model_provider": "OpenAI",
        "created_at": at,
        "messages": [message],
        "metrics": dict(message["metrics"]),
    }


def text(run):
    return json.dumps(run)


def settles(receiver, tokens):
    """Waits until this much was counted, and through further releases: it stays at that."""
    try:
        support.wait_until(lambda: receiver.tokens() == tokens, f"{tokens} tokens", PATIENCE_SECONDS)
    except TimeoutError:
        pass  # The comparison says more.
    assert receiver.tokens() == tokens
    before = receiver.releases
    support.wait_until(lambda: receiver.releases >= before + 2, "further releases", PATIENCE_SECONDS)
    assert receiver.tokens() == tokens
