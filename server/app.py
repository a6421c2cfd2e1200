"""The OpenEnv server where OpenEnv's tools look for it: `server`, `python -m server.app`, `uvicorn server.app:app`.

Settings of the environment: ASSAY_TASKS, the task set; ENABLE_WEB_INTERFACE, whether there is a page at /web.
"""

import sys

from starlette.applications import Starlette


def __getattr__(name: str) -> Starlette:
    """`app`, made when it is asked for: importing this module does nothing."""
    if name != "app":
        raise AttributeError(name)
    from cluster.openenv import config_of_environment, openenv_app

    return openenv_app(config_of_environment())


def main() -> None:
    """`assay serve openenv` with the arguments of this program."""
    from cluster.cli import main as assay

    sys.argv[1:1] = ["serve", "openenv"]
    assay()


if __name__ == "__main__":
    main()
