"""Policies beside the search: edits at random, and a script of given actions."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from services.contracts.etl import EtlAction, EtlTurn, RunRewrite, Submit, Verify
from services.contracts.record import Record
from services.policy.rewriter.progress import progress_of
from services.policy.rewriter.search import edits_of
from services.policy.scripts import read_scripts

ANY_JOB = "*"
_STOPS = 0.2


class RandomEditsPolicy:
    """Runs edits of what it ran last, drawn by the turn's seed, and submits at some point, verified or not."""

    def act(self, turn: EtlTurn) -> EtlAction:
        """The next action."""
        chance = _chance(turn)
        progress = progress_of(turn)
        if progress.awaits_verdict and chance.random() < 0.5:
            return Verify()
        edits = edits_of(progress.last or progress.best, turn)
        stop = turn.observation.budget_remaining <= 2 or chance.random() < _STOPS
        if edits and not stop:
            edit = chance.choice(edits)
            return RunRewrite(statements=edit.statements, rule=edit.rule, place=edit.place)
        return Submit() if progress.last else RunRewrite(statements=progress.best)


def _chance(turn: EtlTurn) -> random.Random:
    key = f"{turn.seed}/{turn.job_id}/{turn.task_key}/{len(turn.history)}"
    return random.Random(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]))


class EtlScript(Record):
    """The actions for one task; the task `*` stands for every other."""

    task_key: str
    actions: tuple[EtlAction, ...] = Field(min_length=1)


class ScriptedEtlPolicy:
    """Plays the script of the turn's task; when it is used up, or there is none, it submits."""

    def __init__(self, scripts: Mapping[str, Sequence[EtlAction]]) -> None:
        self._scripts = scripts

    @classmethod
    def read(cls, path: Path) -> "ScriptedEtlPolicy":
        """The policy of a JSON-lines file of scripts. Raises BadInput with the line that is wrong."""
        return cls({script.task_key: script.actions for script in read_scripts(path, EtlScript)})

    def act(self, turn: EtlTurn) -> EtlAction:
        """The next action of the script."""
        script = self._scripts.get(turn.task_key) or self._scripts.get(ANY_JOB, ())
        place = len(turn.history)
        return script[place] if place < len(script) else Submit()


def handing_in(statements: Sequence[str], verify: bool = True) -> tuple[EtlAction, ...]:
    """The script that runs one rewrite, verifies it if asked to, and submits it."""
    run = RunRewrite(statements=tuple(statements), rule="script")
    return (run, Verify(), Submit()) if verify else (run, Submit())
