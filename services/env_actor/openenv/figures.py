"""What Prometheus may scrape of the OpenEnv server. Each app has a registry of its own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class FloorFigures:
    """Counters of one server; label `environment` is the name of a mount."""

    def __init__(self) -> None:
        self.registry = of_all = CollectorRegistry()
        by = ["environment"]
        self._episodes = Counter("assay_openenv_episodes", "Episodes begun.", by, registry=of_all)
        self._ended = Counter("assay_openenv_episodes_ended", "Episodes over.", [*by, "verdict"], registry=of_all)
        self._seconds = Histogram(
            "assay_openenv_step_seconds", "Steps taken, and their seconds.", by, buckets=_SECONDS, registry=of_all
        )
        self._watches: dict[str, Histogram] = {}
        self.faults = Counter("assay_openenv_faults", "Steps lost to a broken machine.", by, registry=of_all)
        self.resumed = Counter("assay_openenv_resumed", "Episodes taken up by another connection.", by, registry=of_all)
        self.errors = Counter(
            "assay_openenv_error_answers", "Answers that are no observation.", [*by, "code"], registry=of_all
        )
        self.refused = Counter("assay_openenv_refused", "Connections that found no seat.", registry=of_all)
        self._sessions = Gauge("assay_openenv_sessions", "Connections that hold a seat.", registry=of_all)
        self._parked = Gauge("assay_openenv_parked_episodes", "Episodes that wait for someone.", registry=of_all)

    def watch(self, sessions: Callable[[], int], parked: Callable[[], int]) -> None:
        """Read the gauges where they are true."""
        self._sessions.set_function(sessions)
        self._parked.set_function(parked)

    def begun(self, environment: str) -> None:
        """Count an episode."""
        self._episodes.labels(environment).inc()

    def stepped(self, environment: str, seconds: float, verdict: str | None) -> None:
        """Count a step, and the episode's end with its verdict."""
        watch = self._watches.get(environment)
        if watch is None:
            watch = self._watches[environment] = self._seconds.labels(environment)
        watch.observe(seconds)
        if verdict is not None:
            self._ended.labels(environment, verdict).inc()
