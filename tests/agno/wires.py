"""How each provider's API says what provider.py composed: requests into one shape, answers and usage out of it.

The one shape is OpenAI's chat completions. Each wire has `read` (a request's body into that shape), `usage` (what is
billed, in the provider's own words), `answer` (an answer at once) and `stream` (the same in pieces).
"""

import json
import struct
import time
import zlib

CHUNK_SECONDS = 0.005
CHUNK_CHARS = 24


def of(path):
    path = path.split("?")[0]
    if path.endswith("/responses"):
        return Responses()
    if path.endswith("/messages"):
        return Anthropic()
    if "enerateContent" in path:
        return Gemini()
    if "/converse" in path:
        return Bedrock()
    return XaiChat() if path.startswith("/xai/") else Chat()


class Wire:
    content_type = "text/event-stream"
    chunk_seconds = CHUNK_SECONDS

    def usage_in(self, event):
        """What an event says of the usage, where a stream says it more than once."""

    def stream(self, handler, body, call, message, cut):
        handler.send_response(200)
        handler.send_header("content-type", self.content_type)
        handler.send_header("connection", "close")
        handler.end_headers()
        handler.close_connection = True
        call["t_first"] = time.time()
        events = list(self.events(body, call, message))
        for at, event in enumerate(events):
            if cut and at >= len(events) // 2:
                call["cut"] = True
                return
            handler.wfile.write(self.frame(event))
            handler.wfile.flush()
            if self.usage_in(event):
                call.setdefault("stream_usages", []).append(self.usage_in(event))
            time.sleep(self.chunk_seconds)

    def frame(self, event):
        return b"data: " + (event if isinstance(event, bytes) else json.dumps(event).encode()) + b"\n\n"


def pieces(text):
    return [text[i : i + CHUNK_CHARS] for i in range(0, len(text), CHUNK_CHARS)]


def text_of(content):
    if isinstance(content, list):
        return " ".join(part.get("text") or "" for part in content)
    return content or ""


def asked(calls):
    return [{"id": id, "type": "function", "function": {"name": name, "arguments": args}} for id, name, args in calls]


def function(name, parameters):
    return {"type": "function", "function": {"name": name, "parameters": parameters or {}}}


class Chat(Wire):
    """OpenAI's chat completions."""

    def read(self, path, body):
        return body

    def usage(self, usage):
        return usage

    def answer(self, call, message):
        return {
            "id": f"chatcmpl-mock{call['n']:06}",
            "object": "chat.completion",
            "created": int(call["t_start"]),
            "model": call["model"],
            "system_fingerprint": "fp_mock",
            "choices": [{"index": 0, "message": message, "finish_reason": reason_to_stop(call)}],
            "usage": call["usage"],
        }

    def events(self, body, call, message):
        for delta in chat_deltas(message):
            yield chat_chunk(call, [{"index": 0, "delta": delta, "finish_reason": None}])
        yield chat_chunk(call, [{"index": 0, "delta": {}, "finish_reason": reason_to_stop(call)}])
        if (body.get("stream_options") or {}).get("include_usage"):
            yield chat_chunk(call, [], usage=call["usage"])
        yield b"[DONE]"


class XaiChat(Chat):
    """xAI bills reasoning beside `completion_tokens`, only its total holds both; it says nothing of cache written."""

    def usage(self, usage):
        reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
        cached = {"cached_tokens": usage["prompt_tokens_details"]["cached_tokens"]}
        answer = usage["completion_tokens"] - reasoning
        return usage | {"completion_tokens": answer, "prompt_tokens_details": cached}


def reason_to_stop(call):
    return "tool_calls" if call["tool_calls"] else "stop"


def chat_deltas(message):
    deltas = [{"role": "assistant", "content": ""}]
    if message.get("reasoning_content"):
        deltas.append({"reasoning_content": message["reasoning_content"]})
    deltas += [{"content": piece} for piece in pieces(message.get("content") or "")]
    for i, tool_call in enumerate(message.get("tool_calls", [])):
        name, args = tool_call["function"]["name"], tool_call["function"]["arguments"]
        head = {"index": i, "id": tool_call["id"], "type": "function", "function": {"name": name, "arguments": ""}}
        deltas.append({"tool_calls": [head]})
        half = len(args) // 2
        for part in (args[:half], args[half:]):
            deltas.append({"tool_calls": [{"index": i, "function": {"arguments": part}}]})
    return deltas


def chat_chunk(call, choices, usage=None):
    chunk = {
        "id": f"chatcmpl-mock{call['n']:06}",
        "object": "chat.completion.chunk",
        "created": int(call["t_start"]),
        "model": call["model"],
        "system_fingerprint": "fp_mock",
        "choices": choices,
    }
    return chunk | {"usage": usage} if usage else chunk


class Responses(Wire):
    """OpenAI's responses."""

    def read(self, path, body):
        messages = []
        for item in body["input"] if isinstance(body["input"], list) else [{"role": "user", "content": body["input"]}]:
            kind = item.get("type", "message")
            if kind == "function_call":
                call = asked([(item["call_id"], item["name"], item["arguments"])])
                if messages and messages[-1].get("tool_calls"):
                    messages[-1]["tool_calls"] += call
                else:
                    messages.append({"role": "assistant", "content": None, "tool_calls": call})
            elif kind == "function_call_output":
                messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": str(item["output"])})
            elif kind == "message":
                messages.append({"role": item["role"], "content": text_of(item["content"])})
        tools = [function(t["name"], t.get("parameters")) for t in body.get("tools") or [] if t["type"] == "function"]
        form = (body.get("text") or {}).get("format") or {}
        if form.get("type") == "json_schema":
            form = {"type": "json_schema", "json_schema": {"schema": form["schema"]}}
        model, stream = body["model"], body.get("stream")
        return {"model": model, "messages": messages, "tools": tools, "stream": stream, "response_format": form}

    def usage(self, usage):
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        written = usage["prompt_tokens_details"].get("cache_write_tokens", 0)
        reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
        return {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": usage["total_tokens"],
        }

    def output(self, call, message):
        n = call["n"]
        if message.get("reasoning_content"):
            summary = [{"type": "summary_text", "text": message["reasoning_content"]}]
            yield {"id": f"rs_{n}", "type": "reasoning", "summary": summary}
        for i, tool_call in enumerate(message.get("tool_calls", [])):
            called = tool_call["function"]
            item = {"id": f"fc_{n}_{i}", "type": "function_call", "call_id": tool_call["id"], "status": "completed"}
            yield item | called
        if message.get("content"):
            text = {"type": "output_text", "text": message["content"], "annotations": []}
            yield {"id": f"msg_{n}", "type": "message", "role": "assistant", "status": "completed", "content": [text]}

    def answer(self, call, message):
        return self.response(call, list(self.output(call, message)), "completed")

    def response(self, call, output, status):
        return {
            "id": f"resp_mock{call['n']:06}",
            "object": "response",
            "created_at": call["t_start"],
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": call["model"],
            "output": output,
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": call["usage"] if status == "completed" else None,
        }

    def events(self, body, call, message):
        yield {"type": "response.created", "response": self.response(call, [], "in_progress")}
        output = list(self.output(call, message))
        for at, item in enumerate(output):
            place = {"output_index": at, "item_id": item["id"]}
            if item["type"] == "message":
                yield {"type": "response.output_item.added", "output_index": at, "item": item | {"content": []}}
                for piece in pieces(message["content"]):
                    delta = {"type": "response.output_text.delta", "content_index": 0, "delta": piece, "logprobs": []}
                    yield delta | place
            elif item["type"] == "function_call":
                yield {"type": "response.output_item.added", "output_index": at, "item": item | {"arguments": ""}}
                yield {"type": "response.function_call_arguments.delta", "delta": item["arguments"]} | place
                yield {"type": "response.function_call_arguments.done", "arguments": item["arguments"]} | place
            else:
                yield {"type": "response.output_item.added", "output_index": at, "item": item | {"summary": []}}
            yield {"type": "response.output_item.done", "output_index": at, "item": item}
        yield {"type": "response.completed", "response": self.response(call, output, "completed")}

    def frame(self, event):
        event = event | {"sequence_number": 0}
        return b"event: " + event["type"].encode() + b"\ndata: " + json.dumps(event).encode() + b"\n\n"


class Anthropic(Wire):
    """Anthropic's messages: input is stated without cache, output with thinking."""

    def read(self, path, body):
        messages = [{"role": "system", "content": text_of(body.get("system"))}] if body.get("system") else []
        for message in body["messages"]:
            content = message["content"]
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            results = [b for b in blocks if b["type"] == "tool_result"]
            for block in results:
                text = text_of(block.get("content"))
                messages.append({"role": "tool", "tool_call_id": block["tool_use_id"], "content": text})
            if results:
                continue
            one = {"role": message["role"], "content": text_of([b for b in blocks if b["type"] == "text"])}
            calls = [(b["id"], b["name"], json.dumps(b["input"])) for b in blocks if b["type"] == "tool_use"]
            messages.append(one | {"tool_calls": asked(calls)} if calls else one)
        tools = [function(t["name"], t.get("input_schema")) for t in body.get("tools") or []]
        return {"model": body["model"], "messages": messages, "tools": tools, "stream": body.get("stream")}

    def usage(self, usage):
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        written = usage["prompt_tokens_details"].get("cache_write_tokens", 0)
        return {
            "input_tokens": usage["prompt_tokens"] - cached - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": cached,
            "output_tokens": usage["completion_tokens"],
            "service_tier": "standard",
        }

    def blocks(self, message):
        if message.get("reasoning_content"):
            yield {"type": "thinking", "thinking": message["reasoning_content"], "signature": "c2lnbmF0dXJl"}
        if message.get("content"):
            yield {"type": "text", "text": message["content"]}
        for tool_call in message.get("tool_calls", []):
            name, args = tool_call["function"]["name"], json.loads(tool_call["function"]["arguments"])
            yield {"type": "tool_use", "id": tool_call["id"], "name": name, "input": args}

    def answer(self, call, message):
        return {
            "id": f"msg_mock{call['n']:06}",
            "type": "message",
            "role": "assistant",
            "model": call["model"],
            "content": list(self.blocks(message)),
            "stop_reason": "tool_use" if call["tool_calls"] else "end_turn",
            "stop_sequence": None,
            "usage": call["usage"],
        }

    def events(self, body, call, message):
        whole = self.answer(call, message)
        start = whole | {"content": [], "stop_reason": None, "usage": call["usage"] | {"output_tokens": 1}}
        yield {"type": "message_start", "message": start}
        for at, block in enumerate(whole["content"]):
            kind = block["type"]
            if kind == "text":
                empty = {"text": ""}
                deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
            elif kind == "thinking":
                empty = {"thinking": "", "signature": ""}
                deltas = [{"type": "thinking_delta", "thinking": block["thinking"]}]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            else:
                empty = {"input": {}}
                deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
            yield {"type": "content_block_start", "index": at, "content_block": block | empty}
            for delta in deltas:
                yield {"type": "content_block_delta", "index": at, "delta": delta}
            yield {"type": "content_block_stop", "index": at}
        usage = {key: value for key, value in call["usage"].items() if key != "service_tier"}
        stop = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        yield {"type": "message_delta", "delta": stop, "usage": usage}
        yield {"type": "message_stop"}

    def usage_in(self, event):
        return event.get("message", event).get("usage")

    def frame(self, event):
        return b"event: " + event["type"].encode() + b"\ndata: " + json.dumps(event).encode() + b"\n\n"


class Gemini(Wire):
    """Google's generateContent: cache is inside the prompt, thoughts beside the candidates."""

    def read(self, path, body):
        messages = []
        if body.get("systemInstruction"):
            messages.append({"role": "system", "content": text_of(body["systemInstruction"]["parts"])})
        for content in body["contents"]:
            parts = content["parts"]
            for part in parts:
                if "functionResponse" in part:
                    name, said = part["functionResponse"]["name"], part["functionResponse"]["response"]
                    messages.append({"role": "tool", "tool_call_id": name, "content": json.dumps(said)})
            if any("functionResponse" in part for part in parts):
                continue
            calls = [p["functionCall"] for p in parts if "functionCall" in p]
            calls = [(c["name"], c["name"], json.dumps(c.get("args") or {})) for c in calls]
            one = {"role": "assistant" if content["role"] == "model" else "user", "content": text_of(parts)}
            messages.append(one | {"tool_calls": asked(calls)} if calls else one)
        declared = [d for tool in body.get("tools") or [] for d in tool.get("functionDeclarations") or []]
        tools = [function(d["name"], lower_types(d.get("parameters"))) for d in declared]
        config = body.get("generationConfig") or {}
        schema = config.get("responseSchema") or config.get("responseJsonSchema")
        form = {"type": "json_schema", "json_schema": {"schema": lower_types(schema)}} if schema else {}
        model, stream = path.split("/models/")[1].split(":")[0], "streamGenerateContent" in path
        return {"model": model, "messages": messages, "tools": tools, "stream": stream, "response_format": form}

    def usage(self, usage):
        thoughts = usage["completion_tokens_details"]["reasoning_tokens"]
        said = {
            "promptTokenCount": usage["prompt_tokens"],
            "candidatesTokenCount": usage["completion_tokens"] - thoughts,
            "totalTokenCount": usage["total_tokens"],
        }
        if thoughts:
            said["thoughtsTokenCount"] = thoughts
        if usage["prompt_tokens_details"]["cached_tokens"]:
            said["cachedContentTokenCount"] = usage["prompt_tokens_details"]["cached_tokens"]
        return said

    def parts(self, message):
        if message.get("reasoning_content"):
            yield {"text": message["reasoning_content"], "thought": True}
        for piece in pieces(message.get("content") or ""):
            yield {"text": piece}
        for tool_call in message.get("tool_calls", []):
            called = tool_call["function"]
            yield {"functionCall": {"name": called["name"], "args": json.loads(called["arguments"])}}

    def answer(self, call, message):
        return self.chunk(call, list(self.parts(message)), call["usage"], "STOP")

    def chunk(self, call, parts, usage, finish):
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        said = {"candidates": [candidate], "modelVersion": call["model"], "responseId": f"gemini-mock{call['n']:06}"}
        return said | {"usageMetadata": usage}

    def events(self, body, call, message):
        """Each piece repeats the prompt's and the thoughts' tokens, with the candidates' so far."""
        parts = list(self.parts(message))
        whole = call["usage"]
        for at, part in enumerate(parts):
            so_far = whole["candidatesTokenCount"] * (at + 1) // len(parts)
            rest = whole["candidatesTokenCount"] - so_far
            usage = whole | {"candidatesTokenCount": so_far, "totalTokenCount": whole["totalTokenCount"] - rest}
            yield self.chunk(call, [part], usage, "STOP" if at + 1 == len(parts) else None)

    def usage_in(self, event):
        return event["usageMetadata"]


def lower_types(schema):
    if isinstance(schema, dict):
        return {k: v.lower() if k == "type" and isinstance(v, str) else lower_types(v) for k, v in schema.items()}
    return [lower_types(item) for item in schema] if isinstance(schema, list) else schema


class Bedrock(Wire):
    """Bedrock's converse: input is stated without cache; a stream is binary frames."""

    content_type = "application/vnd.amazon.eventstream"

    def read(self, path, body):
        messages = [{"role": "system", "content": text_of(body["system"])}] if body.get("system") else []
        for message in body["messages"]:
            results = [block["toolResult"] for block in message["content"] if "toolResult" in block]
            for result in results:
                text = json.dumps(result["content"])
                messages.append({"role": "tool", "tool_call_id": result["toolUseId"], "content": text})
            if results:
                continue
            calls = [block["toolUse"] for block in message["content"] if "toolUse" in block]
            calls = [(c["toolUseId"], c["name"], json.dumps(c["input"])) for c in calls]
            one = {"role": message["role"], "content": text_of(message["content"])}
            messages.append(one | {"tool_calls": asked(calls)} if calls else one)
        specs = [tool["toolSpec"] for tool in (body.get("toolConfig") or {}).get("tools") or []]
        tools = [function(spec["name"], spec["inputSchema"]["json"]) for spec in specs]
        model = path.split("/model/")[1].split("/")[0]
        return {"model": model, "messages": messages, "tools": tools, "stream": path.endswith("-stream")}

    def usage(self, usage):
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        written = usage["prompt_tokens_details"].get("cache_write_tokens", 0)
        return {
            "inputTokens": usage["prompt_tokens"] - cached - written,
            "cacheReadInputTokens": cached,
            "cacheWriteInputTokens": written,
            "outputTokens": usage["completion_tokens"],
            "totalTokens": usage["total_tokens"],
        }

    def content(self, message):
        if message.get("content"):
            yield {"text": message["content"]}
        for tool_call in message.get("tool_calls", []):
            name, args = tool_call["function"]["name"], json.loads(tool_call["function"]["arguments"])
            yield {"toolUse": {"toolUseId": tool_call["id"], "name": name, "input": args}}

    def answer(self, call, message):
        said = {"message": {"role": "assistant", "content": list(self.content(message))}}
        stop = "tool_use" if call["tool_calls"] else "end_turn"
        return {"output": said, "stopReason": stop, "usage": call["usage"], "metrics": {"latencyMs": 50}}

    def events(self, body, call, message):
        yield "messageStart", {"role": "assistant"}
        for at, block in enumerate(self.content(message)):
            if "text" in block:
                for piece in pieces(block["text"]):
                    yield "contentBlockDelta", {"contentBlockIndex": at, "delta": {"text": piece}}
            else:
                use = block["toolUse"]
                start = {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}
                yield "contentBlockStart", {"contentBlockIndex": at, "start": start}
                delta = {"toolUse": {"input": json.dumps(use["input"])}}
                yield "contentBlockDelta", {"contentBlockIndex": at, "delta": delta}
            yield "contentBlockStop", {"contentBlockIndex": at}
        yield "messageStop", {"stopReason": "tool_use" if call["tool_calls"] else "end_turn"}
        yield "metadata", {"usage": call["usage"], "metrics": {"latencyMs": 50}}

    def frame(self, event):
        kind, payload = event
        headers = b""
        for name, value in ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event")):
            headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        payload = json.dumps(payload).encode()
        prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
        framed = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
        return framed + struct.pack(">I", zlib.crc32(framed))
