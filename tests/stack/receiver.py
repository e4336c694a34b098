"""A receiver of OTLP over HTTP in this process, that takes everything and knows what was spent."""

import struct
import threading
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WIDTHS = {1: 8, 5: 4}


def fields(message):
    """Number and value of each field of a protobuf message; lengths of bytes as they are."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        number, kind = key >> 3, key & 7
        if kind == 0:
            yield number, varint()
            continue
        length = varint() if kind == 2 else WIDTHS[kind]
        yield number, message[at : at + length]
        at += length


def inner(message, *path):
    """The fields at the end of a path of numbers."""
    if not path:
        yield message
        return
    for number, value in fields(message):
        if number == path[0]:
            yield from inner(value, *path[1:])


def attributes(message, number):
    pairs = (dict(fields(pair)) for value, pair in fields(message) if value == number)
    return {pair[1].decode(): bytes(next(iter(dict(fields(pair[2])).values()))).decode("utf-8", "replace") for pair in pairs if 2 in pair}


class Receiver:
    def __init__(self):
        self.lock, self.spans, self.twice = threading.Lock(), {}, set()
        self.series = defaultdict(dict)
        self.releases = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.lock:
                    receiver.take_spans(body) if self.path == "/v1/traces" else receiver.take_metrics(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        Handler.protocol_version = "HTTP/1.1"
        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """Who sends is killed now and then."""

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d" % self.server.server_port

    def take_spans(self, body):
        for span in inner(body, 1, 2, 2):
            said = dict(fields(span))
            key = bytes(said[1]), bytes(said[2])
            if self.spans.setdefault(key, bytes(span)) != bytes(span):
                self.twice.add(key)

    def take_metrics(self, body):
        self.releases += 1
        for resource in inner(body, 1):
            ((about),) = inner(resource, 1)
            instance = attributes(about, 1)["service.instance.id"]
            for metric in inner(resource, 2, 2):
                name = dict(fields(metric))[1].decode()
                if name != "agno.token.usage":
                    continue
                for point in inner(metric, 7, 1):
                    said = dict(fields(point))
                    key = instance, frozenset(attributes(point, 7).items())
                    (at,) = struct.unpack("<Q", said[3])
                    self.series[key][at] = struct.unpack("<q", said[6])[0] if 6 in said else struct.unpack("<d", said[4])[0]

    def usage(self):
        """Tokens by class, over all instances, as the query of a dashboard has them. Fails where a counter fell."""
        total = Counter()
        with self.lock:
            for (_, labels), points in self.series.items():
                values = [points[at] for at in sorted(points)]
                assert values == sorted(values) and values[0] == 0, values
                total[dict(labels)["agno.token.class"]] += values[-1]
        return Counter({name: count for name, count in total.items() if count})

    def tokens(self):
        return sum(self.usage().values())

    def traces(self):
        """Ids of the traces, as run ids without dashes. Fails where a span came twice and differed."""
        with self.lock:
            assert not self.twice
            return {trace.hex() for trace, _ in self.spans}

    def close(self):
        self.server.shutdown()
        self.server.server_close()
