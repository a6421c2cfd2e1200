"""The model card of a checkpoint."""

from pathlib import Path

import jinja2

from cluster.training.settings import TrainConfig
from services.policy.trained.manifest import Manifest


def model_card(manifest: Manifest, config: TrainConfig) -> str:
    """Markdown: what it is, what it was trained on, what it got, where it ends."""
    text = Path(__file__).with_name("card.md.j2").read_text(encoding="utf-8")
    template = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False).from_string(text)  # noqa: S701
    return template.render(manifest=manifest, config=config) + "\n"
