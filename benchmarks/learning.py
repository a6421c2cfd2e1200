"""What trained policies got on databases that no training saw: by stage, over trainings, and episode by episode.

    python benchmarks/learning.py JUDGED [JUDGED …] [--before STAGE] [--after STAGE] [--episodes N] [--json]

JUDGED are run folders of `assay evaluate TRAINING/judge.yaml`. Trainings differ in their seeds and are told apart by
their folders: a policy is `trained:TRAINING/checkpoints/STAGE`. Those of one stage count as samples of the same tasks;
intervals and tests are over databases (docs/evaluate.md). Prints Markdown, then a line of JSON.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.outcome import print_outcome
from cluster.evaluation.attempts import Attempt, of_policy, policies_of, read_attempts
from cluster.evaluation.combined import rewards
from cluster.evaluation.intervals import rate
from cluster.evaluation.pairs import Comparison, Flip, compare, flips, paired
from cluster.evaluation.tables import difference_text, p_text, percent
from cluster.run import RunFolder
from cluster.training.decisions import Played
from cluster.training.exporting import played_of
from cluster.turns import Turns
from services.policy.tier import state
from services.policy.tier.compiling import compile_state

Trainings = Mapping[str, list[Attempt]]
"""The attempts of a stage by training; of a policy that was not trained under one empty name."""


def by_stage(runs: Sequence[RunFolder]) -> Mapping[str, Trainings]:
    """The attempts of all runs, of each policy from the first run that has it."""
    found: dict[str, dict[str, list[Attempt]]] = defaultdict(dict)
    for run in runs:
        attempts = read_attempts(run)
        for policy in policies_of(attempts):
            training, _, stage = policy.removeprefix("trained:").rpartition("/checkpoints/")
            found[stage].setdefault(training, of_policy(attempts, policy))
    return found


def pooled(stage: Trainings, trainings: Sequence[str]) -> list[Attempt]:
    """The attempts as samples: one of each training; what was not trained is the same beside each."""
    return [
        attempt.model_copy(update={"sample_index": number})
        for number, training in enumerate(trainings)
        for attempt in stage.get(training, stage.get("", []))
    ]


def stage_rows(stages: Mapping[str, Trainings], trainings: Sequence[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """A line of Markdown for each stage, and its figures."""
    for name, stage in sorted(stages.items()):
        graded = [attempt for attempt in pooled(stage, trainings) if attempt.graded]
        solved = [attempt.success for attempt in graded]
        where = [attempt.database for attempt in graded], [attempt.task_id for attempt in graded]
        success = rate(solved, *where)
        paid = rewards(solved, [attempt.reward or 0.0 for attempt in graded], *where)
        each = " / ".join(f"{100 * _mean(stage[training]):.1f}" for training in stage)
        yield f"| {name} | {each} | {percent(success)} | {paid.mean:.2f} |", {f"{name}": 100 * (success.mean or 0)}


def steps(stages: Mapping[str, Trainings], before: str, trainings: Sequence[str]) -> Iterator[Comparison]:
    """Every other stage against `before`, over all trainings."""
    ours = pooled(stages[before], trainings)
    for name in sorted(stages.keys() - {before}):
        yield compare(ours, pooled(stages[name], trainings), (before, name))


def side_by_side(runs: Sequence[RunFolder], before: Sequence[Attempt], after: Sequence[Attempt], count: int) -> str:
    """The first task that was lost and the first others that were won, by task id, as Markdown."""
    pairs = paired(before, after)
    lost = flips(pairs, "a")[:1]
    return "\n".join(_both(runs, flip) for flip in (*flips(pairs, "b")[: count - len(lost)], *lost))


def _both(runs: Sequence[RunFolder], flip: Flip) -> str:
    first, second = (_told(runs, episode) for episode in (flip.episode_a, flip.episode_b))
    told = [f"**{first['question']}** ({flip.database})\n", "| | before | after |", "|---|---|---|"]
    told += [f"| {what} | {_cell(first[what])} | {_cell(second[what])} |" for what in ("query", "answer", "verdict")]
    return "\n".join([*told, ""])


def _told(runs: Sequence[RunFolder], episode: str) -> dict[str, str]:
    """An episode's question, the query that it answered with, the answer and the verdict."""
    run = next(run for run in runs if run.episodes()[episode])
    row = run.row(episode)
    played = played_of(row, Turns(run).last(row))
    kept = {key: row[key] for key in ("question", "verdict")}
    return {**kept, "query": "" if played is None else _sql(played), "answer": row["steps"][-1]["argument"]}


def _sql(played: Played) -> str:
    schema = played.knowledge.schema
    return compile_state(state.run(played.operations, schema), schema)


def _cell(said: str) -> str:
    """Short enough for a table."""
    text = " ".join(said.split()).replace("|", "\\|")
    return f"`{text[:160]}{'…' if len(text) > 160 else ''}`"


def _mean(attempts: Sequence[Attempt]) -> float:
    graded = [attempt.success for attempt in attempts if attempt.graded]
    return sum(graded) / max(len(graded), 1)


def _step(one: Comparison) -> str:
    points = difference_text(one.success, 100, "")
    return f"| {one.a} → {one.b} | {one.only_b} : {one.only_a} | {points} | {p_text(one.success.p)} |"


def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judged", type=Path, nargs="+")
    parser.add_argument("--before", default="offline")
    parser.add_argument("--after", default="ppo-reranked")
    parser.add_argument("--episodes", type=int, default=0, help="of the first training, side by side")
    parser.add_argument("--json", action="store_true", help="the JSON line only")
    asked = parser.parse_args()
    runs = [RunFolder.open(path) for path in asked.judged]
    stages = by_stage(runs)
    trainings = sorted(name for name in stages[asked.before] if name)
    rows, compared = dict(stage_rows(stages, trainings)), list(steps(stages, asked.before, trainings))
    figures = {name: value for found in rows.values() for name, value in found.items()}
    figures |= {f"{one.a} to {one.b}": 100 * (one.success.delta.mean or 0) for one in compared}
    if not asked.json:
        print("| policy | correct by training, % | all | mean reward |\n|---|---|---|---|", *rows, sep="\n")
        print("\n| step | won : lost | points | p |\n|---|---|---|---|", *map(_step, compared), sep="\n")
        if asked.episodes:
            one, other = (stages[name][trainings[0]] for name in (asked.before, asked.after))
            print("", side_by_side(runs, one, other, asked.episodes), sep="\n")
        print(json.dumps({one.b: one.success.delta.model_dump() for one in compared}))
    print_outcome("learning", figures, {}, len(trainings), True)


if __name__ == "__main__":
    main()
