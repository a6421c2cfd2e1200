"""Derives every reward again from the stored actions and results: the same episode code, fed from the record.

Recorded truncations, faults and hit limits are taken as given and counted. What the guard learns from a statement is
found out again, in a sandbox child; nothing that was stored about the reward is used.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import duckdb

from cluster.run import RunFolder
from cluster.schema import check_version, step_of, task_of, verification_of
from cluster.tasksets.opening import open_task_set
from cluster.verifying import verifier_for
from services.contracts.actions import Answer, Query, SQLAction
from services.contracts.errors import BadInput
from services.contracts.grading import COMPONENTS_OF, AnswerVerifier, Verification
from services.contracts.record import Record
from services.contracts.statements import QueryFacts, ResultTable, StatementOutcome
from services.contracts.tasks import Task
from services.contracts.trajectory import EpisodeSpec, Step
from services.contracts.trials import Tried
from services.env_actor.analyst.trials import LIMITS, TrialSandbox, limits_given
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.episode import Episode, episode_of
from services.env_actor.explore import ExploreEpisode
from services.grader.grader import GoldGrader
from services.sandbox.pool import SandboxPool

EXACTLY = 1e-9


class Difference(Record):
    """A stored value that the derivation does not give again."""

    episode_id: str
    where: str
    stored: str
    derived: str


class RegradeSummary(Record):
    """What a regrade came to."""

    episodes: int
    graded: int
    taken_as_given: dict[str, int]
    differences: tuple[Difference, ...]


class Regrader:
    """Regrades the episodes of one run."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._task_set = open_task_set(run.manifest.task_set, run.manifest.task_set_hash)
        if self._task_set.manifest.task_set_hash() != run.manifest.task_set_hash:
            raise BadInput(f"the task set {run.manifest.task_set} is not the one that {run.path} was played on")
        self._grader = GoldGrader.read(self._task_set.gold_path)
        self._verifier: AnswerVerifier | None = None
        self._catalogs: dict[str, DatabaseCatalog] = {}
        self._facts: dict[tuple[str, str], QueryFacts | None] = {}

    async def regrade(self, progress: Callable[[int], None]) -> RegradeSummary:
        """Regrade every stored episode; `progress` hears how many are done. Raises BadInput, SandboxFault."""
        given: Counter[str] = Counter()
        differences: list[Difference] = []
        episodes = graded = 0
        databases = {name: self._task_set.database_path(name) for name in self._task_set.manifest.databases}
        config = self._run.manifest.config
        async with SandboxPool(databases, config.sandbox) as pool:
            if config.verification == "variants":
                self._verifier = verifier_for(self._task_set, self._grader, pool)
            for row in stored_rows(self._run):
                check_version(row["schema_version"])
                episodes += 1
                given.update(_taken_as_given(row))
                if row["reward"] is not None:
                    graded += 1
                    differences += await self._compare(row, pool)
                progress(episodes)
        return RegradeSummary(
            episodes=episodes, graded=graded, taken_as_given=dict(given), differences=tuple(differences)
        )

    async def _compare(self, row: dict[str, Any], pool: SandboxPool) -> list[Difference]:
        steps = list(map(step_of, row["steps"]))
        task = self._task(row)
        episode = self._episode(row, task)
        for step in steps:
            if episode.over:
                return [_difference(row, "steps", len(steps), len(episode.steps))]
            if isinstance(episode, ExploreEpisode):
                episode.verification = await self._verification(row, step, episode)
            episode.apply(step.action, await self._outcome(task, step, pool))
        if row["truncation"] == "deadline" and not episode.over:
            episode.truncate("deadline")
        return list(_differences(row, steps, episode))

    def _task(self, row: dict[str, Any]) -> Task:
        task = self._task_set.tasks.get(row["task_id"])
        if task is None or task != task_of(row):
            raise BadInput(f"episode {row['episode_id']}: the task {row['task_id']} is not that of the task set")
        return task

    def _episode(self, row: dict[str, Any], task: Task) -> Episode:
        spec = EpisodeSpec.model_validate({name: row[name] for name in EpisodeSpec.model_fields})
        if task.database not in self._catalogs:
            self._catalogs[task.database] = self._task_set.catalog(task.database)
        limits = self._run.manifest.config.limits
        return episode_of(task, self._catalogs[task.database], self._grader, spec.episode_seed(), limits)

    async def _verification(self, row: dict[str, Any], step: Step, episode: ExploreEpisode) -> Verification | None:
        """What replaying the stored statements on the variants comes to; a limit hit by a replay is taken as given."""
        if self._verifier is None or not isinstance(step.action, Answer):
            return None
        stored = verification_of(row)
        if stored is not None and stored.limits:
            return stored
        return await self._verifier.verify(self._task_set.tasks[row["task_id"]], step.action.value, episode.found())

    async def _outcome(self, task: Task, step: Step, pool: SandboxPool) -> StatementOutcome | Tried | None:
        """The stored outcome, with facts that are not taken from the record, and trials that are run again."""
        match step.outcome, step.action:
            case ResultTable() as stored, Query(sql=sql):
                return await self._with_facts(task.database, sql, stored, pool)
            case ResultTable() as stored, SQLAction(sql_query=sql):
                found = await self._with_facts(task.database, sql, stored, pool)
                trials = TrialSandbox(pool, self._grader, task.task_id)
                return await trials.complete(sql, found, limits_given(step.trials or ()))
            case stored, _:
                return stored

    async def _with_facts(self, database: str, sql: str, stored: ResultTable, pool: SandboxPool) -> ResultTable:
        key = (database, sql)
        if key not in self._facts:
            self._facts[key] = await pool.inspect(*key)
        facts = self._facts[key]
        if facts is None:
            raise BadInput(f"a stored statement on {database} gave rows, but the guard refuses it: {sql[:200]}")
        return ResultTable.model_validate({**dict(stored), "facts": facts})


def stored_rows(run: RunFolder) -> Iterator[dict[str, Any]]:
    """All rows of a run, those of one database together: each database is then opened once. Raises BadInput."""
    files = [str(path) for path in run.files()]
    if not files:
        raise BadInput(f"{run.path} holds no trajectories yet")
    with duckdb.connect() as connection:
        try:
            ordered = connection.read_parquet(files, union_by_name=True).order("database, task_id, episode_id")
            for batch in ordered.to_arrow_reader(64):
                yield from batch.to_pylist()
        except duckdb.Error as error:
            raise BadInput(f"{run.path}: {str(error).splitlines()[0]}") from error


def _taken_as_given(row: dict[str, Any]) -> list[str]:
    given = []
    if row["fault_kind"] is not None:
        given.append(f"fault: {row['fault_kind']}")
    if row["truncation"] is not None:
        given.append(f"truncation: {row['truncation']}")
    verification = verification_of(row)
    if verification is not None:
        given += [f"limit of a replay: {limit}" for limit in verification.limits]
    given += [f"limit: {step['outcome']}" for step in row["steps"] if step["outcome"] in LIMITS]
    notes = [note for step in map(step_of, row["steps"]) for note in step.trials or ()]
    return given + [f"limit of a trial: {note.outcome}" for note in notes if note.outcome in LIMITS]


def _differences(row: dict[str, Any], steps: list[Step], episode: Episode) -> list[Difference]:
    found = []
    names = COMPONENTS_OF[row["environment"]]
    for index, (stored, derived) in enumerate(zip(steps, episode.steps, strict=True), 1):
        for name in names:
            found.append((f"step {index} {name}", getattr(stored.components, name), getattr(derived.components, name)))
        found.append((f"step {index} reward", stored.reward, derived.reward))
        found.append((f"step {index} result", stored.result, derived.result))
        found.append((f"step {index} score", stored.score, derived.score))
    for name in names:
        total = sum(getattr(step.components, name) for step in episode.steps)
        found.append((name, row.get(name, 0.0), total))
    found.append(("reward", row["reward"], episode.reward()))
    found.append(("verdict", row["verdict"], episode.verdict()))
    if isinstance(episode, ExploreEpisode):
        found.append(("verification", verification_of(row), episode.verification))
    return [_difference(row, where, stored, derived) for where, stored, derived in found if not _equal(stored, derived)]


def _equal(stored: object, derived: object) -> bool:
    if isinstance(stored, float) and isinstance(derived, float):
        return math.isclose(stored, derived, rel_tol=0, abs_tol=EXACTLY)
    return stored == derived


def _difference(row: dict[str, Any], where: str, stored: object, derived: object) -> Difference:
    return Difference(episode_id=row["episode_id"], where=where, stored=str(stored)[:200], derived=str(derived)[:200])
