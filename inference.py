"""The baseline of the analyst: a model behind an OpenAI-compatible API plays its three tasks.

API_BASE_URL=… MODEL_NAME=… HF_TOKEN=… python inference.py [--log-format openenv]
"""

import typer

from cluster.commands.inference import inference


def main() -> None:
    """Run it; see `python inference.py --help`."""
    typer.run(inference)


if __name__ == "__main__":
    main()
