"""Joins the Ray cluster that is there, or starts one on this machine that listens on 127.0.0.1 only."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ray_session() -> Iterator[None]:
    """Ray for the length of a command. A cluster of our own ends with it; one that was there stays."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, log_to_driver=True, logging_level=logging.WARNING)
    else:
        ray.init(include_dashboard=False, _node_ip_address="127.0.0.1", logging_level=logging.WARNING)
    try:
        yield
    finally:
        ray.shutdown()
