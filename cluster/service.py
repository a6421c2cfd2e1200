"""How a policy server is run, read from a YAML file of configs/: who answers, on how many replicas, for whom.

The keys of `autoscaling_config` are Ray Serve's own. A replica is never asked for more than 2 CPUs and 8 GB.
"""

import os
from typing import Annotated

from pydantic import Field, model_validator

from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.policy.admission import REQUEST_BYTES, Admission, digest

TOKEN = "ASSAY_SERVE_TOKEN"  # noqa: S105  the name of a variable
TOKEN_CHARACTERS = 16
LOOPBACK = ("127.0.0.1", "::1", "localhost")
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class ReplicaConfig(Record):
    """What each replica asks Ray for."""

    cpus: float = Field(default=0.1, gt=0, le=2, description="2 is a replica's ceiling")
    memory_mb: int = Field(default=512, ge=256, le=8192, description="8192 is a replica's ceiling")


class AutoscalingConfig(Record):
    """When Serve adds and removes replicas, in Serve's own words (ray.serve.config.AutoscalingConfig)."""

    min_replicas: int = Field(default=1, ge=1, le=1000)
    max_replicas: int = Field(default=1, ge=1, le=1000)
    target_ongoing_requests: float = Field(default=16, gt=0, description="requests that a replica is meant to have")
    upscale_delay_s: Seconds = 5.0
    downscale_delay_s: Seconds = 60.0
    metrics_interval_s: float = Field(default=10.0, gt=0, le=3600)
    look_back_period_s: float = Field(default=30.0, gt=0, le=3600)

    @model_validator(mode="after")
    def _in_order(self) -> "AutoscalingConfig":
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas: {self.max_replicas} is less than min_replicas, {self.min_replicas}")
        if self.look_back_period_s <= self.metrics_interval_s:
            raise ValueError("look_back_period_s: has to be longer than metrics_interval_s")
        return self


class ServiceConfig(Record):
    """A policy server."""

    name: str = Field(default="policies", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    policies: tuple[str, ...] = Field(default=("random", "heuristic"), min_length=1)
    host: str = LOOPBACK[0]
    port: int = Field(default=8000, ge=0, le=65535, description="0 takes a free one")
    replica: ReplicaConfig = ReplicaConfig()
    autoscaling_config: AutoscalingConfig = AutoscalingConfig()
    max_ongoing_requests: int = Field(default=64, ge=1, description="that a replica works on at once")
    max_queued_requests: int = Field(default=256, ge=0, description="that wait for a replica; one more is refused, 429")
    retry_after_s: int = Field(default=1, ge=0, le=60, description="what a refused client is told to wait")
    request_bytes: int = Field(default=REQUEST_BYTES, ge=1024, le=64 * 1024 * 1024, description="one more: 413")
    request_timeout_s: float = Field(default=300.0, gt=0, le=3600, description="after which a request is answered 408")
    drain_s: Seconds = Field(default=60.0, description="for which a replica that is let go finishes what it has")
    health_check_period_s: float = Field(default=5.0, gt=0, le=3600)
    health_check_timeout_s: float = Field(default=15.0, gt=0, le=3600)


def admission_of(config: ServiceConfig) -> Admission:
    """Who is let in. Raises BadInput for a token that could be guessed, or none where others than this machine listen.

    The bearer token is read from ASSAY_SERVE_TOKEN.
    """
    token = os.environ.get(TOKEN, "")
    if token and (len(token) < TOKEN_CHARACTERS or token.strip() != token):
        raise BadInput(f"{TOKEN} needs {TOKEN_CHARACTERS} characters or more, and no blank at either end")
    if not token and config.host not in LOOPBACK:
        raise BadInput(f"set {TOKEN} to a secret: {config.host} can be reached from elsewhere")
    return Admission(token_sha256=digest(token) if token else "", request_bytes=config.request_bytes)
