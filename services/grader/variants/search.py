"""The search for a small set of variants that tells each task's near misses from its gold.

The candidates of a database serve all of its tasks; a task is given at most eight of them, those first that tell the
most near misses from its gold.
"""

import resource
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.contracts.keys import TableKeys
from services.contracts.tasks import Task
from services.grader.gold import GoldAnswer
from services.grader.variants.candidates import FOCUSED, Candidate, CandidateMaker
from services.grader.variants.hints import parse
from services.grader.variants.library import Survivor, TaskVariants, VariantGold
from services.grader.variants.mutants import Mutant, mutants_of
from services.grader.variants.proofs import proof
from services.grader.variants.relations import Tables, read_tables
from services.grader.variants.rules import Rules, rules_of
from services.grader.variants.trial import Trial, hold, start
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

FEWEST, MOST = 4, 8
"""Variants of one task: so many even where fewer tell all near misses apart, and at most so many."""
LARGER = 20
"""How many times the budget the search has that decides what is killable."""
BATCH = 20
LIMITS = SandboxLimits(children=2, cache_mb=0, statement_s=60.0)


@dataclass(frozen=True)
class DatabaseJob:
    """One database and the tasks on it, with their gold."""

    name: str
    path: Path
    keys: tuple[TableKeys, ...] | None
    tasks: tuple[Task, ...]
    golds: dict[str, GoldAnswer]
    seed: int
    check: bool = False


@dataclass(frozen=True)
class Searched:
    """What a search found: the records of the tasks, the golds, and the names of the variants that are kept."""

    tasks: list[TaskVariants]
    golds: list[VariantGold]
    variants: list[str]
    tally: dict[str, dict[str, int]]


async def search(job: DatabaseJob, folder: Path) -> Searched:
    """Search variants of one database; their files are left in the folder. Raises BadInput, SandboxFault."""
    began = _cpu_s()
    base = read_tables(job.path)
    rules = rules_of(base, job.keys)
    golds = [job.golds[task.task_id] for task in job.tasks if task.task_id in job.golds]
    trees = {gold.task_id: tree for gold in golds if gold.gold_sql and (tree := parse(gold.gold_sql)) is not None}
    maker = CandidateMaker(job.name, base, rules, list(trees.values()), folder, job.seed)
    async with SandboxPool({job.name: job.path}, LIMITS) as pool:
        shared = maker.of_all()
        schema = {name: {column.lower(): kind for column, kind in table.columns} for name, table in base.items()}
        trials = {}
        for gold in golds:
            if gold.task_id in trees:
                trial = trials[gold.task_id] = Trial(gold, trees[gold.task_id])
                await start(trial, mutants_of(trial.tree, schema, gold.gold_sql), job.name, pool)
                await hold(trial, shared, "shared", pool)
        await _focus(trials, maker, rules, base, pool)
        chosen = _choose(list(trials.values()), maker.made)
        spent = _cpu_s() - began + pool.cpu_s()
        killable = await _larger(job, trials, chosen, base, rules, folder, pool) if job.check else {}
    return _searched(job, trials, chosen, maker.made, killable, rules, base, spent)


async def _focus(
    trials: dict[str, Trial], maker: CandidateMaker, rules: Rules, base: Tables, pool: SandboxPool
) -> None:
    """More candidates for the tasks with near misses left, made around their own constants."""
    for trial in trials.values():
        if not any(proof(mutant, trial.tree, rules, base) is None for mutant in trial.left):
            continue
        fresh = maker.of_task(trial.tree)
        await hold(trial, fresh, f"for {trial.gold.task_id}", pool)


def _choose(trials: Sequence[Trial], made: Sequence[Candidate]) -> dict[str, list[str]]:
    """For each task at most eight candidates: greedily by near misses told apart, then by how many tasks share them."""
    popular: Counter[str] = Counter()
    for trial in trials:
        for places in trial.kills.values():
            popular.update(places)
    chosen: dict[str, list[str]] = {}
    used: Counter[str] = Counter()
    for trial in sorted(trials, key=lambda t: len(t.expected)):
        open_, picked = {m: p for m, p in trial.kills.items() if p}, list[str]()
        while open_ and len(picked) < MOST:
            best = max(sorted(trial.expected), key=lambda n: (sum(n in p for p in open_.values()), used[n], popular[n]))
            picked.append(best)
            open_ = {mutant: places for mutant, places in open_.items() if best not in places}
        used.update(picked)
        chosen[trial.gold.task_id] = picked
    for trial in trials:
        picked = chosen[trial.gold.task_id]
        others = sorted(set(trial.expected) - set(picked), key=lambda n: (-used[n], -popular[n], n))
        more = others[: max(0, FEWEST - len(picked))]
        picked += more
        used.update(more)
    return chosen


async def _larger(
    job: DatabaseJob, trials: dict[str, Trial], chosen: dict[str, list[str]], base: Tables, rules: Rules, folder: Path,
    pool: SandboxPool,
) -> dict[str, set[Mutant]]:  # fmt: skip
    """The mutants that the chosen variants leave and a separately seeded search of 20 times the budget kills."""
    found: dict[str, set[Mutant]] = {}
    more = folder / "larger"
    more.mkdir()
    trees = [trial.tree for trial in trials.values()]
    maker = CandidateMaker(job.name, base, rules, trees, more, job.seed + 1_000_003)
    shared = [maker.of_all() for _ in range(LARGER)]
    for task_id, trial in trials.items():
        left = [m for m in _left(trial, chosen[task_id]) if proof(m, trial.tree, rules, base) is None]
        if not left:
            continue
        again = Trial(trial.gold, trial.tree, kills={mutant: set() for mutant in left})
        for number, batch in enumerate(shared):
            await hold(again, batch, f"larger {number}", pool, only_left=True)
        for number in range(LARGER * FOCUSED // BATCH):
            if again.left:
                await hold(again, maker.of_task(trial.tree, BATCH), f"{task_id} larger {number}", pool, only_left=True)
        found[task_id] = {mutant for mutant, places in again.kills.items() if places}
    return found


def _left(trial: Trial, picked: Sequence[str]) -> list[Mutant]:
    return [mutant for mutant, places in trial.kills.items() if places.isdisjoint(picked)]


def _searched(
    job: DatabaseJob, trials: dict[str, Trial], chosen: dict[str, list[str]], made: Sequence[Candidate],
    killable: dict[str, set[Mutant]], rules: Rules, base: Tables, spent: float,
) -> Searched:  # fmt: skip
    records, golds = [], []
    tally: dict[str, Counter[str]] = {}
    for task_id, trial in trials.items():
        picked = sorted(chosen[task_id])
        golds += [VariantGold(task_id=task_id, variant=name, expected=trial.expected[name]) for name in picked]
        survivors = []
        for mutant in _left(trial, picked):
            because = proof(mutant, trial.tree, rules, base)
            standing = (
                f"equivalent: {because}"
                if because
                else "killable"
                if mutant in killable.get(task_id, ())
                else "unresolved"
            )
            survivors.append(Survivor(kind=mutant.kind, sql=mutant.sql, standing=standing))
        records.append(_record(job.name, trial, picked, survivors, spent / len(trials)))
        _count(tally, trial, picked, survivors, made)
    used = sorted({name for picked in chosen.values() for name in picked})
    return Searched(records, golds, used, {kind: dict(counts) for kind, counts in tally.items()})


def _record(database: str, trial: Trial, picked: list[str], survivors: list[Survivor], spent: float) -> TaskVariants:
    equivalent = sum(survivor.standing.startswith("equivalent") for survivor in survivors)
    killed = len(trial.kills) - len(survivors)
    counted = len(trial.kills) + len(trial.on_base) - equivalent
    return TaskVariants(
        task_id=trial.gold.task_id,
        database=database,
        variants=tuple(picked),
        mutants=len(trial.kills) + len(trial.on_base),
        killed_on_base=len(trial.on_base),
        killed=killed,
        equivalent=equivalent,
        unresolved=sum(survivor.standing == "unresolved" for survivor in survivors),
        kill_rate=(killed + len(trial.on_base)) / counted if counted else None,
        survivors=tuple(survivors),
        cpu_s=round(spent, 3),
    )


def _count(
    tally: dict[str, Counter[str]], trial: Trial, picked: Sequence[str], survivors: Sequence[Survivor],
    made: Sequence[Candidate],
) -> None:  # fmt: skip
    """Add a task to the table by kind of mutant and by mutation."""
    mutation_of = {candidate.name: candidate.mutation for candidate in made}
    for mutant in trial.on_base:
        tally.setdefault(mutant.kind, Counter())["on base"] += 1
    for mutant, places in trial.kills.items():
        counts = tally.setdefault(mutant.kind, Counter())
        counts["past base"] += 1
        counts["killed"] += not places.isdisjoint(picked)
        for mutation in {mutation_of[place] for place in places}:
            counts[f"by {mutation}"] += 1
    for survivor in survivors:
        tally[survivor.kind][survivor.standing.split(":")[0]] += 1


def _cpu_s() -> float:
    mine = resource.getrusage(resource.RUSAGE_SELF)
    return mine.ru_utime + mine.ru_stime
