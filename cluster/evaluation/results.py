"""The results of an evaluation: made from the stored episodes alone, so that they can be made again."""

from pathlib import Path

from cluster.evaluation.attempts import Attempt, read_attempts
from cluster.evaluation.failures import Failure, read_failures
from cluster.evaluation.figures import Figures, overall, sliced
from cluster.evaluation.outliers import Outlier, dearest, slowest
from cluster.evaluation.pairs import Comparison, compare_all
from cluster.evaluation.playing import policy_files
from cluster.report import REPORT
from cluster.run import RunFolder, RunManifest, write_whole
from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.env_actor.taskset import TaskSet
from services.grader.gold import read_gold

EVALUATION = REPORT


class Evaluation(Record):
    """Every policy's figures, over all and by slice, every two policies paired, and why episodes failed.

    planned = graded + faulted.
    """

    manifest: RunManifest
    policy_files: dict[str, str]
    planned: int
    graded: int
    faulted: int
    policies: tuple[Figures, ...]
    slices: tuple[Figures, ...]
    comparisons: tuple[Comparison, ...]
    failures: tuple[Failure, ...]
    slowest: tuple[Outlier, ...]
    dearest: tuple[Outlier, ...]


def make_evaluation(run: RunFolder, task_set: TaskSet) -> Evaluation:
    """The results of what the run folder holds. Raises BadInput."""
    attempts = read_attempts(run)
    answer_types = {task_id: gold.answer_type for task_id, gold in read_gold(task_set.gold_path).items()}
    _check_known(attempts, run.path, set(answer_types))
    prices = run.manifest.config.prices
    policies = overall(attempts, prices)
    return Evaluation(
        manifest=run.manifest,
        policy_files=policy_files(run.manifest.config),
        planned=run.manifest.planned,
        graded=sum(one.graded for one in policies),
        faulted=sum(one.faulted for one in policies),
        policies=policies,
        slices=sliced(attempts, run.manifest.task_set_name, answer_types, prices),
        comparisons=compare_all(attempts),
        failures=read_failures(run),
        slowest=slowest(attempts, prices),
        dearest=dearest(attempts, prices),
    )


def write_evaluation(run: RunFolder, task_set: TaskSet) -> Evaluation:
    """Make the results and leave them in the run folder as report.json, in place of a rollout's."""
    evaluation = make_evaluation(run, task_set)
    write_whole(run.path / EVALUATION, evaluation.model_dump_json(indent=1) + "\n")
    return evaluation


def _check_known(attempts: tuple[Attempt, ...], path: Path, tasks: set[str]) -> None:
    for attempt in attempts:
        if attempt.task_id not in tasks:
            raise BadInput(f"{path}: the task set has no gold for {attempt.task_id}")
