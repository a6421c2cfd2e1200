"""ETL policies by the name that a command gives them: `rewriter`, `random-edits`, `scripted:PATH`, `openai:…`."""

import difflib
from collections.abc import Callable
from pathlib import Path

from services.contracts.errors import BadInput
from services.contracts.etl import EtlPolicy
from services.contracts.policy import Price
from services.policy.llm.metering import Freely
from services.policy.llm.settings import ModelSettings, is_model, model_and_url
from services.policy.registry import key_of
from services.policy.rewriter.playing import RandomEditsPolicy, ScriptedEtlPolicy
from services.policy.rewriter.search import RewriterPolicy

_PLAIN: dict[str, Callable[[], EtlPolicy]] = {"rewriter": RewriterPolicy, "random-edits": RandomEditsPolicy}
NAMES = (*_PLAIN, "scripted:PATH", "openai:MODEL@URL")


def etl_policy(name: str, settings: ModelSettings | None = None, price: Price | None = None) -> EtlPolicy:
    """The policy of that name; `settings` and `price` are a model's. Raises BadInput for an unknown name or a file."""
    if name in _PLAIN:
        return _PLAIN[name]()
    kind, _, argument = name.partition(":")
    if kind == "scripted" and argument:
        return ScriptedEtlPolicy.read(Path(argument))
    if is_model(name):
        return _model(name, settings or ModelSettings(style="tools"), price)
    near = difflib.get_close_matches(kind, [*_PLAIN, "scripted", "openai"], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(NAMES)}"
    raise BadInput(f"unknown ETL policy {name}; {hint}")


def _model(name: str, settings: ModelSettings, price: Price | None) -> EtlPolicy:
    from services.policy.remote import OpenAIEtlPolicy  # a second of imports

    model, url = model_and_url(name)
    return OpenAIEtlPolicy(url, model, key_of(settings), settings, Freely(price))
