"""Policies by the name that a config gives them: `random`, `scripted:PATH`, `trained:PATH`, `openai:MODEL@URL` …"""

import difflib
import os
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from services.contracts.errors import BadInput
from services.contracts.policy import AnyPolicy, Policy
from services.contracts.tasks import Environment
from services.policy.heuristic import HeuristicPolicy
from services.policy.llm.metering import Freely, Meter
from services.policy.llm.prompting import Prompts
from services.policy.llm.settings import ModelSettings, model_and_url
from services.policy.random import RandomPolicy
from services.policy.rules import RuleBasedPolicy
from services.policy.scripted import ScriptedPolicy
from services.policy.tier.demonstrated import read_demonstrated
from services.policy.tier.policy import StructuredPolicy, at_random, planned

_PLAIN: dict[str, Callable[[], Policy]] = {
    "random": RandomPolicy,
    "rule-based": RuleBasedPolicy,
    "heuristic": HeuristicPolicy,
    "structured": partial(StructuredPolicy, planned),
    "structured-random": partial(StructuredPolicy, at_random),
}


def _trained(folder: Path) -> AnyPolicy:
    from services.policy.trained.policy import TrainedPolicy  # ONNX Runtime

    return TrainedPolicy.read(folder)


_WITH_PATH: dict[str, Callable[[Path], AnyPolicy]] = {
    "scripted": ScriptedPolicy.read,
    "demonstrated": read_demonstrated,
    "trained": _trained,
}
_REMOTE = ("openai", "a2a")
_EXPLORE_ONLY = frozenset({"heuristic", "rule-based", "structured", "structured-random", "demonstrated", "trained"})
NAMES = (*_PLAIN, *(f"{name}:PATH" for name in _WITH_PATH), "openai:MODEL@URL", "a2a:URL")


def check_plays(name: str, environments: Collection[Environment]) -> None:
    """Raise BadInput if the policy of that name cannot play one of the environments."""
    if name.partition(":")[0] in _EXPLORE_ONLY and set(environments) != {"explore"}:
        raise BadInput(f"the policy {name} plays explore tasks only; use random or scripted:PATH for the others")


def policy_maker(
    name: str, settings: ModelSettings | None = None, meter: Meter | None = None
) -> Callable[[], AnyPolicy]:
    """What makes the policy of that name, wherever it is called. Raises BadInput for an unknown name or a bad file.

    `settings` say how a model is asked, and `meter` counts what it takes; both are for `openai:MODEL@URL` only.
    """
    if name in _PLAIN:
        return _PLAIN[name]
    kind, _, argument = name.partition(":")
    if kind in _WITH_PATH and argument:
        path = Path(argument).resolve()
        _WITH_PATH[kind](path)
        return partial(_WITH_PATH[kind], path)
    if kind in _REMOTE and argument:
        return _remote_maker(kind, argument, settings or ModelSettings(), meter or Freely())
    near = difflib.get_close_matches(kind, [*_PLAIN, *_WITH_PATH, *_REMOTE], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(NAMES)}"
    raise BadInput(f"unknown policy {name}; {hint}")


def key_of(settings: ModelSettings) -> str:
    """The variable that holds the key; a local server needs none, so that one which is not set is left out."""
    return settings.key if os.environ.get(settings.key) else ""


def _remote_maker(kind: str, argument: str, settings: ModelSettings, meter: Meter) -> Callable[[], AnyPolicy]:
    """A policy behind a URL; whether somebody answers there is seen when it is asked."""
    if kind == "openai":
        model, url = model_and_url(f"openai:{argument}")
        return partial(_openai, url, model, _with_prompts(settings), meter)
    if not argument.startswith(("http://", "https://")):
        raise BadInput(f"policy a2a:{argument}: expected a2a:URL with an http:// or https:// URL")
    return partial(_a2a, argument)


def _with_prompts(settings: ModelSettings) -> ModelSettings:
    """The settings with the folder of prompts as an absolute path. Raises BadInput if it is not there."""
    Prompts(settings.prompts)
    if settings.prompts is None:
        return settings
    return settings.model_copy(update={"prompts": str(Path(settings.prompts).resolve())})


def _openai(url: str, model: str, settings: ModelSettings, meter: Meter) -> AnyPolicy:
    from services.policy.remote import OpenAIPolicy  # a second of imports

    return OpenAIPolicy(url, model, key_of(settings), settings=settings, meter=meter)


def _a2a(url: str) -> AnyPolicy:
    try:
        from services.policy.agent import A2APolicy
    except ModuleNotFoundError as error:
        raise BadInput(f"{error.name} is missing: install assay[green-agent]") from error
    return A2APolicy(url)
