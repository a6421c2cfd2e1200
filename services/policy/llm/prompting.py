"""Prompts are jinja2 templates: SETTING.PART.md.j2, packaged here, or in a folder of the user's that goes before.

The parts are `system` (the rules), `first` (the task) and `later` (what came of a step). docs/agents.md lists what a
template is given.
"""

from functools import cache
from pathlib import Path
from typing import Literal

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, StrictUndefined, TemplateError
from pydantic import JsonValue

from services.contracts.errors import BadInput
from services.policy.llm.tools import Setting

Part = Literal["system", "first", "later"]
PARTS: tuple[Part, ...] = ("system", "first", "later")
SETTINGS: tuple[Setting, ...] = ("explore", "analyst", "etl")


class Prompts:
    """The templates: those of `folder`, and the packaged ones for what it lacks. Raises BadInput."""

    def __init__(self, folder: str | None = None) -> None:
        if folder is not None and not Path(folder).is_dir():
            raise BadInput(f"prompts: there is no folder {folder}")
        own = [] if folder is None else [FileSystemLoader(folder)]
        loader = ChoiceLoader([*own, PackageLoader("services.policy.llm", "prompts")])
        self._templates = Environment(loader=loader, undefined=StrictUndefined, autoescape=False)  # noqa: S701 no HTML
        self._where = folder or "the packaged prompts"

    def render(self, setting: Setting, part: Part, **given: JsonValue) -> str:
        """The text of a part. Raises BadInput for a template that cannot be rendered."""
        name = f"{setting}.{part}.md.j2"
        try:
            return self._templates.get_template(name).render(given)
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise BadInput(f"{name} in {self._where}: {type(error).__name__}: {error}") from error


@cache
def packaged_rules(setting: Setting) -> str:
    """The rules of an environment where every message tells all, and is answered in words (services.policy.chat)."""
    return Prompts().render(setting, "system", tools=False, exact=True)
