"""What the variants of imported Spider tasks tell apart: kill rates by kind of near miss and by mutation.

Databases are drawn by a seed until they have so many tasks. What is left over on the first few of them is looked at
by a separately seeded search of 20 times the budget: what that kills was killable.

    python benchmarks/near_misses.py --spider TASKSET [--tasks 1000] [--checked 3] [--json] [--quick]
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cluster.session import prepare_environment

prepare_environment()  # before ray is imported
# ruff: noqa: E402

from benchmarks.outcome import print_outcome
from cluster.console import counting
from cluster.tasksets.variants import TALLY, add_variants
from cluster.tasksets.variation import near_misses
from services.env_actor.taskset import VARIANTS, TaskSet
from services.grader.variants.library import TaskVariants


def drawn(task_set: TaskSet, tasks: int, seed: int) -> list[str]:
    """Databases in a random order, as many as it takes for so many tasks."""
    counts = Counter(task.database for task in task_set.tasks.values())
    names = sorted(counts)
    random.Random(seed).shuffle(names)
    picked: list[str] = []
    while names and sum(counts[name] for name in picked) < tasks:
        picked.append(names.pop())
    return picked


def figures_of(tasks: list[TaskVariants], checked: set[str]) -> dict[str, float]:
    """Rates over all tasks; those over killable near misses from the databases that were checked."""
    sample = [task for task in tasks if task.database in checked]
    missed = sum(s.standing == "killable" for task in sample for s in task.survivors)
    killed, on_base = sum(t.killed for t in sample), sum(t.killed_on_base for t in sample)
    sizes = [(t.killed, t.mutants - t.killed_on_base - t.equivalent) for t in tasks]
    return {
        "tasks": len(tasks),
        "checked_tasks": len(sample),
        "near_misses": sum(t.mutants for t in tasks),
        "fall_on_the_database": sum(t.killed_on_base for t in tasks),
        "fall_on_variants": sum(t.killed for t in tasks),
        "proven_equivalent": sum(t.equivalent for t in tasks),
        "left_over": sum(len(t.survivors) - t.equivalent for t in tasks),
        "killed_of_killable": (killed + on_base) / max(1, killed + on_base + missed),
        "killed_of_killable_past_base": killed / max(1, killed + missed),
        "killed_of_not_equivalent": sum(a for a, _ in sizes) / max(1, sum(b for _, b in sizes)),
        "variants_per_task": sum(len(t.variants) for t in tasks) / max(1, len(tasks)),
        "most_variants": max(len(t.variants) for t in tasks),
        "cpu_s_per_task": sum(t.cpu_s for t in tasks) / max(1, len(tasks)),
        "most_cpu_s": max(t.cpu_s for t in tasks),
    }


def print_tally(tally: dict[str, dict[str, int]]) -> None:
    """The tables by kind of near miss and by mutation: of those past the database, how many each tells apart."""
    mutations = sorted({key for counts in tally.values() for key in counts if key.startswith("by ")})
    print("| near miss | on base | past base | killed | equivalent | killable | unresolved |")
    print("|---|---|---|---|---|---|---|")
    for kind, counts in sorted(tally.items()):
        cells = [
            counts.get(key, 0) for key in ("on base", "past base", "killed", "equivalent", "killable", "unresolved")
        ]
        print(f"| {kind} | {' | '.join(map(str, cells))} |")
    print("\n| near miss | " + " | ".join(key[3:] for key in mutations) + " |")
    print("|---" * (len(mutations) + 1) + "|")
    for kind, counts in sorted(tally.items()):
        print(f"| {kind} | " + " | ".join(str(counts.get(key, 0)) for key in mutations) + " |")


def main(arguments: list[str]) -> None:
    """Build, count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spider", type=Path, required=True, help="an imported task set")
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--checked", type=int, default=3, help="databases whose left-overs are searched for again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "set"
        shutil.copytree(options.spider, copy, ignore=shutil.ignore_patterns(VARIANTS))
        task_set = TaskSet(copy)
        only = drawn(task_set, 60 if options.quick else options.tasks, options.seed)
        checked = only[: 1 if options.quick else options.checked]
        with counting("databases", len(only)) as progress:
            add_variants(task_set, options.seed, progress, checked, only)
        tasks = near_misses(TaskSet(copy))
        if not options.json:
            print_tally(json.loads((copy / VARIANTS / TALLY).read_text()))
    print_outcome("near_misses", figures_of(tasks, set(checked)), {}, len(tasks), options.json)


if __name__ == "__main__":
    main(sys.argv[1:])
