"""The stages of a training run, each from files to files: what is there already is not made again.

split.json → demonstrations.jsonl → runs/demonstrated → decisions/ → offline/ → checkpoints/offline → online/ → …
"""

import asyncio
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from cluster.config import RolloutConfig, TasksConfig
from cluster.rollout import prepare, run_rollout
from cluster.run import RunFolder, write_whole
from cluster.tasksets.demonstrations import demonstrate
from cluster.training.exporting import Exported, export
from cluster.training.settings import TrainConfig
from cluster.training.splits import Split, split
from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.contracts.tasks import EpisodeLimits
from services.env_actor.taskset import TaskSet
from services.policy.tier.demonstration import Demonstration

Say = Callable[[str], None]


class Prepared(Record):
    """What offline learning takes."""

    supervised: Exported
    validation: Exported


class Stages:
    """The files of one training run."""

    def __init__(self, config: TrainConfig, folder: Path, task_set: TaskSet, say: Say) -> None:
        self.config = config
        self.folder = folder
        self.task_set = task_set
        self.say = say

    def planned(self) -> Split:
        """Which databases are for what. Raises BadInput."""
        return split(self.task_set, self.config.split)

    def decisions(self, sides: Split) -> Prepared:
        """Demonstrations of the supervised and the validation databases, played, and what was decided in them."""
        path = self.folder / "decisions.json"
        if not path.exists():
            taught = sides.tasks(self.task_set, (*sides.supervised, *sides.validation))
            runs = [self._demonstrated(taught)]
            if self.config.offline.algorithm == "marwil" and self.config.offline.samples:
                runs.append(
                    self.play(
                        "others", ("structured", "structured-random"), sides.supervised, self.config.offline.samples
                    )
                )
            made = Prepared(
                supervised=self._export(runs, "supervised", sides.tasks(self.task_set, sides.supervised)),
                validation=self._export(runs[:1], "validation", sides.tasks(self.task_set, sides.validation)),
            )
            write_whole(path, made.model_dump_json(indent=1) + "\n")
        return Prepared.model_validate_json(path.read_text(encoding="utf-8"))

    def play(self, name: str, policies: Sequence[str], databases: Sequence[str], samples: int = 1) -> RunFolder:
        """A rollout over all tasks of some databases, finished if it was begun."""
        config = RolloutConfig(
            name=f"{self.config.name}-{name}",
            tasks=TasksConfig(path=self.config.tasks, databases=tuple(databases)),
            policies=tuple(policies),
            samples=samples,
            seed=self.config.seed,
            limits=EpisodeLimits(),
            actors=self.config.actors,
        )
        prepared, path = prepare(config, self.task_set, None), self.folder / "runs" / name
        begun = path.exists()
        run = (
            RunFolder.resume(path, config, self.task_set, None)
            if begun
            else RunFolder.start(path, config, self.task_set, prepared.specs, None)
        )
        if not (path / "report.json").exists():
            self.say(f"playing {len(prepared.specs)} episodes of {', '.join(map(_short, policies))} ({name})")
            run_rollout(prepared, run, lambda _: None)
        return run

    def _demonstrated(self, taught: Collection[str]) -> RunFolder:
        """The demonstrations as episodes."""
        path = self.folder / "demonstrations.jsonl"
        if not path.exists():
            self.say(f"translating {len(taught)} golds into operations")
            found = asyncio.run(_proven(self.task_set, taught))
            if not found:
                raise BadInput(f"no gold of {self.config.tasks} can be said in operations: there is nothing to learn")
            write_whole(path, "".join(one.model_dump_json() + "\n" for one in found))
        lines = path.read_text(encoding="utf-8").splitlines()
        databases = sorted({Demonstration.model_validate_json(line).database for line in lines})
        return self.play("demonstrated", (f"demonstrated:{path}",), databases)

    def _export(self, runs: Sequence[RunFolder], side: str, tasks: Collection[str]) -> Exported:
        out = self.folder / "decisions" / side
        shutil.rmtree(out, ignore_errors=True)
        self.say(f"reading the decisions of {len(tasks)} tasks ({side})")
        return export(runs, out, self.config.most_candidates, self.config.seed, frozenset(tasks))


async def _proven(task_set: TaskSet, task_ids: Collection[str]) -> list[Demonstration]:
    return [one async for one in demonstrate(task_set, task_ids) if isinstance(one, Demonstration)]


def _short(policy: str) -> str:
    return policy.partition(":")[0]
