"""What the tests of verification share: task sets with variants, and a way to answer with queries of one's own."""

import asyncio
import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.tasksets.variants import add_variants, build_here
from cluster.verifying import verifier_for
from services.contracts.grading import Found, Verification
from services.contracts.statements import ResultTable
from services.env_actor.taskset import TaskSet
from services.grader.answers import submission
from services.grader.gold import GoldAnswer, read_gold
from services.grader.grader import GoldGrader
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool


def with_variants(task_set: TaskSet, folder: Path, only: Collection[str], seed: int = 0) -> TaskSet:
    """A copy of the task set with variants of some databases."""
    shutil.copytree(task_set.folder, folder)
    add_variants(TaskSet(folder), seed, lambda done: None, only=only, build=build_here)
    return TaskSet(folder)


@dataclass
class Desk:
    """Answers tasks of a task set with queries, and hears the verdict."""

    task_set: TaskSet
    golds: dict[str, GoldAnswer]
    limits: SandboxLimits

    @classmethod
    def of(cls, task_set: TaskSet, limits: SandboxLimits | None = None) -> "Desk":
        return cls(task_set, read_gold(task_set.gold_path), limits or SandboxLimits())

    def right(self, task_id: str) -> str:
        """The right answer, as an agent would write it."""
        return submission(self.golds[task_id].gold_answer)

    def verify(self, task_id: str, *queries: str, answer: str | None = None) -> Verification:
        """The verdict on an answer after the queries; the right answer if none is given."""
        said = self.right(task_id) if answer is None else answer
        return asyncio.run(self.verify_all([(task_id, queries, said)]))[0]

    async def verify_all(self, asked: Sequence[tuple[str, Sequence[str], str]]) -> list[Verification]:
        """The verdicts on several, over one sandbox."""
        paths = {name: self.task_set.database_path(name) for name in self.task_set.manifest.databases}
        async with SandboxPool(paths, self.limits) as pool:
            verifier = verifier_for(self.task_set, GoldGrader(self.golds), pool)
            assert verifier is not None
            verdicts = []
            for task_id, queries, answer in asked:
                task = self.task_set.tasks[task_id]
                found = []
                for step, sql in enumerate(queries, 1):
                    outcome, _ = await pool.run(task.database, sql)
                    assert isinstance(outcome, ResultTable), (sql, outcome)
                    found.append(Found(step=step, sql=sql, result=outcome))
                verdicts.append(await verifier.verify(task, answer, found))
        return verdicts


def judged(desk: Desk, databases: Collection[str], right: bool) -> list[tuple[str, Verification]]:
    """The verdicts on the hand-written queries over some databases; each is answered with the right answer."""
    lines = Path(__file__).with_name("data").joinpath("near_misses.jsonl").read_text().splitlines()
    pairs = [pair for pair in map(json.loads, lines) if pair["right"] == right]
    pairs = [pair for pair in pairs if desk.task_set.tasks[pair["task_id"]].database in databases]
    asked = [(pair["task_id"], (pair["sql"],), desk.right(pair["task_id"])) for pair in pairs]
    return list(zip([pair["sql"] for pair in pairs], asyncio.run(desk.verify_all(asked)), strict=True))
