"""`assay serve policy`: policies behind OpenAI's chat completions API."""

from pathlib import Path
from typing import Annotated

import typer

from cluster.config import read_config
from cluster.listening import check_port
from services.contracts.errors import BadInput


def serve_policy(
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="As configs/serve-policies.yaml.")] = None,
    override: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = None,
    policy: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A policy; may be repeated.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 takes a free one. Default: 8000.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on. Default: 127.0.0.1.")] = None,
) -> None:
    """Serve policies over OpenAI's chat completions API until Ctrl-C. ASSAY_SERVE_TOKEN holds who may ask."""
    from cluster.service import ServiceConfig, admission_of
    from services.policy.registry import policy_maker

    if override and config is None:
        raise BadInput("--set changes a file's keys: give the file with --config")
    settings = ServiceConfig() if config is None else read_config(config, ServiceConfig, override or [])
    given = {"policies": tuple(policy or ()) or None, "port": port, "host": host}
    settings = settings.model_copy(update={key: value for key, value in given.items() if value is not None})
    makers = {name: policy_maker(name) for name in settings.policies}
    admission = admission_of(settings)
    settings = settings.model_copy(update={"port": check_port(settings.host, settings.port)})
    from cluster.serving import serve_until_stopped

    serve_until_stopped(makers, settings, admission, typer.echo)
