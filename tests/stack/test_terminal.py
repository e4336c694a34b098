"""What is said only where a person looks on: in a terminal, and never with --json."""

import os
import pty
import subprocess

import support
from conftest import free_ports
from support import Case

CASE = Case("3.1.10", "tools_multi")


def on_a_terminal(*arguments):
    """What a command says on a terminal, and how it ends."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [str(word) for word in (support.BINARY, *arguments)], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            more = os.read(ours, 65_536)
        except OSError:  # How Linux says that nobody has the other end any more.
            break
        if not more:
            break
        said += more
    os.close(ours)
    return said.decode(), child.wait()


def next_lines(said):
    return [line.strip() for line in said.splitlines() if line.startswith("next: ")]


def test_a_person_is_told_what_comes_next_in_one_line():
    said, code = on_a_terminal("plan", CASE.db)
    (line,) = next_lines(said)
    assert code == 0 and "agno-otel send" in line and len(line) < 120
    assert next_lines(on_a_terminal("plan", "--json", CASE.db)[0]) == []
    assert next_lines(on_a_terminal("send", CASE.db, "--to", "otlp-json:/dev/null")[0]) == []
    assert next_lines(on_a_terminal("show", CASE.db, "--json")[0]) == []


def test_who_has_no_collector_is_told_how_to_have_one():
    (port,) = free_ports(1)
    said, code = on_a_terminal("send", CASE.db, "--endpoint", f"http://127.0.0.1:{port}", "--give-up-after", 0)
    (line,) = next_lines(said)
    assert code == 4 and "collector-config" in line


def test_who_has_sent_is_told_of_run(receiver):
    send = ("send", CASE.db, "--endpoint", receiver.url)
    (line,) = next_lines(on_a_terminal(*send)[0])
    assert "agno-otel run" in line
    assert next_lines(on_a_terminal(*send, "--json")[0]) == []
