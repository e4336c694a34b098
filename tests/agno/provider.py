"""A scripted model provider on 127.0.0.1, and the record of what it billed.

It speaks OpenAI's chat completions (and xAI's dialect of them), OpenAI's responses, Anthropic's
messages, Google's generateContent and Bedrock's converse; how each says it is in `wires.py`.

What it answers is decided by the request alone: by directives in the last user message, by the
tools on offer and by the response format asked for. Nothing is random, so the same prompts give
the same tokens. What it was asked and what it billed is kept in `calls`, which is the ground truth
the fixtures are judged by.

Directives, written as `[[name]]` or `[[name=value]]` inside the last user message:

    tools=a*2,b     first answer: call tool a twice and b once (tools2, tools3: the turns after it)
    delegate=x,y    first answer of a team leader: delegate to members x and y (delegate2: next turn)
    pass=a*2        what a delegated task asks its member: becomes [[tools=a*2]] in the task
    hand=x,y        the same, one level further down: becomes [[delegate=x,y]] in the task
    deny            what a delegated task makes its member do: fail with a 500
    reason=N        bill N reasoning tokens on every answer to this message
    write=N         bill N more tokens of the prompt, written to the cache
    long=N          answer with N more words
    slow=S          wait S seconds before every answer to this message
    fail500         answer 500
    failsecond      answer 500 from the second turn on
    fail429=N       answer 429 to the first N tries
    failmodel=M     answer 500 to model M (failmodel2: from the second turn on)
    cut             drop the connection in the middle of the stream

Python's standard library only.
"""

import json
import re
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import wires

LATENCY_SECONDS = 0.05
CHARS_PER_TOKEN = 4
CITIES = ["Oslo", "Lima", "Cairo", "Quito"]

DIRECTIVE = re.compile(r"\[\[(\w+)(?:=([^\]]*))?\]\]")


@dataclass
class Reply:
    """One answer: a message and its tokens in OpenAI's words, or an error with its status."""

    message: dict = None
    tokens: dict = None
    cut: bool = False
    status: int = 200
    error: str = None
    chunk_seconds: float = wires.CHUNK_SECONDS


class Provider:
    """Runs the server in a thread; `base_url` is what an OpenAI client is pointed at."""

    def __init__(self):
        self.calls = []
        self.lock = threading.Lock()
        self.tries = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                provider.answer(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def base_url(self):
        return f"{self.root_url}/v1"

    @property
    def root_url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def take_calls(self):
        """The calls since the last take, each as it ended."""
        with self.lock:
            taken, self.calls, self.tries = self.calls, [], {}
            return taken

    def answer(self, handler):
        t_start = time.time()
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        wire = wires.of(handler.path)
        body = wire.read(handler.path, body)
        messages = body["messages"]
        with self.lock:
            call = {
                "n": len(self.calls) + 1,
                "path": handler.path,
                "t_start": t_start,
                "status": 200,
                "model": body["model"],
                "stream": bool(body.get("stream")),
                "n_messages": len(messages),
                "roles": [m["role"] for m in messages],
            }
            self.calls.append(call)

        reply = self.reply(call, body)
        wire.chunk_seconds = reply.chunk_seconds
        try:
            if reply.error:
                call["status"] = reply.status
                error = {"message": reply.error, "type": "mock", "code": reply.status}
                send_json(handler, reply.status, {"type": "error", "error": error})
                return
            call["usage"] = wire.usage(reply.tokens)
            call["tool_calls"] = [t["function"]["name"] for t in reply.message.get("tool_calls", [])]
            if call["stream"]:
                wire.stream(handler, body, call, reply.message, cut=reply.cut)
            else:
                send_json(handler, 200, wire.answer(call, reply.message))
        except (BrokenPipeError, ConnectionResetError):
            call["client_gone"] = True
        finally:
            call["t_end"] = time.time()

    def reply(self, call, body):
        """What is answered, after the time it takes: here by the directives, and by a script in demo.py."""
        messages = body["messages"]
        directives = read_directives(messages)
        time.sleep(LATENCY_SECONDS + float(directives.get("slow", 0)))
        status = self.status(directives, messages, body["model"])
        if status != 200:
            return Reply(status=status, error=f"mock {status} error")
        message, reasoning = compose(body, directives, call["n"])
        return Reply(message, count_tokens(body, message, reasoning, directives), cut="cut" in directives)

    def status(self, directives, messages, model):
        if "fail500" in directives:
            return 500
        if "failsecond" in directives and turn(messages) > 0:
            return 500
        if model in (directives.get("failmodel"), turn(messages) > 0 and directives.get("failmodel2")):
            return 500
        if "fail429" in directives:
            with self.lock:
                key = json.dumps(messages)
                self.tries[key] = self.tries.get(key, 0) + 1
                if self.tries[key] <= int(directives["fail429"]):
                    return 429
        return 200


def text_of(message):
    content = message.get("content") or ""
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content)
    return content


def last_user(messages):
    for at in range(len(messages) - 1, -1, -1):
        if messages[at]["role"] == "user":
            return at
    return 0


def read_directives(messages):
    return {name: value or "" for name, value in DIRECTIVE.findall(text_of(messages[last_user(messages)]))}


def turn(messages):
    """How often the model has already called tools since the user last spoke."""
    return sum(1 for m in messages[last_user(messages) :] if m["role"] == "assistant" and m.get("tool_calls"))


def compose(body, directives, n):
    """The assistant message, and the reasoning tokens billed with it."""
    messages = body["messages"]
    offered = {t["function"]["name"]: t["function"] for t in body.get("tools") or [] if t.get("type") == "function"}
    at = turn(messages)
    calls = []
    for name, count in wanted_tools(directives, at, offered):
        for i in range(count):
            calls.append((name, arguments(offered[name], directives, len(calls))))
    for member in wanted_members(directives, at, offered):
        calls.append(("delegate_task_to_member", {"member_id": member, "task": task(directives, member)}))
    if at == 0 and "delegate_task_to_members" in offered:
        calls.append(("delegate_task_to_members", {"task": task(directives, "all")}))

    message = {"role": "assistant", "content": None}
    if calls:
        message["tool_calls"] = [
            {"id": f"call_{n:04}_{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
            for i, (name, args) in enumerate(calls)
        ]
    else:
        message["content"] = answer_text(body, directives)
    reasoning = int(directives.get("reason") or 0)
    if "reason" in body["model"] and not reasoning:
        reasoning = 48
    if reasoning:
        message["reasoning_content"] = f"Mock thought about {len(messages)} messages."
    return message, reasoning


def wanted_tools(directives, at, offered):
    spec = directives.get("tools" if at == 0 else f"tools{at + 1}", "")
    wanted = []
    for item in filter(None, spec.split(",")):
        name, _, count = item.partition("*")
        if name in offered:
            wanted.append((name, int(count or 1)))
    # Managers of memory and learning are told what to do by their tools, not by the user.
    if not wanted and at == 0 and "delegate_task_to_member" not in offered:
        for name in ("add_memory", "save_session_context", "update_profile"):
            if name in offered and "run_workflow" not in offered:
                wanted.append((name, 1))
                break
    return wanted


def wanted_members(directives, at, offered):
    if "delegate_task_to_member" not in offered:
        return []
    return list(filter(None, directives.get("delegate" if at == 0 else f"delegate{at + 1}", "").split(",")))


def task(directives, member):
    parts = [f"Do the part of {member}"]
    if "pass" in directives:
        parts.append(f"[[tools={directives['pass']}]]")
    if "hand" in directives:
        parts.append(f"[[delegate={directives['hand']}]]")
    if "deny" in directives:
        parts.append("[[fail500]]")
    return " ".join(parts)


def arguments(tool, directives, i):
    """Arguments that satisfy the tool's own schema; `query` is what WorkflowAgent hands to its workflow."""
    schema = tool.get("parameters") or {}
    if tool["name"] == "run_workflow":
        return {"query": task(directives, "the workflow")}
    required = schema.get("required") or []
    properties = schema.get("properties") or {}
    return {name: example(properties.get(name) or {}, schema, name, i) for name in required}


def example(schema, root, name, i=0):
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].lstrip("#/").split("/"):
            target = target[part]
        return example(target, root, name, i)
    if schema.get("enum"):
        return "final_answer" if "final_answer" in schema["enum"] else schema["enum"][0]
    for union in ("anyOf", "oneOf", "allOf"):
        if schema.get(union):
            return example(schema[union][0], root, name, i)
    kind = schema.get("type", "string")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        return {k: example(v, root, k) for k, v in (schema.get("properties") or {}).items()}
    if kind == "array":
        return [example(schema.get("items") or {}, root, name), example(schema.get("items") or {}, root, name, 1)]
    if kind == "number" and name == "confidence":
        return 0.9
    if kind in ("integer", "number"):
        return 5 + i
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    return CITIES[i % len(CITIES)] if name == "city" else f"mock {name} {i}"


def answer_text(body, directives):
    messages = body["messages"]
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        schema = form["json_schema"]["schema"]
        return json.dumps(example(schema, schema, "answer"))
    if form.get("type") == "json_object":
        return json.dumps({"summary": "mock summary", "topics": ["mock"], "answer": "mock answer"})
    prompt = DIRECTIVE.sub("", text_of(messages[last_user(messages)]))
    results = sum(1 for m in messages[last_user(messages) :] if m["role"] == "tool")
    words = " ".join(f"word{i}" for i in range(int(directives.get("long") or 0)))
    return f"Mock answer to: {' '.join(prompt.split())[:60]} (after {results} tool results). {words}".strip()


def count_tokens(body, message, reasoning, directives):
    """Tokens of a request and its answer: a quarter of the characters, half of a long prompt cached."""
    said = sum(len(text_of(m)) + len(json.dumps(m.get("tool_calls") or "")) for m in body["messages"])
    prompt = 20 + (said + len(json.dumps(body.get("tools") or ""))) // CHARS_PER_TOKEN
    answer = len(message.get("content") or "") + sum(
        len(t["function"]["name"] + t["function"]["arguments"]) + 8 for t in message.get("tool_calls", [])
    )
    written = int(directives.get("write") or 0)
    prompt += written
    completion = 3 + answer // CHARS_PER_TOKEN + reasoning
    cached = prompt // 2 // 32 * 32 if prompt >= 128 else 0
    prompt_details = {"cached_tokens": cached, "audio_tokens": 0}
    if written:
        prompt_details["cache_write_tokens"] = written
    return usage_of(prompt, completion, reasoning, prompt_details)


def usage_of(prompt, completion, reasoning, prompt_details):
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def send_json(handler, status, value):
    data = json.dumps(value).encode()
    handler.send_response(status)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
