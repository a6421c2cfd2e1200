"""What is going on now, for Prometheus: gauges of each env actor and of the driver, seconds of grader and sink.

A metric belongs to the process that records it, so each is made at its first use there.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from ray.util.metrics import Counter, Gauge, Histogram

from cluster.metrics import SECONDS
from services.env_actor.load import ActorLoad

GAUGES = {
    "episodes": ("assay_actor_episodes", "Episodes handed to an actor and not yet stored"),
    "turns": ("assay_actor_turns_waiting", "Turns that wait for the next call of a policy"),
    "statements": ("assay_actor_statements", "Statements that run in a sandbox child or wait for one"),
    "children": ("assay_actor_children", "Sandbox children"),
    "memory_bytes": ("assay_actor_memory_bytes", "Resident memory of an actor's own process"),
}


class LoadMetrics:
    """Shows the load of the actor in whose process it is used."""

    def __init__(self) -> None:
        self._ended = 0

    def __call__(self, load: ActorLoad) -> None:
        """Set every gauge, and count the children that have ended since the last time."""
        for field, gauge in _gauges().items():
            gauge.set(getattr(load, field))
        if load.children_ended > self._ended:
            _children_ended().inc(load.children_ended - self._ended)
            self._ended = load.children_ended
        for call, calls in GRADING.items():
            _hand_over(call, calls)


class Calls:
    """Adds up how often something was called in this process, and for how long, until the next batch is done."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    def add(self, started: float) -> None:
        """A call that began at `started`, by time.perf_counter, has ended."""
        self.count += 1
        self.seconds += time.perf_counter() - started


GRADING = {call: Calls() for call in ("answer", "progress", "score", "verify")}
"""What graders and verifiers have done in this process since it was last handed over."""


class RunMetrics:
    """Shows how far the driver of a run has come."""

    def __init__(self, left: int) -> None:
        self._gauge = Gauge("assay_run_episodes_left", "Planned episodes that are not stored yet")
        self._left = left
        self._gauge.set(left)

    def stored(self, episodes: int) -> None:
        """So many episodes more are safe in a sink."""
        self._left -= episodes
        self._gauge.set(self._left)


@contextmanager
def timed_storing() -> Iterator[None]:
    """Times one batch on its way from the actor to the disk: what the sink lags behind."""
    started = time.perf_counter()
    yield
    _storing().observe(time.perf_counter() - started)


@cache
def _gauges() -> dict[str, Gauge]:
    return {field: Gauge(name, description) for field, (name, description) in GAUGES.items()}


@cache
def _children_ended() -> Counter:
    return Counter("assay_actor_children_ended_total", "Sandbox children that were killed, crashed or had grown")


def _hand_over(call: str, calls: Calls) -> None:
    if calls.count:
        count, seconds = _grading()
        count.inc(calls.count, {"call": call})
        seconds.inc(calls.seconds, {"call": call})
        calls.count, calls.seconds = 0, 0.0


@cache
def _grading() -> tuple[Counter, Counter]:
    calls = Counter("assay_grader_calls_total", "Calls of the grader", ("call",))
    return calls, Counter("assay_grader_seconds_total", "Wall time of all calls of the grader", ("call",))


@cache
def _storing() -> Histogram:
    return Histogram("assay_sink_seconds", "From the end of a batch until it is safe on disk", SECONDS)
