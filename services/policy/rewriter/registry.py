"""ETL policies by the name that a command gives them: `rewriter`, `random-edits`, `scripted:PATH`."""

import difflib
from collections.abc import Callable
from pathlib import Path

from services.contracts.errors import BadInput
from services.contracts.etl import EtlPolicy
from services.policy.rewriter.playing import RandomEditsPolicy, ScriptedEtlPolicy
from services.policy.rewriter.search import RewriterPolicy

_PLAIN: dict[str, Callable[[], EtlPolicy]] = {"rewriter": RewriterPolicy, "random-edits": RandomEditsPolicy}
NAMES = (*_PLAIN, "scripted:PATH")


def etl_policy(name: str) -> EtlPolicy:
    """The policy of that name. Raises BadInput for an unknown name or a bad file."""
    if name in _PLAIN:
        return _PLAIN[name]()
    kind, _, argument = name.partition(":")
    if kind == "scripted" and argument:
        return ScriptedEtlPolicy.read(Path(argument))
    near = difflib.get_close_matches(kind, [*_PLAIN, "scripted"], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(NAMES)}"
    raise BadInput(f"unknown ETL policy {name}; {hint}")
