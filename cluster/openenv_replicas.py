"""The OpenEnv server on Ray Serve: replicas of the same app, as many as the open sessions ask for.

An episode lives in its replica: a connection that is lost finds it again only if the same replica answers.
"""

from typing import Any

from ray import serve
from starlette.applications import Starlette

from cluster.openenv import OpenEnvConfig, openenv_app

CPUS = 1.0
SESSIONS_A_REPLICA = 48
"""Open sessions for which one replica is kept; an open WebSocket counts as a request that is under way."""


class OpenEnvReplica:
    """One server process."""

    def __init__(self, config: OpenEnvConfig) -> None:
        self._config = config

    def __serve_build_asgi_app__(self) -> Starlette:
        """The app, made in the replica."""
        return openenv_app(self._config)


OpenEnvDeployment: Any = serve.deployment(serve.ingress()(OpenEnvReplica), name="openenv")


def replicated(config: OpenEnvConfig, most: int) -> serve.Application:
    """The application with up to so many replicas."""
    app: serve.Application = OpenEnvDeployment.options(
        max_ongoing_requests=config.floor.sessions,
        ray_actor_options={"num_cpus": CPUS},
        autoscaling_config={
            "min_replicas": 1,
            "max_replicas": most,
            "target_ongoing_requests": SESSIONS_A_REPLICA,
            "upscale_delay_s": 3,
        },
    ).bind(config)
    return app
