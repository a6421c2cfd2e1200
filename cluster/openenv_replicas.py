"""The OpenEnv server on Ray Serve: replicas of the same app, as many as the open sessions ask for.

An episode lives in its replica. A connection stays where it is, and what comes with the same `x-session-id` reaches the
same replica for as long as there are the same replicas; one that is to go ends when its last session has.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray import serve
from ray.serve.config import RequestRouterConfig
from starlette.applications import Starlette

from cluster.openenv import OpenEnvConfig, openenv_app
from services.env_actor.confinement import Confinement

CPUS = 1.0
SESSIONS_A_REPLICA = 48
"""Open sessions for which one replica is kept; an open WebSocket counts as a request that is under way."""
_ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"


class OpenEnvReplica:
    """One server process, which stays on two cores and within the memory of an env actor."""

    def __init__(self, config: OpenEnvConfig) -> None:
        self._config = config
        self._confinement = Confinement()
        self._confinement.widen()

    def __serve_build_asgi_app__(self) -> Starlette:
        """The app, made in the replica: in a thread, since Ray asks for it on a loop that runs."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(openenv_app, self._config).result()


OpenEnvDeployment: Any = serve.deployment(serve.ingress()(OpenEnvReplica), name="openenv")


def replicated(config: OpenEnvConfig, most: int, sessions: int = SESSIONS_A_REPLICA) -> serve.Application:
    """The application with up to so many replicas, one for so many open sessions."""
    app: serve.Application = OpenEnvDeployment.options(
        max_ongoing_requests=config.floor.sessions,
        ray_actor_options={"num_cpus": CPUS},
        request_router_config=RequestRouterConfig.model_validate({"request_router_class": _ROUTER}),
        graceful_shutdown_timeout_s=config.floor.idle_s,
        autoscaling_config={
            "min_replicas": 1,
            "max_replicas": most,
            "target_ongoing_requests": sessions,
            "upscale_delay_s": 3,
        },
    ).bind(config)
    return app
