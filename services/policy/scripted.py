"""Replays given actions: one list a task, from a JSON-lines file of {"task_id": …, "actions": ["QUERY …", …]}."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from services.contracts.actions import Action, Answer, SQLAction, parse_action, parse_sql_action
from services.contracts.policy import AnalystTurn, AnyTurn
from services.contracts.record import Record
from services.policy.scripts import read_scripts

ANY_TASK = "*"


class Script(Record):
    """The actions of one task, as `VERB argument`, statements or JSON; the task `*` stands for every other."""

    task_id: str
    actions: tuple[str, ...]


class ScriptedPolicy:
    """Plays the script of the turn's task; when it is used up, or there is none, an empty answer or submission."""

    def __init__(self, scripts: Mapping[str, Sequence[str]]) -> None:
        self._scripts = scripts

    @classmethod
    def read(cls, path: Path) -> "ScriptedPolicy":
        """The policy of a script file. Raises BadInput with the line that is wrong."""
        return cls({script.task_id: script.actions for script in read_scripts(path, Script)})

    def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        """The next action of each turn's script."""
        return list(map(self._next, turns))

    def _next(self, turn: AnyTurn) -> Action:
        script = self._scripts.get(turn.task_id) or self._scripts.get(ANY_TASK, ())
        place = len(turn.history)
        text = script[place] if place < len(script) else None
        if isinstance(turn, AnalystTurn):
            return SQLAction(sql_query="", is_done=True) if text is None else parse_sql_action(text)
        return Answer(value="") if text is None else parse_action(text)
