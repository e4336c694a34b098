"""A clock for recordings: whoever sleeps does not, the clock runs ahead instead.

Imported before Agno it stands in for `time.time`, `time.perf_counter`, `time.sleep` and, in the modules named to
`also_in`, `datetime.now`. So a day is recorded in a minute, and every time and duration in it is what Agno measured.
Sleepers in several threads wake in the order of their times, as if they had slept side by side.
"""

import datetime
import threading
import time

# For so long in truth nobody else came to sleep, so nobody who would wake earlier is under way.
GRACE_SECONDS = 0.03

_real_time, _real_perf_counter, _real_sleep = time.time, time.perf_counter, time.sleep
_lock = threading.Lock()
_ahead = 0.0
_wakes = []


def now():
    return _real_time() + _ahead


def perf_counter():
    return _real_perf_counter() + _ahead


def sleep(seconds):
    global _ahead
    wake = now() + seconds
    with _lock:
        _wakes.append(wake)
    while True:
        _real_sleep(max(0.0, min(GRACE_SECONDS, wake - now())))
        with _lock:
            if now() < wake and wake == min(_wakes):
                _ahead += wake - now()
            if now() >= wake:
                _wakes.remove(wake)
                return


def begin_at(unix_seconds):
    global _ahead
    _ahead = unix_seconds - _real_time()


def jump_to(unix_seconds):
    """Nobody may be asleep. It never goes back: what lasted longer than planned moves what follows."""
    global _ahead
    _ahead += max(0.0, unix_seconds - now())


class Now(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(now(), tz)


def also_in(*modules):
    for module in modules:
        module.datetime = Now


time.time, time.perf_counter, time.sleep = now, perf_counter, sleep
