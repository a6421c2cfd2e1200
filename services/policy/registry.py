"""Policies by the name that a config gives them: `random`, `heuristic`, `scripted:PATH`."""

import difflib
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from services.contracts.errors import BadInput
from services.contracts.policy import Policy
from services.contracts.tasks import Environment
from services.policy.heuristic import HeuristicPolicy
from services.policy.random import RandomPolicy
from services.policy.scripted import ScriptedPolicy

_PLAIN: dict[str, Callable[[], Policy]] = {"random": RandomPolicy, "heuristic": HeuristicPolicy}
_WITH_PATH: dict[str, Callable[[Path], Policy]] = {"scripted": ScriptedPolicy.read}
_EXPLORE_ONLY = frozenset({"heuristic"})
NAMES = (*_PLAIN, *(f"{name}:PATH" for name in _WITH_PATH))


def check_plays(name: str, environments: Collection[Environment]) -> None:
    """Raise BadInput if the policy of that name cannot play one of the environments."""
    if name in _EXPLORE_ONLY and set(environments) != {"explore"}:
        raise BadInput(f"the policy {name} plays explore tasks only; use random or scripted:PATH for the others")


def policy_maker(name: str) -> Callable[[], Policy]:
    """What makes the policy of that name, wherever it is called. Raises BadInput for an unknown name or a bad file."""
    if name in _PLAIN:
        return _PLAIN[name]
    kind, _, argument = name.partition(":")
    if kind in _WITH_PATH and argument:
        path = Path(argument).resolve()
        _WITH_PATH[kind](path)
        return partial(_WITH_PATH[kind], path)
    near = difflib.get_close_matches(kind, [*_PLAIN, *_WITH_PATH], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(NAMES)}"
    raise BadInput(f"unknown policy {name}; {hint}")
