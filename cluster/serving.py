"""Puts policies behind Ray Serve for as long as a run or a command needs them, and shuts down only what it started."""

import logging
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray import serve
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.config import BackpressureConfig, HTTPOptions
from ray.serve.schema import ApplicationStatus, LoggingConfig
from ray.util import list_named_actors
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from cluster.listening import check_port
from cluster.service import ServiceConfig
from cluster.session import ray_session
from services.contracts.errors import BadInput, Infrastructure
from services.contracts.policy import AnyPolicy
from services.policy.admission import Admission
from services.policy.deployment import PolicyDeployment
from services.policy.registry import policy_maker

_LOG = logging.getLogger(__name__)
LOOPBACK = "127.0.0.1"
REPLICA_CPUS = 0.1
_REPLICAS = "SERVE_REPLICA::"
"""What the actors' names of replicas begin with; then comes the application's."""
READY_S, APP_READY_S = 60.0, 180.0
"""Seconds in which a policy, and any other application, has to be ready."""
_NO_APP = ApplicationStatus.NOT_STARTED
_QUIET = LoggingConfig(log_level="WARNING", enable_access_log=False)
Makers = Mapping[str, Callable[[], AnyPolicy]]


@contextmanager
def serve_to_handles(makers: Makers, app: str) -> Iterator[None]:
    """The policies as a Serve app that Assay's actors call by its name; no port is opened."""
    with _serve_instance(None), _running(_policies(makers), app, None):
        yield


@contextmanager
def serve_on_loopback(makers: Makers, app: str) -> Iterator[str]:
    """The policies on a free port of 127.0.0.1; the base URL for a client. Raises BadInput where that cannot work."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    if len([node for node in nodes if node["Alive"]]) > 1 or _is_running():
        raise BadInput("policy_access: http is for a machine and a Serve of its own; use policy_access: handle here")
    with serve_over_http(makers, app, LOOPBACK, check_port(LOOPBACK, 0)) as url:
        yield url


@contextmanager
def serve_over_http(makers: Makers, app: str, host: str, port: int) -> Iterator[str]:
    """The policies at host and port; the base URL for a client."""
    with _serve_instance(HTTPOptions(host=host, port=port)), _running(_policies(makers), app, "/"):
        yield f"http://{host}:{port}/v1"


@contextmanager
def serve_as_configured(makers: Makers, config: ServiceConfig, admission: Admission) -> Iterator[str]:
    """The policies as the config has them, on a Serve of their own; the base URL for a client."""
    http = HTTPOptions(host=config.host, port=config.port, request_timeout_s=config.request_timeout_s)
    with _serve_instance(http), _running(_configured(makers, config, admission), config.name, "/"):
        yield f"http://{config.host}:{config.port}/v1"


def serve_until_stopped(
    makers: Makers, config: ServiceConfig, admission: Admission, say: Callable[[str], None]
) -> None:
    """Serve the policies until Ctrl-C; `say` hears the base URL. Raises BadInput."""
    with ray_session():
        _check_none_runs()
        with serve_as_configured(makers, config, admission) as url:
            say(url)
            _wait_for_ctrl_c()


def policy_app(args: Mapping[str, Sequence[str]]) -> serve.Application:
    """The app of a Serve config file (k8s/policies): `args` names the policies. Raises BadInput."""
    unknown = set(args) - {"policies"}
    if unknown or not args.get("policies"):
        raise BadInput(f"args of policy_app are `policies: [NAME, …]` and nothing else, not {sorted(args)}")
    app: serve.Application = PolicyDeployment.bind({name: policy_maker(name) for name in args["policies"]})
    return app


def serve_app_until_stopped(
    app: serve.Application, name: str, host: str, port: int, say: Callable[[str], None]
) -> None:
    """Serve an application at the root of host and port until Ctrl-C; `say` hears the URL. Raises BadInput."""
    with ray_session(), serving_app(app, name, host, port) as url:
        say(url)
        _wait_for_ctrl_c()


@contextmanager
def serving_app(app: serve.Application, name: str, host: str, port: int) -> Iterator[str]:
    """Serve an application at the root of host and port on the Ray that is joined; the URL. Raises BadInput."""
    _check_none_runs()
    with _serve_instance(HTTPOptions(host=host, port=port)), _running(app, name, "/", APP_READY_S):
        try:
            yield f"http://{host}:{port}"
        finally:
            _end_sessions(name)


def _end_sessions(name: str) -> None:
    """End an application's replicas now, whatever they serve: otherwise they would wait for their last session."""
    serve.delete(name, _blocking=False)
    for actor in list_named_actors(all_namespaces=True):
        if actor["namespace"] == SERVE_NAMESPACE and actor["name"].startswith(f"{_REPLICAS}{name}#"):
            with suppress(ValueError):  # it has ended by itself
                ray.kill(ray.get_actor(actor["name"], namespace=SERVE_NAMESPACE))


def _wait_for_ctrl_c() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a supervisor's stop drains as Ctrl-C does
    with suppress(KeyboardInterrupt):
        while True:
            signal.pause()


def _check_none_runs() -> None:
    if _is_running():
        raise BadInput("this Ray cluster runs Serve already: unset RAY_ADDRESS to serve from a cluster of its own")


def _is_running() -> bool:
    try:
        _controller()
    except ValueError:
        return False
    return True


def _controller() -> Any:
    return ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)


@contextmanager
def _serve_instance(http: HTTPOptions | None) -> Iterator[None]:
    """Serve itself: the one that is there, or one of our own that ends with us. Without `http` it opens no port."""
    if _is_running():
        yield
        return
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(proxy_location="HeadOnly" if http else "Disabled", http_options=http, logging_config=_QUIET)
    try:
        yield
    finally:
        _shut_down()


def _shut_down() -> None:
    """As serve.shutdown, without its call that dies with the controller and that Ray then reports as a failure."""
    ray.get(_controller().graceful_shutdown.remote(wait=False))
    Retrying(retry=retry_if_result(bool), stop=stop_after_delay(READY_S), wait=wait_fixed(0.1))(_is_running)
    serve.shutdown()  # type: ignore[no-untyped-call]


def _policies(makers: Makers) -> serve.Application:
    deployment = PolicyDeployment.options(ray_actor_options={"num_cpus": REPLICA_CPUS}, logging_config=_QUIET)
    app: serve.Application = deployment.bind(dict(makers))
    return app


def _configured(makers: Makers, config: ServiceConfig, admission: Admission) -> serve.Application:
    """The policies as a Serve app that scales by itself."""
    asks = {"num_cpus": config.replica.cpus, "memory": config.replica.memory_mb * 1024 * 1024}
    deployment = PolicyDeployment.options(
        ray_actor_options=asks,
        autoscaling_config=config.autoscaling_config.model_dump(),
        max_ongoing_requests=config.max_ongoing_requests,
        max_queued_requests=config.max_queued_requests,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=config.retry_after_s),
        graceful_shutdown_timeout_s=config.drain_s,
        health_check_period_s=config.health_check_period_s,
        health_check_timeout_s=config.health_check_timeout_s,
        logging_config=_QUIET,
    )
    app: serve.Application = deployment.bind(dict(makers), admission)
    return app


@contextmanager
def _running(app: serve.Application, name: str, route: str | None, ready_s: float = READY_S) -> Iterator[None]:
    target = serve.RunTarget(app, name=name, route_prefix=route, logging_config=_QUIET)
    try:
        serve.run_many([target], wait_for_applications_running=False)
        _await_running(name, ready_s)
        yield
    finally:
        try:
            serve.delete(name)
        except TimeoutError:  # it waits by the time of day
            _LOG.warning("Serve was told to take %s down, and is not done yet", name)


def _await_running(app: str, ready_s: float) -> None:
    """Return once a replica answers. Raises Infrastructure if none is placed, or none can be made."""
    waiting = retry_if_result(lambda status: status in (ApplicationStatus.DEPLOYING, _NO_APP))
    try:
        status = Retrying(retry=waiting, stop=stop_after_delay(ready_s), wait=wait_fixed(0.1))(_status, app)
    except RetryError as error:
        raise Infrastructure(f"Serve did not place a replica of {app} in {ready_s:.0f} s") from error
    if status != ApplicationStatus.RUNNING:
        raise Infrastructure(f"{app} could not be served: {serve.status().applications[app].message[:300]}")


def _status(app: str) -> ApplicationStatus:
    found = serve.status().applications.get(app)
    return found.status if found else _NO_APP
