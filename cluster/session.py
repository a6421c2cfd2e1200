"""Joins the Ray cluster that is there, or starts one on this machine that only this command and its workers can use.

Ray opens ports beyond 127.0.0.1 whatever it is told, so a cluster of our own takes calls with a secret token only.
"""

import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from services.contracts.errors import BadInput, Infrastructure

CONNECT_S = 10.0
MESSAGE = 300
"""Characters of what Ray says."""
INLINE_BYTES = 4 * 1024 * 1024
"""A batch of trajectories travels inside the call: through Ray's object store it would cost about a fifth more CPU."""
PROXY_ERRORS = "services.policy.proxy_errors.middlewares"


def prepare_environment() -> None:
    """Set what Ray reads once, when it is first imported: call this before anything imports ray."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_max_direct_call_object_size", str(INLINE_BYTES))
    os.environ.setdefault("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", PROXY_ERRORS)
    if os.environ.get("RAY_ADDRESS"):
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    else:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # Ray keeps the first one that it has read


@contextmanager
def ray_session() -> Iterator[None]:
    """Ray for the length of a command. A cluster of our own ends with it; one that was there stays.

    Raises Infrastructure if the cluster is lost meanwhile.
    """
    import ray

    from services.grader.runtime.slots import SLOT, slots_here

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    if address:
        check_reachable()
        ray.init(address=address, logging_level=logging.WARNING)
    else:  # "local": without it, Ray joins whatever cluster was last started on this machine
        ray.init(
            address="local",
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            logging_level=logging.WARNING,
            resources={SLOT: slots_here()},
        )
    try:
        yield
    except _lost() as error:
        told = " ".join(str(error).split())[:MESSAGE]
        raise Infrastructure(f"the Ray cluster let the command down, run it again with --resume: {told}") from error
    finally:
        ray.shutdown()


def _lost() -> tuple[type[Exception], ...]:
    """What Ray raises when a node or its head is gone; an actor's own end may be our bug."""
    from ray import exceptions

    return (
        exceptions.ActorUnavailableError,
        exceptions.ActorUnschedulableError,
        exceptions.LocalRayletDiedError,
        exceptions.NodeDiedError,
        exceptions.ObjectLostError,
        exceptions.RaySystemError,
        exceptions.RpcError,
    )


def check_head() -> None:
    """Raise Infrastructure if nobody listens any more at the address of the cluster that this process has joined."""
    import ray

    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        raise Infrastructure("the head of the Ray cluster is lost, run it again with --resume") from error


def check_reachable() -> None:
    """Raise BadInput if nobody listens at the HOST:PORT of RAY_ADDRESS: Ray itself would wait there for minutes."""
    address = os.environ.get("RAY_ADDRESS", "")
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        raise BadInput(
            f"no Ray cluster answers at RAY_ADDRESS={address}: start it, or unset RAY_ADDRESS to use this machine"
        ) from error
